package replica

import (
	"container/heap"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
)

// waiters are the produces that wait for a partition's high watermark. They are
// kept by offset, so that a move of the high watermark touches only those that it
// completes.
//
// Nothing is lost between looking at the high watermark and beginning to wait:
// the high watermark and the role are changed before mu is taken to wake, and
// looked at while mu is held to wait.
type waiters struct {
	mu    sync.Mutex
	queue waiterQueue
}

type waiter struct {
	offset int64 // the high watermark that it waits for
	notify func(error)
	index  int // in the queue, −1 once out of it
}

// NotifyAt waits for the high watermark to reach offset, which is one above the
// last offset of an append that this broker made as leader of the given epoch.
//
// done says that it is there already; then notify is not used, and cancel is
// nil. Otherwise notify is called exactly once, perhaps before NotifyAt returns,
// and outside of all locks: with nil, or with an error that wraps
// kerr.NotLeaderForPartition if this broker has stopped leading since, KafkaStorageError if the
// directory failed, UnknownTopicOrPartition if the partition was deleted, or
// NotEnoughReplicasAfterAppend if the records are committed and fewer replicas
// have them than min.insync.replicas asks for. It must not block.
//
// cancel ends the wait, and reports whether it did: if so, notify is never
// called. If not, notify has been called or is about to be, by another goroutine.
func (p *Partition) NotifyAt(offset int64, epoch int32, notify func(error)) (cancel func() bool, done bool) {
	r := p.role.Load()
	if r.ledSince(epoch) && r.log.HighWatermark() >= offset {
		return nil, true // the common case, without a lock
	}
	entry := &waiter{offset: offset, notify: notify, index: -1}
	p.waiters.mu.Lock()
	r = p.role.Load()
	err := r.serve(p.tp, true, NoEpoch)
	switch {
	case err != nil:
	case !r.ledSince(epoch):
		err = fmt.Errorf("%v: leader epoch %d has ended: %w", p.tp, epoch, kerr.NotLeaderForPartition)
	case r.log.HighWatermark() >= offset:
		p.waiters.mu.Unlock()
		return nil, true
	default:
		heap.Push(&p.waiters.queue, entry)
	}
	p.waiters.mu.Unlock()
	if err != nil {
		notify(err)
	}
	return func() bool { return p.waiters.cancel(entry) }, false
}

func (w *waiters) cancel(entry *waiter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if entry.index < 0 {
		return false
	}
	heap.Remove(&w.queue, entry.index)
	return true
}

// wake completes the produces that the high watermark has reached.
func (p *Partition) wake(r *role) {
	hw := r.log.HighWatermark()
	reached := p.waiters.take(func(w *waiter) bool { return w.offset <= hw })
	if len(reached) == 0 {
		return
	}
	var err error
	if !enoughInSync(len(r.maximalISR()), len(r.replicas), r.log.Config().MinInsyncReplicas) {
		err = fmt.Errorf("%v: in-sync replicas %v: %w", p.tp, r.isr, kerr.NotEnoughReplicasAfterAppend)
	}
	for _, w := range reached {
		w.notify(err)
	}
}

// failAll completes all waiters with an error.
func (w *waiters) failAll(err error) {
	for _, entry := range w.take(func(*waiter) bool { return true }) {
		entry.notify(err)
	}
}

// take removes waiters from the lowest offset on, as long as reached says so.
func (w *waiters) take(reached func(*waiter) bool) (taken []*waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && reached(w.queue[0]) {
		taken = append(taken, heap.Pop(&w.queue).(*waiter))
	}
	return taken
}

// waiterQueue is a heap with the lowest offset first.
type waiterQueue []*waiter

func (q waiterQueue) Len() int           { return len(q) }
func (q waiterQueue) Less(i, j int) bool { return q[i].offset < q[j].offset }
func (q waiterQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *waiterQueue) Push(x any) {
	w := x.(*waiter)
	w.index = len(*q)
	*q = append(*q, w)
}

func (q *waiterQueue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	w.index = -1
	return w
}
