package txn

import (
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/statelog"
)

// load loads the ids of a partition and begins to serve them. As long as the log cannot
// be read clients are told that the load goes on. Kafka serves what it has read until
// then, and has lost transactions then.
func (c *Coordinator) load(p *partition) {
	c.loads.Run(p.ctx, p.number, p.epoch, func() error { return c.tryLoad(p) })
}

func (c *Coordinator) tryLoad(p *partition) error {
	begun := time.Now()
	if _, err := c.led.Number(p.ctx); err != nil {
		return err
	}
	l := newLoader()
	if err := statelog.ReadAll(p.ctx, c.log, p.number, c.settings.LoadBufferBytes, l.add); err != nil {
		return err
	}
	c.serve(p, l, begun)
	return nil
}

// serve makes the ids that were loaded, has them served, and then goes on with what was
// decided.
func (c *Coordinator) serve(p *partition, l *loader, begun time.Time) {
	ids := make(map[string]*hosted, len(l.ids))
	steps := map[*hosted]*effects{}
	for id, found := range l.ids {
		fx := &effects{}
		h := &hosted{of: p, id: loadedTransaction(id, &c.settings.Limits, found, fx)}
		h.charge()
		ids[id] = h
		if !fx.none() {
			steps[h] = fx
		}
	}
	loaded := len(ids) // from now on they are not this goroutine's
	if !p.table.Publish(ids) {
		for _, h := range ids {
			h.resign()
		}
		return
	}
	for h, fx := range steps {
		h.do(fx, false)
	}
	took := time.Since(begun)
	c.stats.loaded(took)
	level := slog.LevelInfo
	if loaded == 0 {
		level = slog.LevelDebug // there are fifty of them
	}
	c.logger.Log(p.ctx, level, "coordinates the transactions of a partition", "partition", p.number, "epoch", p.epoch, "ids", loaded, "decided", len(steps), "took", took)
	if l.skipped > 0 {
		c.logger.Warn("some records of __transaction_state are not understood and were passed over", "partition", p.number, "records", l.skipped, "first", l.firstSkipped)
	}
}
