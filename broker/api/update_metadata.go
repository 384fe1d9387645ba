package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/txn"
)

// updateMetadata takes over what the controller says about the cluster.
type updateMetadata struct {
	from     *fromController
	view     *cluster.View
	replicas *replica.Replicas
	groups   *group.Coordinator
	txns     *txn.Coordinator
	codes    codes
}

func (h *updateMetadata) handle(_ context.Context, r *server.Request, req *kmsg.UpdateMetadataRequest) (*kmsg.UpdateMetadataResponse, error) {
	resp := kmsg.NewPtrUpdateMetadataResponse()
	brokerEpoch := int64(-1)
	if r.Header.Version >= 5 {
		brokerEpoch = req.BrokerEpoch
	}
	h.from.mu.Lock()
	defer h.from.mu.Unlock()
	err := h.from.admit(r, req.ControllerEpoch, brokerEpoch)
	if err == nil {
		err = h.replicas.ObserveController(req.ControllerEpoch)
	}
	if err != nil {
		resp.ErrorCode = h.codes.of(err)
		return resp, nil
	}
	topics := topicUpdates(req)
	gone := h.view.Apply(cluster.Update{
		ControllerID:    req.ControllerID,
		ControllerEpoch: req.ControllerEpoch,
		Brokers:         liveBrokers(r.Header.Version, req.LiveBrokers),
		Topics:          topics,
	})
	// In order with other requests: a topic of the same name may come next.
	if gone = append(gone, h.unknown(topics)...); len(gone) > 0 {
		h.groups.PartitionsDeleted(gone)
		h.txns.PartitionsDeleted(gone)
	}
	return resp, nil
}

// unknown are the partitions that are deleted and that this broker has not known of, as
// after a start in the middle of the deletion. Those of a later topic of the same name
// are not among them.
func (h *updateMetadata) unknown(topics []cluster.TopicUpdate) (gone []protocol.TopicPartition) {
	s := h.view.Snapshot()
	for _, t := range topics {
		if _, later := s.Topic(t.Name); later {
			continue
		}
		for _, p := range t.Partitions {
			if p.Leader == cluster.LeaderDeleting {
				gone = append(gone, protocol.TopicPartition{Topic: t.Name, Partition: p.ID})
			}
		}
	}
	return gone
}

// securityProtocols are Kafka's numbers for them.
var securityProtocols = [...]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

func protocolName(n int16) string {
	if n < 0 || int(n) >= len(securityProtocols) {
		return securityProtocols[0]
	}
	return securityProtocols[n]
}

func liveBrokers(version int16, in []kmsg.UpdateMetadataRequestLiveBroker) []cluster.Broker {
	out := make([]cluster.Broker, 0, len(in))
	for _, b := range in {
		broker := cluster.Broker{ID: b.ID}
		if b.Rack != nil {
			broker.Rack = *b.Rack
		}
		if version == 0 {
			broker.Endpoints = []cluster.Endpoint{{Listener: "PLAINTEXT", Host: b.Host, Port: b.Port, SecurityProtocol: "PLAINTEXT"}}
		}
		for _, e := range b.Endpoints {
			name := e.ListenerName
			if version < 3 { // listeners had the names of their protocols
				name = protocolName(e.SecurityProtocol)
			}
			broker.Endpoints = append(broker.Endpoints, cluster.Endpoint{Listener: name, Host: e.Host, Port: e.Port, SecurityProtocol: protocolName(e.SecurityProtocol)})
		}
		out = append(out, broker)
	}
	return out
}

func topicUpdates(req *kmsg.UpdateMetadataRequest) []cluster.TopicUpdate {
	var out []cluster.TopicUpdate
	for _, p := range req.PartitionStates { // before version 5
		if n := len(out); n == 0 || out[n-1].Name != p.Topic {
			out = append(out, cluster.TopicUpdate{Name: p.Topic})
		}
		t := &out[len(out)-1]
		t.Partitions = append(t.Partitions, partitionUpdate(&p))
	}
	for _, t := range req.TopicStates { // since
		u := cluster.TopicUpdate{Name: t.Topic, ID: protocol.TopicID(t.TopicID), Partitions: make([]cluster.Partition, len(t.PartitionStates))}
		for i := range t.PartitionStates {
			u.Partitions[i] = partitionUpdate(&t.PartitionStates[i])
		}
		out = append(out, u)
	}
	return out
}

func partitionUpdate(p *kmsg.UpdateMetadataRequestTopicPartition) cluster.Partition {
	return cluster.Partition{
		ID: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
		ISR: p.ISR, Replicas: p.Replicas, OfflineReplicas: p.OfflineReplicas,
		ControllerEpoch: p.ControllerEpoch, PartitionEpoch: p.ZKVersion,
	}
}
