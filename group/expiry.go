package group

import (
	"context"
	"time"
)

// expireNowAndThen removes expired offsets, and groups without members and offsets, at
// once and then in intervals.
func (c *Coordinator) expireNowAndThen(ctx context.Context) {
	ticker := time.NewTicker(c.settings.RetentionCheckInterval)
	defer ticker.Stop()
	for {
		c.expire()
		if n := c.refusals.Unsaid(); n > 0 {
			c.logger.Warn("more batches of offsets or group metadata were not written", "batches", n)
		}
		if n := c.budget.refusals.Unsaid(); n > 0 {
			c.logger.Warn("groups were not allowed to grow more often than was told", "times", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (c *Coordinator) expire() {
	for _, p := range c.led.All() {
		expired := 0
		for _, h := range p.table.All() {
			var fx effects
			g, now := h.begin()
			if g.state != Dead {
				expired += g.expire(now, &fx)
			}
			h.end(&fx, false)
		}
		if expired > 0 {
			c.stats.expired.Add(uint64(expired))
			c.logger.Info("removed offsets whose retention is over", "partition", p.number, "offsets", expired)
		}
	}
}
