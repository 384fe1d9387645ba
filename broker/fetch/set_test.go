package fetch

import "testing"

// Partitions share their topic, which goes with the last of them: another topic of
// that name is another topic.
func TestSetOfTopics(t *testing.T) {
	for _, byID := range []bool{false, true} {
		s := newSet(byID, 0)
		put := func(id byte, partition int32) {
			s.put(&PartitionRequest{Key: Key{Topic: "t", ID: [16]byte{id}, Partition: partition}})
		}
		put(1, 0)
		put(1, 1)
		put(1, 1)
		if len(s.topics) != 1 || s.size() != 2 {
			t.Errorf("by id %v: %d topics and %d partitions, want 1 and 2", byID, len(s.topics), s.size())
		}
		for partition := range int32(3) { // 2 is none of them
			s.remove(Key{Topic: "t", ID: [16]byte{1}, Partition: partition})
		}
		s.remove(Key{Topic: "other", ID: [16]byte{9}})
		if len(s.topics) != 0 || s.size() != 0 {
			t.Errorf("by id %v: %d topics and %d partitions are left", byID, len(s.topics), s.size())
		}
		put(2, 7)
		for i := range s.entries {
			if e := &s.entries[i]; e.used() && e.key() != (Key{Topic: "t", ID: [16]byte{2}, Partition: 7}) {
				t.Errorf("by id %v: it is %+v", byID, e.key())
			}
		}
	}
}
