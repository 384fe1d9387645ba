package cleaner

import (
	"bytes"
	"context"
	"math"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
)

// copier makes one segment of a group of them.
type copier struct {
	*pass
	txns          *transactions
	legacyHorizon time.Time

	to        *commitlog.Replacement
	producers map[int64]lastOf
	changed   bool // something was left out, or is different
	// retainLegacy: the segment at hand is too young for tombstones of the old formats
	// to go.
	retainLegacy bool

	// The header of the last batch that was read, if nothing of it was kept.
	dropped    [record.HeaderSize]byte
	hasDropped bool
}

// lastOf is what a producer's newest batch is, by which its state is known after a
// restart. While it is in the producers' state, that batch must stay.
type lastOf struct {
	offset int64 // −1: only a marker is left of it
	epoch  int16
}

func (c *copier) run(ctx context.Context, compaction *commitlog.Compaction, segments []commitlog.Sealed) (err error) {
	if c.to, err = compaction.Replace(segments); err != nil {
		return err
	}
	defer c.to.Discard()
	c.txns.retained = c.to.AddAborted
	var modified time.Time
	var size int64
	for _, s := range segments {
		if modified, err = s.Modified(); err != nil {
			return err
		}
		c.retainLegacy = modified.After(c.legacyHorizon)
		aborted, err := c.log.AbortedTransactions(s.BaseOffset, s.NextOffset)
		if err != nil {
			return err
		}
		c.txns.expect(aborted)
		if err := c.each(ctx, s, s.BaseOffset, c.batch(ctx)); err != nil {
			return err
		}
		size += s.Size
	}
	if c.hasDropped {
		c.fill()
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	c.stats.Segments += len(segments)
	c.stats.BytesRead += size
	c.stats.BytesLeft += c.to.Size()
	if len(segments) == 1 && !c.changed {
		return nil // the copy is no better
	}
	c.stats.Replaced += len(segments)
	return c.to.Finish(modified)
}

// fill ends the segment where it did, if its last batch has gone: a log must not lose
// its end, nor may segments seem to be missing between two. Like Kafka it keeps the
// last batch of all with its producer; any other would only hold up the marker of its
// transaction.
func (c *copier) fill() {
	start, last := len(c.out), record.Batch(c.dropped[:])
	if last.NextOffset() == c.limit {
		c.out = record.AppendEmpty(c.out, last)
	} else {
		c.out = record.AppendFiller(c.out, last)
	}
	c.changed = c.changed || !bytes.Equal(c.out[start:], last)
}

func lastBatches(states []producerstate.Producer) map[int64]lastOf {
	producers := make(map[int64]lastOf, len(states))
	for _, p := range states {
		last := lastOf{offset: -1, epoch: p.Epoch}
		if b, ok := p.LastBatch(); ok {
			last.offset = b.LastOffset
		}
		producers[p.ID] = last
	}
	return producers
}

// batch returns what copies the batches of a segment.
func (c *copier) batch(ctx context.Context) func(record.Batch, int64) (bool, error) {
	return func(b record.Batch, last int64) (bool, error) {
		if err := c.copy(b, last); err != nil {
			return false, err
		}
		if len(c.out) >= c.chunk() {
			return true, c.flush(ctx)
		}
		return true, nil
	}
}

// copy appends to out what is left of a batch.
func (c *copier) copy(b record.Batch, last int64) error {
	kept, err := c.retain(b)
	if err != nil {
		return err
	}
	c.stats.RecordsLeft += int64(kept.Records)
	c.changed = c.changed || c.hasDropped // the batch before was not the last one
	c.hasDropped = false
	switch {
	case kept.Records > 0:
		c.changed = c.changed || !kept.Whole
	case b.Magic() < 2:
		c.changed = true
	case c.isLastOf(b, last):
		c.out = record.AppendEmpty(c.out, b)
		c.changed = c.changed || b.Count() > 0
	default:
		copy(c.dropped[:], b)
		c.hasDropped = true
	}
	return nil
}

// retain appends to out the records of a batch that stay.
func (c *copier) retain(b record.Batch) (record.Retained, error) {
	if b.Magic() < 2 {
		return c.filter(b, record.Horizon{}, c.keep(c.retainLegacy))
	}
	horizon := record.Horizon{MS: c.horizon()}
	expiry, has := b.DeleteHorizon()
	expired := has && expiry <= c.now.UnixMilli()
	if b.IsControl() {
		done, err := c.txns.marker(b)
		c.stats.RecordsRead += int64(b.Count())
		if err != nil || done && expired {
			return record.Retained{}, err
		}
		horizon.Marker = done
		return c.filter(b, horizon, func(record.Outline) bool { return true })
	}
	if c.txns.data(b) {
		c.stats.RecordsRead += int64(b.Count())
		return record.Retained{}, nil
	}
	return c.filter(b, horizon, c.keep(!expired))
}

func (c *copier) filter(b record.Batch, h record.Horizon, keep func(record.Outline) bool) (kept record.Retained, err error) {
	c.out, kept, err = c.open.Retain(c.out, b, c.mayTake(b), h, keep)
	return kept, err
}

// keep says which records stay.
func (c *copier) keep(tombstones bool) func(record.Outline) bool {
	return func(r record.Outline) bool {
		c.stats.RecordsRead++
		switch {
		case r.Offset > c.keys.last:
			return true // who knows what comes after it
		case r.Key == nil:
			return false // from a time before the topic was compacted
		case r.Offset < c.keys.offset(r.Key):
			return false
		}
		return r.HasValue || tombstones
	}
}

// horizon is until when tombstones and markers stay that are met for the first time.
func (c *copier) horizon() int64 {
	now := c.now.UnixMilli()
	return now + min(c.cfg.DeleteRetentionMS, math.MaxInt64-now)
}

// isLastOf reports whether a batch is what its producer is known by.
func (c *copier) isLastOf(b record.Batch, last int64) bool {
	p, ok := c.producers[b.ProducerID()]
	switch {
	case !ok || !b.HasProducerID():
		return false
	case p.offset >= 0:
		return last == p.offset
	}
	return b.IsControl() && b.ProducerEpoch() == p.epoch
}

// flush writes what waits to be written.
func (c *copier) flush(ctx context.Context) error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.to.Append(c.out); err != nil {
		return err
	}
	n := len(c.out)
	if c.out = c.out[:0]; cap(c.out) > 4*c.chunk() {
		c.out = nil
	}
	return c.spend(ctx, n)
}
