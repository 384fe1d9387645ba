package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// recoveringLeader is the leader recovery state of an unclean election (KIP-704).
const recoveringLeader = 1

// leaderAndISR makes this broker leader or follower of partitions.
type leaderAndISR struct {
	from     *fromController
	replicas *replica.Replicas
	codes    codes
}

func (h *leaderAndISR) handle(ctx context.Context, r *server.Request, req *kmsg.LeaderAndISRRequest) (*kmsg.LeaderAndISRResponse, error) {
	changes := roleChanges(r.Header.Version, req)
	resp := kmsg.NewPtrLeaderAndISRResponse()
	errs, err := h.apply(ctx, r, req, changes)
	resp.ErrorCode = h.codes.of(err)
	for i := range changes {
		code := resp.ErrorCode
		if err == nil {
			code = h.codes.of(errs[i])
		}
		addRoleOutcome(resp, r.Header.Version, &changes[i], code)
	}
	return resp, nil
}

func (h *leaderAndISR) apply(ctx context.Context, r *server.Request, req *kmsg.LeaderAndISRRequest, changes []replica.RoleChange) ([]error, error) {
	brokerEpoch := int64(-1)
	if r.Header.Version >= 2 {
		brokerEpoch = req.BrokerEpoch
	}
	h.from.mu.Lock()
	defer h.from.mu.Unlock()
	if err := h.from.admit(r, req.ControllerEpoch, brokerEpoch); err != nil {
		return nil, err
	}
	return h.replicas.ApplyRoles(ctx, req.ControllerEpoch, changes)
}

func roleChanges(version int16, req *kmsg.LeaderAndISRRequest) (changes []replica.RoleChange) {
	add := func(topic string, id protocol.TopicID, p *kmsg.LeaderAndISRRequestTopicPartition) {
		changes = append(changes, replica.RoleChange{
			Partition:       protocol.TopicPartition{Topic: topic, Partition: p.Partition},
			TopicID:         id,
			Leader:          p.Leader,
			LeaderEpoch:     p.LeaderEpoch,
			PartitionEpoch:  p.ZKVersion,
			ControllerEpoch: p.ControllerEpoch,
			Replicas:        p.Replicas,
			ISR:             p.ISR,
			IsNew:           version >= 1 && p.IsNew,
			Recovering:      version >= 6 && p.LeaderRecoveryState == recoveringLeader,
		})
	}
	for i := range req.PartitionStates { // before version 2
		add(req.PartitionStates[i].Topic, protocol.TopicID{}, &req.PartitionStates[i])
	}
	for i := range req.TopicStates { // since
		t := &req.TopicStates[i]
		for j := range t.PartitionStates {
			add(t.Topic, t.TopicID, &t.PartitionStates[j])
		}
	}
	return changes
}

// addRoleOutcome adds a partition to the response, in the layout of the version.
func addRoleOutcome(resp *kmsg.LeaderAndISRResponse, version int16, c *replica.RoleChange, code int16) {
	p := kmsg.NewLeaderAndISRResponseTopicPartition()
	p.Topic, p.Partition, p.ErrorCode = c.Partition.Topic, c.Partition.Partition, code
	if version < 5 {
		resp.Partitions = append(resp.Partitions, p)
		return
	}
	if n := len(resp.Topics); n == 0 || resp.Topics[n-1].TopicID != c.TopicID {
		t := kmsg.NewLeaderAndISRResponseTopic()
		t.TopicID = c.TopicID
		resp.Topics = append(resp.Topics, t)
	}
	t := &resp.Topics[len(resp.Topics)-1]
	t.Partitions = append(t.Partitions, p)
}
