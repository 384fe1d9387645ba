package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gracchus-mq/gracchus/protocol"
)

// View is the current Snapshot and the one way to change it.
//
// Readers take the pointer and never wait. Writers (UpdateMetadata requests, in
// practice one at a time) are ordered by a mutex that is held for copying only.
// The copy is two levels deep: the snapshot with its shard pointers, and within
// it the shards of the topics that the update names.
type View struct {
	mu      sync.Mutex // orders Apply
	current atomic.Pointer[Snapshot]
}

// NewView returns a view of a cluster without brokers, topics and controller.
func NewView() *View {
	v := &View{}
	v.current.Store(newSnapshot())
	return v
}

// Snapshot returns the newest snapshot.
func (v *View) Snapshot() *Snapshot { return v.current.Load() }

// Wait returns the first snapshot, from now on, for which done returns true. It
// returns the newest snapshot together with ctx's error when ctx ends first.
// done is called in the waiting goroutine.
func (v *View) Wait(ctx context.Context, done func(*Snapshot) bool) (*Snapshot, error) {
	for {
		s := v.Snapshot()
		if done(s) {
			return s, nil
		}
		select {
		case <-s.replaced:
		case <-ctx.Done():
			return v.Snapshot(), ctx.Err()
		}
	}
}

// Apply merges an update and returns the partitions it removed. The caller has
// checked the controller's epoch.
func (v *View) Apply(u Update) (removed []protocol.TopicPartition) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.current.Load()
	next := *old
	next.replaced = make(chan struct{})
	next.controllerID, next.controllerEpoch = u.ControllerID, u.ControllerEpoch
	next.brokers = sortedBrokers(u.Brokers)
	m := merger{next: &next}
	for _, t := range u.Topics {
		m.merge(t)
	}
	v.current.Store(&next)
	close(old.replaced)
	return m.removed
}

// sortedBrokers orders by id; of two entries for one id the later wins.
func sortedBrokers(in []Broker) []Broker {
	slices.SortStableFunc(in, func(a, b Broker) int { return cmp.Compare(a.ID, b.ID) })
	out := in[:0]
	for i, b := range in {
		if i+1 < len(in) && in[i+1].ID == b.ID {
			continue
		}
		out = append(out, b)
	}
	return out
}

// merger builds a snapshot from its predecessor, copying each shard on its first
// change.
type merger struct {
	next        *Snapshot
	ownedTopics [shards]bool
	ownedIDs    [shards]bool
	removed     []protocol.TopicPartition
}

func (m *merger) merge(u TopicUpdate) {
	old, existed := m.next.Topic(u.Name)
	id := u.ID
	var known []Partition
	switch {
	case !existed:
	case id.IsZero() || id == old.ID:
		id = old.ID
		known = old.Partitions
	case old.ID.IsZero():
		known = old.Partitions
	case onlyDeletions(u.Partitions):
		return // of an earlier topic of this name, long replaced
	default:
		// Another id is another topic: nothing of the old one is carried over.
		for _, p := range old.Partitions {
			m.removed = append(m.removed, protocol.TopicPartition{Topic: u.Name, Partition: p.ID})
		}
	}
	before := len(known)
	ordered := existed && !u.ID.IsZero() && u.ID == old.ID
	partitions := m.mergePartitions(u.Name, known, u.Partitions, ordered)
	if existed && (old.ID != id || len(partitions) == 0) {
		m.drop(old)
		before = 0
	}
	if len(partitions) == 0 {
		return
	}
	m.put(&Topic{Name: u.Name, ID: id, Partitions: partitions}, before)
}

func onlyDeletions(partitions []Partition) bool {
	return !slices.ContainsFunc(partitions, func(p Partition) bool { return p.Leader != LeaderDeleting })
}

// mergePartitions merges two lists into a new one ordered by partition. changes
// comes in any order (Kafka's controller sends hash order); of two entries for
// one partition the later wins.
//
// ordered says that the partition epochs tell which state is newer. An older one may
// come later: what the controller has sent over a connection that broke may still be on
// its way when it has said the same and more over the next.
func (m *merger) mergePartitions(topic string, old, changes []Partition, ordered bool) []Partition {
	slices.SortStableFunc(changes, func(a, b Partition) int { return cmp.Compare(a.ID, b.ID) })
	out := make([]Partition, 0, len(old)+len(changes))
	for i, p := range changes {
		if i+1 < len(changes) && changes[i+1].ID == p.ID {
			continue
		}
		n, known := slices.BinarySearchFunc(old, p.ID, func(q Partition, id int32) int { return cmp.Compare(q.ID, id) })
		out = append(out, old[:n]...)
		old = old[n:]
		if known {
			if ordered && p.Leader != LeaderDeleting && p.PartitionEpoch < old[0].PartitionEpoch {
				p = old[0]
			}
			old = old[1:]
		}
		switch {
		case p.Leader != LeaderDeleting:
			out = append(out, p)
		case known:
			m.removed = append(m.removed, protocol.TopicPartition{Topic: topic, Partition: p.ID})
		}
	}
	return append(out, old...)
}

// put stores a topic; before is how many partitions its predecessor, which is
// still in the snapshot, had (0: there is none).
func (m *merger) put(t *Topic, before int) {
	shard := m.topicShard(t.Name)
	if _, replaced := shard[t.Name]; !replaced {
		m.next.topicCount++
	}
	shard[t.Name] = t
	m.next.partitionCount += len(t.Partitions) - before
	if !t.ID.IsZero() {
		m.idShard(t.ID)[t.ID] = t
	}
}

func (m *merger) drop(t *Topic) {
	delete(m.topicShard(t.Name), t.Name)
	m.next.topicCount--
	m.next.partitionCount -= len(t.Partitions)
	if !t.ID.IsZero() {
		delete(m.idShard(t.ID), t.ID)
	}
}

func (m *merger) topicShard(name string) map[string]*Topic {
	i := nameShard(name)
	if !m.ownedTopics[i] {
		m.ownedTopics[i] = true
		m.next.topics[i] = cloned(m.next.topics[i])
	}
	return m.next.topics[i]
}

func (m *merger) idShard(id protocol.TopicID) map[protocol.TopicID]*Topic {
	i := idShard(id)
	if !m.ownedIDs[i] {
		m.ownedIDs[i] = true
		m.next.ids[i] = cloned(m.next.ids[i])
	}
	return m.next.ids[i]
}

func cloned[K comparable, V any](in map[K]V) map[K]V {
	if in == nil {
		return make(map[K]V, 1)
	}
	return maps.Clone(in)
}
