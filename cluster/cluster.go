// Package cluster holds this broker's view of the cluster: which brokers live,
// who is controller, and who leads which partition. The controller tells it by
// UpdateMetadata; nothing else writes it.
package cluster

import (
	"cmp"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Special leader ids of UpdateMetadata and LeaderAndIsr.
const (
	NoLeader       int32 = -1 // the partition exists and nobody leads it
	LeaderDeleting int32 = -2 // the partition is being deleted: forget it
)

// Endpoint is one address a broker can be reached at.
type Endpoint struct {
	Listener         string // listener name, upper case
	Host             string // without brackets, also for IPv6
	Port             int32
	SecurityProtocol string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
}

// Broker is a live broker. It is immutable once it is part of a Snapshot.
type Broker struct {
	ID        int32
	Rack      string // "" when it has none
	Endpoints []Endpoint
}

// Endpoint returns the broker's address at a listener.
func (b Broker) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	return Endpoint{}, false
}

// Partition is the state of one partition as the controller last told it. It is
// immutable: readers share its slices and must not write to them.
type Partition struct {
	ID              int32
	Leader          int32 // NoLeader when there is none
	LeaderEpoch     int32
	ISR             []int32
	Replicas        []int32 // in assignment order: the first is the preferred leader
	OfflineReplicas []int32
	ControllerEpoch int32
	PartitionEpoch  int32 // data version of the partition's state znode
}

// Topic is immutable, as its partitions are.
type Topic struct {
	Name string
	ID   protocol.TopicID // zero when the controller has never named one
	// Partitions is ordered by ID. While a topic is being made or deleted it may
	// have gaps, so index i is not always partition i: use Partition.
	Partitions []Partition
}

// Partition looks one up by its number.
func (t *Topic) Partition(id int32) (*Partition, bool) {
	if id >= 0 && int(id) < len(t.Partitions) && t.Partitions[id].ID == id {
		return &t.Partitions[id], true
	}
	i, found := slices.BinarySearchFunc(t.Partitions, id, func(p Partition, id int32) int { return cmp.Compare(p.ID, id) })
	if !found {
		return nil, false
	}
	return &t.Partitions[i], true
}

// Update is what one UpdateMetadata request says. Brokers and controller replace
// what was known, partitions merge into it, and a partition whose leader is
// LeaderDeleting is forgotten.
//
// Apply takes ownership of every slice in it.
type Update struct {
	ControllerID    int32 // -1 when there is none
	ControllerEpoch int32
	Brokers         []Broker
	Topics          []TopicUpdate
}

// TopicUpdate carries the changed partitions of one topic.
type TopicUpdate struct {
	Name       string
	ID         protocol.TopicID // zero keeps the id that is known
	Partitions []Partition
}
