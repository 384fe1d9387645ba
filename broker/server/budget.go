package server

import (
	"context"
	"sync"
)

// budget is the number of bytes that all connections together may hold in
// frames. Those who ask for more than there is wait in order, so that a large
// frame is not starved by small ones. Safe for concurrent use.
type budget struct {
	mu      sync.Mutex
	size    int64
	free    int64
	waiters []*budgetWaiter // oldest first
}

type budgetWaiter struct {
	n     int64
	ready chan struct{} // closed with mu held, once n has been taken
}

func newBudget(size int64) *budget { return &budget{size: size, free: size} }

// acquire takes n bytes, at most the whole budget, and says how many: that
// amount must be released. It fails only when ctx ends first.
func (b *budget) acquire(ctx context.Context, n int64) (int64, error) {
	n = min(n, b.size)
	b.mu.Lock()
	if len(b.waiters) == 0 && b.free >= n {
		b.free -= n
		b.mu.Unlock()
		return n, nil
	}
	w := &budgetWaiter{n: n, ready: make(chan struct{})}
	b.waiters = append(b.waiters, w)
	b.mu.Unlock()
	select {
	case <-w.ready:
		return n, nil
	case <-ctx.Done():
		b.forget(w)
		return 0, ctx.Err()
	}
}

// tryAcquire takes n bytes if they are there now and nobody waits for any.
func (b *budget) tryAcquire(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiters) > 0 || b.free < n {
		return false
	}
	b.free -= n
	return true
}

// forget takes a waiter out of the line, or gives back what it had just got.
func (b *budget) forget(w *budgetWaiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.waiters {
		if other == w {
			b.waiters = append(b.waiters[:i], b.waiters[i+1:]...)
			b.serve()
			return
		}
	}
	b.free += w.n
	b.serve()
}

func (b *budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.serve()
}

func (b *budget) serve() {
	for len(b.waiters) > 0 && b.free >= b.waiters[0].n {
		w := b.waiters[0]
		b.waiters[0] = nil
		b.waiters = b.waiters[1:]
		b.free -= w.n
		close(w.ready)
	}
}

func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size - b.free
}
