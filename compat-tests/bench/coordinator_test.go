package main

import "testing"

// The hashes are what Java says.
func TestOffsetsPartition(t *testing.T) {
	for group, hash := range map[string]int32{"test": 3556498, "commits-7": -1491145530, "polygenelubricants": -1 << 31} {
		if got, want := offsetsPartition(group), int(hash&0x7fffffff)%offsetsPartitions; got != want {
			t.Errorf("group %q is in partition %d, not %d", group, got, want)
		}
	}
	if n := len(oneOfEach(groupNames("load", 5000))); n != offsetsPartitions {
		t.Errorf("one group of each of %d partitions", n)
	}
}
