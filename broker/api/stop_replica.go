package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// stopReplica ends replicas here, and deletes them.
type stopReplica struct {
	from     *fromController
	replicas *replica.Replicas
	codes    codes
}

func (h *stopReplica) handle(_ context.Context, r *server.Request, req *kmsg.StopReplicaRequest) (*kmsg.StopReplicaResponse, error) {
	changes := stopChanges(r.Header.Version, req)
	resp := kmsg.NewPtrStopReplicaResponse()
	errs, err := h.apply(r, req, changes)
	resp.ErrorCode = h.codes.of(err)
	// Every partition gets an entry: for the controller, silence about a deletion
	// would mean that it is still under way.
	for i := range changes {
		p := kmsg.NewStopReplicaResponsePartition()
		p.Topic, p.Partition = changes[i].Partition.Topic, changes[i].Partition.Partition
		if p.ErrorCode = resp.ErrorCode; err == nil {
			p.ErrorCode = h.codes.of(errs[i])
		}
		resp.Partitions = append(resp.Partitions, p)
	}
	return resp, nil
}

func (h *stopReplica) apply(r *server.Request, req *kmsg.StopReplicaRequest, changes []replica.StopChange) ([]error, error) {
	brokerEpoch := int64(-1)
	if r.Header.Version >= 1 {
		brokerEpoch = req.BrokerEpoch
	}
	h.from.mu.Lock()
	defer h.from.mu.Unlock()
	if err := h.from.admit(r, req.ControllerEpoch, brokerEpoch); err != nil {
		return nil, err
	}
	return h.replicas.StopReplicas(req.ControllerEpoch, changes)
}

func stopChanges(version int16, req *kmsg.StopReplicaRequest) (changes []replica.StopChange) {
	add := func(topic string, partition, epoch int32, del bool) {
		changes = append(changes, replica.StopChange{Partition: protocol.TopicPartition{Topic: topic, Partition: partition}, LeaderEpoch: epoch, Delete: del})
	}
	const noEpoch = -1
	for _, t := range req.Topics {
		switch {
		case version == 0:
			add(t.Topic, t.Partition, noEpoch, req.DeletePartitions)
		case version < 3:
			for _, p := range t.Partitions {
				add(t.Topic, p, noEpoch, req.DeletePartitions)
			}
		default:
			for _, p := range t.PartitionStates {
				add(t.Topic, p.Partition, p.LeaderEpoch, p.Delete)
			}
		}
	}
	return changes
}
