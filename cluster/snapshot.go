package cluster

import (
	"iter"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
)

// shards is how many parts the topic maps have. An update copies the parts it
// touches and this many pointers, whatever the number of topics.
const shards = 256

// Snapshot is the cluster at one moment. It is immutable, so it may be read
// without locks for as long as one likes; View.Snapshot returns the newest.
type Snapshot struct {
	controllerID    int32
	controllerEpoch int32
	brokers         []Broker // by id
	topics          [shards]map[string]*Topic
	ids             [shards]map[protocol.TopicID]*Topic
	topicCount      int
	partitionCount  int
	replaced        chan struct{} // closed when a newer snapshot is there
}

func newSnapshot() *Snapshot {
	return &Snapshot{controllerID: -1, controllerEpoch: 0, replaced: make(chan struct{})}
}

// Replaced returns a channel that is closed when a newer snapshot is there.
func (s *Snapshot) Replaced() <-chan struct{} { return s.replaced }

// ControllerID returns the controller's broker id, or -1.
func (s *Snapshot) ControllerID() int32 { return s.controllerID }

// ControllerEpoch returns the epoch of the controller that sent the last update,
// 0 before the first.
func (s *Snapshot) ControllerEpoch() int32 { return s.controllerEpoch }

// Brokers returns the live brokers by ascending id. The slice is shared: do not
// write to it.
func (s *Snapshot) Brokers() []Broker { return s.brokers }

// Broker returns a live broker.
func (s *Snapshot) Broker(id int32) (Broker, bool) {
	i, found := slices.BinarySearchFunc(s.brokers, id, func(b Broker, id int32) int { return int(b.ID) - int(id) })
	if !found {
		return Broker{}, false
	}
	return s.brokers[i], true
}

// Topic returns a topic by name.
func (s *Snapshot) Topic(name string) (*Topic, bool) {
	t, ok := s.topics[nameShard(name)][name]
	return t, ok
}

// TopicByID returns a topic by id.
func (s *Snapshot) TopicByID(id protocol.TopicID) (*Topic, bool) {
	t, ok := s.ids[idShard(id)][id]
	return t, ok
}

// Partition returns one partition's state.
func (s *Snapshot) Partition(tp protocol.TopicPartition) (*Partition, bool) {
	t, ok := s.Topic(tp.Topic)
	if !ok {
		return nil, false
	}
	return t.Partition(tp.Partition)
}

// Topics walks all topics, in no particular order.
func (s *Snapshot) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, shard := range s.topics {
			for _, t := range shard {
				if !yield(t) {
					return
				}
			}
		}
	}
}

// TopicCount returns the number of topics.
func (s *Snapshot) TopicCount() int { return s.topicCount }

// PartitionCount returns the number of partitions of all topics.
func (s *Snapshot) PartitionCount() int { return s.partitionCount }

// nameShard is 32-bit FNV-1a folded to a shard number: stable, and good enough
// on names that share a long prefix.
func nameShard(name string) int {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return int((h ^ h>>8 ^ h>>16 ^ h>>24) % shards)
}

// idShard uses the last byte, which is random in every version of a UUID.
func idShard(id protocol.TopicID) int { return int(id[len(id)-1]) % shards }
