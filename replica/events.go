package replica

import (
	"sync"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Role is what a broker is in a partition.
type Role int8

const (
	None Role = iota // not hosted, or not any more
	Leader
	Follower
)

// Cause says why a role has changed.
type Cause int8

const (
	LeaderAndISR    Cause = iota // the controller said so
	Deleted                      // StopReplica with deletion
	FailedDirectory              // its log directory has failed
)

// RoleEvent says that this broker's role in a partition has changed.
type RoleEvent struct {
	Partition protocol.TopicPartition
	Role      Role
	Epoch     int32 // leader epoch; after a deletion or a failure the last one known
	Cause     Cause
}

// events tells subscribers, in the order in which things happened and outside of
// all locks of a partition. Whoever adds an event delivers, unless another
// goroutine does already; so subscribers are never called by two at a time.
type events struct {
	mu          sync.Mutex
	subscribers []func(RoleEvent)
	queue       []RoleEvent
	delivering  bool
}

// Subscribe has f called for each change of a role from now on, one after the
// other. f must not block for long: the controller's requests wait for it.
func (r *Replicas) Subscribe(f func(RoleEvent)) {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	r.events.subscribers = append(r.events.subscribers, f)
}

func (e *events) add(event RoleEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, event)
}

func (e *events) deliver() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.delivering {
		return
	}
	e.delivering = true
	for len(e.queue) > 0 {
		batch, subscribers := e.queue, e.subscribers
		e.queue = nil
		e.mu.Unlock()
		for _, event := range batch {
			for _, f := range subscribers {
				f(event)
			}
		}
		e.mu.Lock()
	}
	e.delivering = false
}
