package statelog

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/replica"
)

// Leaderships are the partitions of a topic that this broker leads. For each leadership
// there is one P, which is made when it begins and thrown away when it ends: what comes
// late, a load or an acknowledgement, finds only what is dead.
//
// Concurrency: mu serialises what begins and ends leaderships; Find and All do without.
type Leaderships[P any] struct {
	topic  string
	count  func(ctx context.Context) (int32, error)
	begin  func(partition, epoch int32) *P
	load   func(*P)
	number atomic.Int32                 // of partitions; 0 while it is not known
	led    atomic.Pointer[map[int32]*P] // replaced, not changed

	running atomic.Bool

	mu      sync.Mutex
	started bool
	epochs  map[int32]int32 // the newest leader epoch heard of, by partition
}

// NewLeaderships returns the leaderships in a topic, none so far. count reads how many
// partitions the topic has, 0 if there is no such topic; it may block. begin makes a P,
// and load has it loaded, in another goroutine; both are called with a lock held.
func NewLeaderships[P any](topic string, count func(ctx context.Context) (int32, error), begin func(partition, epoch int32) *P, load func(*P)) *Leaderships[P] {
	l := &Leaderships[P]{topic: topic, count: count, begin: begin, load: load, epochs: map[int32]int32{}}
	l.led.Store(&map[int32]*P{})
	return l
}

// Start has what is led already loaded, and Find find from now on.
func (l *Leaderships[P]) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = true
	for _, p := range *l.led.Load() {
		l.load(p)
	}
	l.running.Store(true)
}

// Stop ends all leaderships, and returns them.
func (l *Leaderships[P]) Stop() map[int32]*P {
	l.running.Store(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = false
	return *l.led.Swap(&map[int32]*P{})
}

// RoleChanged is told of every change of this broker's role in a partition of the topic,
// in the order in which they happened. It returns the leadership that has ended, if one
// has.
func (l *Leaderships[P]) RoleChanged(e replica.RoleEvent) (ended *P) {
	l.mu.Lock()
	defer l.mu.Unlock()
	number := e.Partition.Partition
	if newest, known := l.epochs[number]; known && e.Epoch < newest && e.Cause != replica.Deleted {
		return nil
	}
	l.epochs[number] = e.Epoch
	if e.Cause == replica.Deleted {
		delete(l.epochs, number) // a topic of that name begins with epoch 0
	}
	led := *l.led.Load()
	p := led[number]
	if (p != nil) == (e.Role == replica.Leader) {
		return nil // another epoch of the same leadership does not load again
	}
	next := maps.Clone(led)
	if p != nil {
		delete(next, number)
	} else {
		begun := l.begin(number, e.Epoch)
		next[number] = begun
		if l.started {
			l.load(begun)
		}
	}
	l.led.Store(&next)
	return p
}

// TopicDeleted is told when the topic was deleted: the next of that name may have
// another number of partitions.
func (l *Leaderships[P]) TopicDeleted() { l.number.Store(0) }

// PartitionFor is the partition that a name belongs to. Errors are those of reading
// their number, and kerr.CoordinatorNotAvailable if there is no such topic.
func (l *Leaderships[P]) PartitionFor(ctx context.Context, name string) (int32, error) {
	n, err := l.Number(ctx)
	if err != nil {
		return 0, err
	}
	return PartitionFor(name, n), nil
}

// Number is how many partitions there are; what it has returned once it returns until
// the topic is deleted, since the partition of a name must not change. Kafka takes the
// number that its own configuration has, if there is no topic yet when it starts: then
// brokers whose configurations differ, or a topic that was made by hand, keep names from
// being found. Errors are those of PartitionFor.
func (l *Leaderships[P]) Number(ctx context.Context) (int32, error) {
	if n := l.number.Load(); n > 0 {
		return n, nil
	}
	n, err := l.count(ctx)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the number of partitions of %s: %w", l.topic, err)
	case n <= 0:
		return 0, fmt.Errorf("there is no %s: %w", l.topic, kerr.CoordinatorNotAvailable)
	}
	l.number.CompareAndSwap(0, n)
	return n, nil
}

// Find finds the leadership of the partition that a name belongs to. Errors are
// kerr.CoordinatorNotAvailable if the coordinator does not run, NotCoordinator, and
// CoordinatorLoadInProgress while the number of partitions is not known.
func (l *Leaderships[P]) Find(name string) (*P, error) {
	if !l.running.Load() {
		return nil, kerr.CoordinatorNotAvailable
	}
	led, n := *l.led.Load(), l.number.Load()
	if len(led) == 0 {
		return nil, kerr.NotCoordinator
	}
	if n == 0 {
		return nil, kerr.CoordinatorLoadInProgress // which begins with reading it
	}
	if p := led[PartitionFor(name, n)]; p != nil {
		return p, nil
	}
	return nil, kerr.NotCoordinator
}

// Running reports whether the coordinator has been started and not stopped.
func (l *Leaderships[P]) Running() bool { return l.running.Load() }

// All returns the leaderships by partition. The map is not to be changed.
func (l *Leaderships[P]) All() map[int32]*P { return *l.led.Load() }
