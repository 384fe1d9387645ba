package controller

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// Which partitions move back to their preferred replicas. Each is written as its
// replicas, its leader and its ISR.
func TestImbalanced(t *testing.T) {
	type part struct {
		replicas []int32
		leader   int32
		isr      []int32
	}
	at := func(leader int32) part { return part{[]int32{1, 2}, leader, []int32{1, 2}} }
	for _, tt := range []struct {
		name       string
		percentage int32
		partitions []part
		want       []int32
	}{
		{"none", 10, nil, nil},
		{"all at home", 10, []part{at(1), at(1)}, nil},
		{"one of two, half allowed", 50, []part{at(1), at(2)}, nil},
		{"one of two, a little less allowed", 49, []part{at(1), at(2)}, []int32{1}},
		{"none allowed", 0, []part{at(1), at(1), at(1), at(2)}, []int32{3}},
		{"all allowed", 100, []part{at(2), at(2)}, nil},
		{"more than all demanded", -1, []part{at(1), at(2)}, []int32{1}},
		{"shares are by preferred broker", 50, []part{at(1), at(2), {[]int32{2, 1}, 1, []int32{1, 2}}}, []int32{2}},
		{"those that cannot lead count, and stay", 50, []part{at(2), {[]int32{1, 2}, 2, []int32{2}}, at(1)}, []int32{0}},
		{"the preferred broker is dead", 10, []part{{[]int32{9, 2}, 2, []int32{9, 2}}}, nil},
		{"the preferred broker is about to go", 10, []part{{[]int32{3, 2}, 2, []int32{3, 2}}}, nil},
		{"no replicas", 10, []part{{nil, 2, []int32{2}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newState()
			for id := int32(1); id <= 3; id++ {
				s.brokers[id] = &broker{shuttingDown: id == 3}
			}
			assignment := zkmeta.TopicAssignment{Partitions: map[int32]zkmeta.ReplicaAssignment{}}
			for i, p := range tt.partitions {
				assignment.Partitions[int32(i)] = zkmeta.ReplicaAssignment{Replicas: p.replicas}
			}
			for i, p := range s.addPartitions("t", assignment) {
				s.setState(p, zkmeta.PartitionState{Leader: tt.partitions[i].leader, ISR: tt.partitions[i].isr}, 0)
			}
			var got []int32
			for _, p := range s.imbalanced(tt.percentage) {
				got = append(got, p.Partition)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v move, want %v", got, tt.want)
			}
		})
	}
	// A topic that goes moves nothing, and counts for nothing.
	s := newState()
	s.brokers[1] = &broker{}
	for i := range 4 {
		name := fmt.Sprint("t", i)
		id := protocol.TopicID{byte(i)}
		p := s.addPartitions(name, zkmeta.TopicAssignment{ID: id, Partitions: map[int32]zkmeta.ReplicaAssignment{0: {Replicas: []int32{1, 2}}}})[0]
		s.setState(p, zkmeta.PartitionState{Leader: 2 - int32(i%2), ISR: []int32{1, 2}}, 0)
		if i < 3 {
			s.retire(p, statusDeleting)
		}
	}
	if got := s.imbalanced(50); len(got) != 0 {
		t.Errorf("%v move", got)
	}
}
