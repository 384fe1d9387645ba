package api

import (
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
)

// Committed offsets go with the partitions that they are of, known here or not, and not
// with those of an earlier topic of the same name.
func TestUpdateMetadataDeletesOffsets(t *testing.T) {
	w := newWorld(t, "offsets.topic.num.partitions=1")
	w.lead(protocol.ConsumerOffsetsTopic, 1, 0)
	commit := func(topic string) {
		t.Helper()
		c := &group.Commit{Group: "g", Generation: group.NoGeneration, Offsets: []group.CommitOffset{
			{Topic: topic, Offset: 5, LeaderEpoch: -1, CommitMS: group.NoTime, ExpireMS: group.NoExpiry}}}
		for limit := time.Now().Add(testWait); ; runtime.Gosched() { // until the partition is loaded
			done := make(chan struct{})
			w.groups.CommitOffsets(c, func() { close(done) })
			if <-done; c.Offsets[0].Err == nil {
				return
			}
			if time.Now().After(limit) {
				t.Fatal(c.Offsets[0].Err)
			}
		}
	}
	expect := func(what, topic string, want int64) {
		t.Helper()
		got, err := w.groups.FetchOffsets(nil, "g", []protocol.TopicPartition{{Topic: topic}})
		if err != nil || got[0].Offset != want {
			t.Errorf("%s: %+v, %v, want offset %d", what, got, err, want)
		}
	}
	tell := func(topic string, id protocol.TopicID, leader int32) {
		t.Helper()
		state := kmsg.NewUpdateMetadataRequestTopicState()
		state.Topic, state.TopicID = topic, id
		state.PartitionStates = []kmsg.UpdateMetadataRequestTopicPartition{{ControllerEpoch: 3, Leader: leader, LeaderEpoch: -2, ISR: []int32{1}, Replicas: []int32{1}}}
		w.update(3, state)
	}
	for _, topic := range []string{"known", "unknown", "again"} {
		commit(topic)
	}
	w.lead("known", 1, 0)
	tell("known", topicID("known"), cluster.LeaderDeleting)
	expect("deleted", "known", -1)
	tell("unknown", topicID("unknown"), cluster.LeaderDeleting)
	expect("deleted, and never heard of", "unknown", -1)

	w.lead("again", 1, 0)
	expect("exists", "again", 5)
	tell("again", topicID("an earlier one"), cluster.LeaderDeleting)
	expect("an earlier one was deleted", "again", 5)
	tell("again", topicID("a later one"), 1)
	expect("another has its name", "again", -1)
}
