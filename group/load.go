package group

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

const (
	loadRetry    = time.Second
	loadRetryMax = 30 * time.Second
)

// load loads the groups of a partition and begins to serve them. As long as the log
// cannot be read, it tries again, and clients are told that the load goes on: without
// the offsets that are there, they would begin anew. Kafka serves what it has read
// until then.
func (c *Coordinator) load(p *partition) {
	for wait := loadRetry; ; wait = min(2*wait, loadRetryMax) {
		err := c.tryLoad(p)
		if err == nil || p.ctx.Err() != nil {
			return
		}
		c.logger.Error("cannot load a partition of __consumer_offsets, and its groups have to wait", "partition", p.number, "err", err, "retry", wait)
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// tryLoad loads once it is this partition's turn.
func (c *Coordinator) tryLoad(p *partition) error {
	select {
	case c.loads <- struct{}{}:
		defer func() { <-c.loads }()
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
	begun := time.Now()
	if _, err := c.partitionCount(p.ctx); err != nil {
		return err
	}
	l := newLoader()
	if err := c.read(p, l); err != nil {
		return err
	}
	c.serve(p, l, begun)
	return nil
}

// read goes over the whole log of a partition.
func (c *Coordinator) read(p *partition, l *loader) error {
	at, end, err := c.log.Bounds(p.number)
	if err != nil {
		return err
	}
	var buf []byte
	for at < end && p.ctx.Err() == nil {
		if buf, err = c.log.Read(buf[:0], p.number, at, end, c.settings.LoadBufferBytes); err != nil {
			return err
		}
		if len(buf) == 0 {
			break // compaction has removed the last records
		}
		for rest := buf; len(rest) > 0; {
			var entry record.Batch
			if entry, rest, err = record.NextEntry(rest); err != nil {
				return fmt.Errorf("after offset %d: %w", at, err)
			}
			if entry.BaseOffset() >= end {
				return nil
			}
			if err := l.add(entry); err != nil {
				return err
			}
			at = nextOffset(entry)
		}
	}
	return p.ctx.Err()
}

// nextOffset is the offset behind an entry. A message has that of its last record.
func nextOffset(entry record.Batch) int64 {
	if entry.Magic() < 2 {
		return entry.BaseOffset() + 1
	}
	return entry.NextOffset()
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
		h.end(&fx, true)
	}
	loaded := len(groups) // from now on they are not this goroutine's
	deleted, ok := p.publish(groups)
	if !ok {
		for _, h := range groups {
			h.resign()
		}
		return
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
