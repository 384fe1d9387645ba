package controller

import (
	"reflect"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// What becomes of a leader's request: the partition is led by 1 in leader epoch 5 and
// partition epoch 7, with the ISR 1,2 of the replicas 1,2,3,4. Broker 4 does not
// stay, and those of broker epoch 69 have restarted.
func TestISRChange(t *testing.T) {
	now := zkmeta.PartitionState{Leader: 1, LeaderEpoch: 5, ISR: []int32{1, 2}, ControllerEpoch: 3}
	recovering := now
	recovering.ISR, recovering.Recovering = []int32{1}, true
	change := func(leaderEpoch, partitionEpoch int32, isr ...int32) ISRChange {
		return ISRChange{LeaderEpoch: leaderEpoch, PartitionEpoch: partitionEpoch, ISR: isr}
	}
	heard := func(c ISRChange, epochs ...int64) ISRChange { c.BrokerEpochs = epochs; return c }
	inRecovery := func(c ISRChange) ISRChange { c.Recovering = true; return c }
	for _, tt := range []struct {
		name   string
		sender int32
		now    zkmeta.PartitionState
		change ISRChange
		write  bool
		err    error
	}{
		{"grows", 1, now, change(5, 7, 1, 2, 3), true, nil},
		{"shrinks", 1, now, change(5, 7, 1), true, nil},
		{"in another order", 1, now, change(5, 7, 2, 1), true, nil},
		{"as it is", 1, now, change(5, 7, 1, 2), false, nil},
		{"as it is, from an older state", 1, now, change(5, 6, 1, 2), false, nil},
		{"from an older state", 1, now, change(5, 6, 1), false, kerr.InvalidUpdateVersion},
		{"from a newer state", 1, now, change(5, 8, 1), false, kerr.NotController},
		{"as it is, from a newer state", 1, now, change(5, 8, 1, 2), false, kerr.NotController},
		{"of a newer leader", 1, now, change(6, 7, 1), false, kerr.NotController},
		{"of an older leader", 1, now, change(4, 7, 1), false, kerr.FencedLeaderEpoch},
		{"of an older leader, from a newer state", 1, now, change(4, 8, 1), false, kerr.NotController},
		{"of an older leader, as it is", 1, now, change(4, 7, 1, 2), false, kerr.FencedLeaderEpoch},
		{"of a follower", 2, now, change(5, 7, 1), false, kerr.InvalidRequest},
		{"of a follower, as it is", 2, now, change(5, 7, 1, 2), false, kerr.InvalidRequest},
		{"a broker that has no replica", 1, now, change(5, 7, 1, 2, 9), false, kerr.InvalidRequest},
		{"a replica twice", 1, now, change(5, 7, 1, 2, 2), false, kerr.InvalidRequest},
		{"without the leader", 1, now, change(5, 7, 2), false, kerr.InvalidRequest},
		{"of nobody", 1, now, change(5, 7), false, kerr.InvalidRequest},
		{"a replica that goes", 1, now, change(5, 7, 1, 2, 4), false, kerr.IneligibleReplica},
		{"a replica that goes, from an older state", 1, now, change(5, 6, 1, 2, 4), false, kerr.InvalidUpdateVersion},
		{"a replica that has restarted", 1, now, heard(change(5, 7, 1, 2, 3), 50, 60, 69), false, kerr.IneligibleReplica},
		{"a replica that has not", 1, now, heard(change(5, 7, 1, 2, 3), 50, 60, 70), true, nil},
		{"a member that has restarted", 1, now, heard(change(5, 7, 1, 2, 3), 50, 69, 70), true, nil},
		{"back to recovering", 1, now, inRecovery(change(5, 7, 1)), false, kerr.InvalidRequest},
		{"has recovered", 1, recovering, change(5, 7, 1), true, nil},
		{"has recovered, and grows", 1, recovering, change(5, 7, 1, 2), true, nil},
		{"grows while it recovers", 1, recovering, inRecovery(change(5, 7, 1, 2)), false, kerr.InvalidRequest},
		{"recovers still", 1, recovering, inRecovery(change(5, 7, 1)), false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.now
			before.ISR = slices.Clone(tt.now.ISR)
			next, write, err := tt.change.apply(tt.sender, tt.now, 7, []int32{1, 2, 3, 4}, func(id int32, epoch int64) bool { return id != 4 && epoch != 69 })
			if write != tt.write || err != tt.err {
				t.Errorf("write %v, error %v; want %v, %v", write, err, tt.write, tt.err)
			}
			if !reflect.DeepEqual(tt.now, before) {
				t.Errorf("the old state was changed to %+v", tt.now)
			}
			want := tt.now
			if tt.write {
				want.ISR, want.Recovering = tt.change.ISR, tt.change.Recovering
			}
			if !next.Equal(want) {
				t.Errorf("%+v, want %+v", next, want)
			}
		})
	}
	// Members that are about to go may stay where they are: among them the leader, which
	// others are to take over from.
	c := change(5, 7, 1, 2, 3)
	if _, write, err := c.apply(1, now, 7, []int32{1, 2, 3}, func(id int32, _ int64) bool { return id == 3 }); !write || err != nil {
		t.Errorf("write %v, error %v", write, err)
	}
}

// A partition is found by the name of its topic or by its id, as long as that is the
// topic's.
func TestFindPartition(t *testing.T) {
	s := newState()
	add := func(id byte) {
		p := s.addPartitions("t", zkmeta.TopicAssignment{ID: protocol.TopicID{id}, Partitions: map[int32]zkmeta.ReplicaAssignment{0: {}, 1: {}}})
		s.setState(p[0], zkmeta.PartitionState{}, 0)
	}
	check := func(c ISRChange, want error) {
		t.Helper()
		if p, err := s.find(&c); err != want || err == nil && p.Partition != c.Partition {
			t.Errorf("%+v: %v, error %v; want %v", c, p, err, want)
		}
	}
	add(7)
	check(ISRChange{Topic: "t"}, nil)
	check(ISRChange{TopicID: protocol.TopicID{7}}, nil)
	check(ISRChange{TopicID: protocol.TopicID{8}}, kerr.UnknownTopicID)
	check(ISRChange{Topic: "u"}, kerr.UnknownTopicOrPartition)
	check(ISRChange{Topic: "t", Partition: 1}, kerr.UnknownTopicOrPartition) // it has no state yet
	check(ISRChange{TopicID: protocol.TopicID{7}, Partition: 2}, kerr.UnknownTopicOrPartition)
	s.removeTopic("t")
	add(8)
	check(ISRChange{TopicID: protocol.TopicID{7}}, kerr.UnknownTopicID)
	check(ISRChange{TopicID: protocol.TopicID{8}}, nil)
}
