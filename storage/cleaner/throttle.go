package cleaner

import (
	"context"
	"sync"
	"time"
)

// throttle keeps all compactions together below a rate of bytes per second
// (log.cleaner.io.max.bytes.per.second).
type throttle struct {
	mu   sync.Mutex
	next time.Time // when all that was let through so far is paid for
}

// leastWait is the shortest wait that is worth one; less is made up for later.
const leastWait = 10 * time.Millisecond

// spend takes note of bytes that were read or written, and waits until they are within
// the rate, or ctx ends.
func (t *throttle) spend(ctx context.Context, bytes int, rate float64) {
	if rate <= 0 || bytes == 0 {
		return
	}
	seconds := float64(bytes) / rate
	if seconds < 1e-9 {
		return
	}
	cost := time.Duration(min(seconds, float64(time.Hour/time.Second)) * float64(time.Second))
	now := time.Now()
	t.mu.Lock()
	if t.next.Before(now) {
		t.next = now
	}
	t.next = t.next.Add(cost)
	wait := t.next.Sub(now)
	t.mu.Unlock()
	if wait < leastWait {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
