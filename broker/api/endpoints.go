package api

import (
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
)

// noOperations stands for "authorized operations were not asked for".
const noOperations int32 = -2147483648

// What everybody may do while there is no authorizer, as bit sets of
// operations: all that apply to the resource.
const (
	topicOperations   int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	groupOperations   int32 = 1<<3 | 1<<6 | 1<<8
	clusterOperations int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

// rackPtr is the rack as responses have it: null when there is none.
func rackPtr(b cluster.Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return &b.Rack
}

// reachable returns the endpoint of a live broker on the listener the request
// came by: clients must be able to use what they are told.
func reachable(s *cluster.Snapshot, id int32, listener string) (cluster.Broker, cluster.Endpoint, bool) {
	b, ok := s.Broker(id)
	if !ok {
		return b, cluster.Endpoint{}, false
	}
	e, ok := b.Endpoint(listener)
	return b, e, ok
}

// hints collects, for one response, who leads the partitions that the client
// thought were here, and where those brokers are (KIP-951).
type hints struct {
	snapshot *cluster.Snapshot
	listener string
	nodes    []nodeEndpoint
}

// leader returns the hint for a partition and remembers its leader's endpoint.
// Without a known leader the hint says so by its id.
func (h *hints) leader(tp protocol.TopicPartition) leaderHint {
	p, ok := h.snapshot.Partition(tp)
	if !ok {
		return noHint
	}
	h.remember(p.Leader)
	return leaderHint{p.Leader, p.LeaderEpoch}
}

func (h *hints) remember(id int32) {
	for _, n := range h.nodes {
		if n.id == id {
			return
		}
	}
	if b, e, ok := reachable(h.snapshot, id, h.listener); ok {
		h.nodes = append(h.nodes, nodeEndpoint{id: id, host: e.Host, port: e.Port, rack: rackPtr(b)})
	}
}
