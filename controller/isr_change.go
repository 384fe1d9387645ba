package controller

import (
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ISRChange is what the leader of a partition asks for: another ISR, in the leader
// epoch that it leads in (KIP-497).
type ISRChange struct {
	Topic          string // "" if the topic is named by its id
	TopicID        protocol.TopicID
	Partition      int32
	LeaderEpoch    int32
	PartitionEpoch int32 // of the state that the leader knows: its ZooKeeper version
	ISR            []int32
	// BrokerEpochs are the registrations in which the leader has last heard of the members
	// of ISR, −1 if it cannot say (KIP-903); nil if it says nothing.
	BrokerEpochs []int64
	Recovering   bool // KIP-704: the leader was chosen outside the ISR, and has not recovered
}

// apply judges whether a broker may change the ISR of a partition, by the rules of
// Kafka's controller and in their order, so that a leader reacts as to Kafka's. Kafka
// on ZooKeeper does not look whether the sender leads and whether the ISR consists of
// replicas; Kafka on KRaft does, and so do we, with KRaft's error. Whether brokers mean
// to stay we ask of those only that join the ISR (KIP-841): a leader that is about to
// shut down could else never let a replica join that can take over. So with their
// registrations (KIP-903, which Kafka has on KRaft): who has restarted since the leader
// heard of it may have lost what it had.
//
// It returns the state to be written, with the controller epoch as it was, and false
// if the partition is in that state already, as when the reply to the same request was
// lost. Nothing of the old state is changed or shared.
func (c *ISRChange) apply(sender int32, now zkmeta.PartitionState, partitionEpoch int32, replicas []int32, staying func(broker int32, epoch int64) bool) (next zkmeta.PartitionState, write bool, err error) {
	next = now
	next.ISR, next.Recovering = slices.Clone(c.ISR), c.Recovering
	switch {
	case c.LeaderEpoch > now.LeaderEpoch, c.PartitionEpoch > partitionEpoch:
		return now, false, kerr.NotController // there must be a newer one, from which the leader has that
	case c.LeaderEpoch < now.LeaderEpoch:
		return now, false, kerr.FencedLeaderEpoch
	case sender != now.Leader:
		return now, false, kerr.InvalidRequest
	case next.Equal(now):
		return now, false, nil
	case c.PartitionEpoch < partitionEpoch:
		return now, false, kerr.InvalidUpdateVersion
	case c.Recovering && len(c.ISR) > 1, c.Recovering && !now.Recovering:
		return now, false, kerr.InvalidRequest
	case !validISR(c.ISR, now.Leader, replicas):
		return now, false, kerr.InvalidRequest
	}
	for i, id := range c.ISR {
		if !slices.Contains(now.ISR, id) && !staying(id, c.brokerEpoch(i)) {
			return now, false, kerr.IneligibleReplica
		}
	}
	return next, true, nil
}

// brokerEpoch is that of a member of the ISR, −1 if the leader does not say.
func (c *ISRChange) brokerEpoch(i int) int64 {
	if i < len(c.BrokerEpochs) {
		return c.BrokerEpochs[i]
	}
	return -1
}

// validISR says whether an ISR consists of replicas, each of them once, and has the
// leader among them.
func validISR(isr []int32, leader int32, replicas []int32) bool {
	for i, id := range isr {
		if !slices.Contains(replicas, id) || slices.Contains(isr[:i], id) {
			return false
		}
	}
	return slices.Contains(isr, leader)
}
