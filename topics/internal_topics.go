package topics

import (
	"strconv"

	"github.com/gracchus-mq/gracchus/protocol"
)

// automatic is the topic that is made when somebody asks for one that does not
// exist. The two topics of the coordinators have settings of their own, which are
// written down with the topic, so that later changes of the broker's do not touch
// what is stored there.
func (m *Manager) automatic(name string) CreateRequest {
	cfg := m.settings.Broker()
	req := CreateRequest{Name: name, Partitions: cfg.Topics.NumPartitions, ReplicationFactor: cfg.Topics.DefaultReplicationFactor}
	set := func(name, value string) {
		req.Configs = append(req.Configs, ConfigOp{Name: name, Value: &value})
	}
	switch name {
	case protocol.ConsumerOffsetsTopic:
		req.Partitions, req.ReplicationFactor = cfg.Offsets.Partitions, cfg.Offsets.ReplicationFactor
		set("cleanup.policy", "compact")
		set("compression.type", "producer")
		set("segment.bytes", strconv.Itoa(int(cfg.Offsets.SegmentBytes)))
	case protocol.TransactionStateTopic:
		req.Partitions, req.ReplicationFactor = cfg.Transactions.Partitions, cfg.Transactions.ReplicationFactor
		set("unclean.leader.election.enable", "false")
		set("compression.type", "uncompressed")
		set("cleanup.policy", "compact")
		set("min.insync.replicas", strconv.Itoa(int(cfg.Transactions.MinISR)))
		set("segment.bytes", strconv.Itoa(int(cfg.Transactions.SegmentBytes)))
	}
	return req
}
