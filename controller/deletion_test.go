package controller

import (
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

func deletionOf(assignment ...[]int32) *deletion {
	st := newState()
	st.addPartitions("t", zkmeta.NewTopicAssignment(protocol.TopicID{1}, assignment))
	return newDeletion(st.topics["t"])
}

func replica(partition, broker int32) replicaID {
	return replicaID{protocol.TopicPartition{Topic: "t", Partition: partition}, broker}
}

func TestDeletionSteps(t *testing.T) {
	live := map[int32]bool{1: true, 2: true}
	online := func(id int32, _ protocol.TopicPartition) bool { return live[id] }
	d := deletionOf([]int32{1, 2}, []int32{3})

	if got, want := d.start(online), []replicaID{replica(0, 1), replica(0, 2)}; !slices.Equal(got, want) {
		t.Errorf("removes %v, want %v", got, want)
	}
	if got := d.start(online); got != nil {
		t.Errorf("removes %v once more", got)
	}
	d.removed(replica(0, 1), true)
	// Broker 2 dies before it answers. An answer that comes all the same is of a
	// registration that has ended.
	d.lost(replica(0, 2))
	d.removed(replica(0, 2), true)
	if got := d.held(); !slices.Equal(got, []int32{2, 3}) {
		t.Errorf("held by %v", got)
	}
	// What is removed stays removed, even if its broker dies.
	d.lost(replica(0, 1))

	d.returned(2)
	if got := d.start(online); !slices.Equal(got, []replicaID{replica(0, 2)}) {
		t.Errorf("removes %v", got)
	}
	d.removed(replica(0, 2), true)
	if d.done() {
		t.Error("done without broker 3")
	}
	live[3] = true
	d.returned(3)
	d.start(online)
	d.removed(replica(1, 3), false)
	if d.done() || !slices.Equal(d.held(), []int32{3}) {
		t.Errorf("after a failure: done %v, held by %v", d.done(), d.held())
	}
	d.returned(3)
	d.start(online)
	d.removed(replica(1, 3), true)
	if !d.done() {
		t.Error("not done")
	}
}
