package replica

import (
	"hash/maphash"
	"iter"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/gracchus-mq/gracchus/protocol"
)

// table finds partitions by name. Every request does that, so that looking up
// takes no lock and allocates nothing; partitions come and go rarely, and then
// one of the shards is copied.
type table struct {
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu         sync.Mutex
	partitions atomic.Pointer[map[protocol.TopicPartition]*Partition]
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].partitions.Store(&map[protocol.TopicPartition]*Partition{})
	}
	return t
}

func (t *table) shard(tp protocol.TopicPartition) *shard {
	return &t.shards[maphash.Comparable(t.seed, tp)%uint64(len(t.shards))]
}

func (t *table) get(tp protocol.TopicPartition) *Partition {
	return (*t.shard(tp).partitions.Load())[tp]
}

// getOrAdd returns the partition, made by create if it is not there.
func (t *table) getOrAdd(tp protocol.TopicPartition, create func() *Partition) *Partition {
	s := t.shard(tp)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.partitions.Load()
	if p, ok := old[tp]; ok {
		return p
	}
	next := maps.Clone(old)
	p := create()
	next[tp] = p
	s.partitions.Store(&next)
	return p
}

func (t *table) remove(tp protocol.TopicPartition) {
	s := t.shard(tp)
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.partitions.Load())
	delete(next, tp)
	s.partitions.Store(&next)
}

func (t *table) all() iter.Seq[*Partition] {
	return func(yield func(*Partition) bool) {
		for i := range t.shards {
			for _, p := range *t.shards[i].partitions.Load() {
				if !yield(p) {
					return
				}
			}
		}
	}
}
