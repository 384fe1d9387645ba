package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/protocol"
)

// alterPartition is how leaders change ISRs: the controller decides (KIP-497).
type alterPartition struct {
	controller Controller
	view       *cluster.View
	codes      codes
}

// elements is how many elements a request may have: maxElements, and those that it takes
// to name every replica in the cluster once. Leaders ask for all that they have to ask
// for in one request, and one that leads ten thousand partitions may ask for each when
// another broker is lost. The bytes alone are no bound, a frame of brokers may have
// 100 MiB.
func (h *alterPartition) elements(body int) int {
	if body <= maxElements { // no element takes less than a byte
		return maxElements
	}
	s := h.view.Snapshot()
	n := maxElements + s.TopicCount() + s.PartitionCount()
	for t := range s.Topics() {
		for i := range t.Partitions {
			n += len(t.Partitions[i].Replicas)
		}
	}
	return n
}

func (h *alterPartition) handle(ctx context.Context, r *server.Request, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	resp := kmsg.NewPtrAlterPartitionResponse()
	results, err := h.controller.AlterPartition(ctx, req.BrokerID, req.BrokerEpoch, isrChanges(req))
	if err != nil {
		resp.ErrorCode = h.codes.of(err)
		return resp, nil
	}
	for i := range req.Topics {
		in := &req.Topics[i]
		out := kmsg.NewAlterPartitionResponseTopic()
		out.Topic, out.TopidID = in.Topic, in.TopicID
		for j := range in.Partitions {
			out.Partitions = append(out.Partitions, h.answer(r.Header.Version, in.Partitions[j].Partition, &results[0]))
			results = results[1:]
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// isrChanges lists what is asked for, partition by partition. Before version 2 topics
// are named, since then they have ids. Members come with broker epochs since version 3.
func isrChanges(req *kmsg.AlterPartitionRequest) []controller.ISRChange {
	var changes []controller.ISRChange
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			c := controller.ISRChange{
				Topic: t.Topic, TopicID: protocol.TopicID(t.TopicID), Partition: p.Partition,
				LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
				ISR: p.NewISR, Recovering: p.LeaderRecoveryState != 0,
			}
			for _, member := range p.NewEpochISR {
				c.ISR = append(c.ISR, member.BrokerID)
				c.BrokerEpochs = append(c.BrokerEpochs, member.BrokerEpoch)
			}
			changes = append(changes, c)
		}
	}
	return changes
}

func (h *alterPartition) answer(version int16, partition int32, result *controller.ISRResult) kmsg.AlterPartitionResponseTopicPartition {
	out := kmsg.NewAlterPartitionResponseTopicPartition()
	out.Partition = partition
	switch {
	case version < 2 && errors.Is(result.Err, kerr.IneligibleReplica):
		out.ErrorCode = kerr.OperationNotAttempted.Code
	case result.Err != nil:
		out.ErrorCode = h.codes.of(result.Err)
	default:
		s := &result.State
		out.LeaderID, out.LeaderEpoch, out.ISR, out.PartitionEpoch = s.Leader, s.LeaderEpoch, s.ISR, result.PartitionEpoch
		if s.Recovering {
			out.LeaderRecoveryState = 1
		}
	}
	return out
}
