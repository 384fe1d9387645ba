package txn

import (
	"context"
	"time"
)

// scan aborts transactions that take too long, and forgets ids that nobody uses, now and
// then.
func (c *Coordinator) scan(ctx context.Context) {
	abort := time.NewTicker(c.settings.AbortInterval)
	defer abort.Stop()
	expire := time.NewTicker(c.settings.ExpirationInterval)
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-abort.C:
			if n := c.each((*transaction).timeOut); n > 0 {
				c.stats.timedOut.Add(uint64(n))
				c.logger.Info("aborts transactions that took longer than their producers had allowed", "transactions", n)
			}
			c.sayUnsaid()
		case <-expire.C:
			if n := c.each((*transaction).expire); n > 0 {
				c.logger.Info("forgets transactional ids that nobody has used for long", "ids", n)
			}
		}
	}
}

// each takes a step with every id, and returns how many have done something.
func (c *Coordinator) each(step func(*transaction, time.Time, *effects) bool) (n int) {
	for _, p := range c.led.All() {
		for _, h := range p.table.All() {
			var fx effects
			t, now := h.begin()
			if step(t, now, &fx) {
				n++
			}
			h.end(&fx, false)
		}
	}
	return n
}

func (c *Coordinator) sayUnsaid() {
	if n := c.refusals.Unsaid(); n > 0 {
		c.logger.Warn("more batches of transactional ids were not written", "batches", n)
	}
	if n := c.budget.refusals.Unsaid(); n > 0 {
		c.logger.Warn("transactional ids were not allowed to grow more often than was told", "times", n)
	}
	if n := c.markers.refusals.Unsaid(); n > 0 {
		c.logger.Warn("more markers of transactions could not be written at once", "times", n)
	}
}
