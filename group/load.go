package group

import (
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/statelog"
)

// load loads the groups of a partition and begins to serve them. As long as the log
// cannot be read, clients are told that the load goes on: without the offsets that are
// there, they would begin anew. Kafka serves what it has read until then.
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

// serve makes the groups that were loaded and has them served.
func (c *Coordinator) serve(p *partition, l *loader, begun time.Time) {
	l.finish()
	groups := make(map[string]*hosted, len(l.groups))
	for id, found := range l.groups {
		h := &hosted{of: p}
		h.mu.Lock()
		var fx effects
		h.group = loadedClassicGroup(id, &c.settings.Limits, found, time.Now(), &fx)
		groups[id] = h
		for producerID := range h.group.transactions {
			p.opened(producerID, h)
		}
		h.end(&fx, true)
	}
	loaded := len(groups) // from now on they are not this goroutine's
	deleted, ended, ok := p.publish(groups)
	if !ok {
		for _, h := range groups {
			h.resign()
		}
		return
	}
	for _, e := range ended {
		p.endTransaction(e)
	}
	if len(deleted) > 0 {
		p.partitionsDeleted(deleted)
	}
	took := time.Since(begun)
	c.stats.loaded(took)
	level := slog.LevelInfo
	if loaded == 0 {
		level = slog.LevelDebug // there are fifty of them
	}
	c.logger.Log(p.ctx, level, "coordinates the groups of a partition", "partition", p.number, "epoch", p.epoch, "groups", loaded, "offsets", l.offsets, "took", took)
	if l.skipped > 0 {
		c.logger.Warn("some records of __consumer_offsets are not understood and were passed over", "partition", p.number, "records", l.skipped, "first", l.firstSkipped)
	}
}
