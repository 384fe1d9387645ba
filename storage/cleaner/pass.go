package cleaner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// maxOpened bounds what a compressed batch is opened to, if the topic's own bound for
// it is lower. The broker that accepted it may have had none.
const maxOpened = 128 << 20

// errNotWanted says that the topic's policy has changed since a pass began: who has taken
// "compact" from it does not want to lose more.
var errNotWanted = errors.New("the topic is not to be compacted any more")

// leastChunk is the least that is read at once.
const leastChunk = 4096

// pass is one compaction of one log. In a first run it learns from the dirty part which
// offset is the newest of each key, as far as its memory goes. In a second one it
// copies everything up to there, from the log's first segment on, without the records
// that have a newer one of their key, and puts the copies in the place of the segments.
type pass struct {
	candidate
	cfg      *config.Topic
	limits   config.Cleaner
	throttle *throttle
	now      time.Time

	keys *keyMap
	open record.Compactor
	in   []byte // what segments are read into
	out  []byte // batches to be written
	paid int    // bytes since the throttle was last asked

	stats Stats
}

// Stats says what one compaction of a log has done.
type Stats struct {
	From, To             int64 // offsets: what was dirty before
	BytesRead, BytesLeft int64 // without indexes
	RecordsRead          int64
	RecordsLeft          int64
	Segments, Replaced   int // that were there, and that others have taken the place of
	Took                 time.Duration
}

func (s Stats) attrs() []any {
	return []any{
		slog.Int64("from", s.From), slog.Int64("to", s.To),
		slog.Int64("bytes", s.BytesRead), slog.Int64("bytes left", s.BytesLeft),
		slog.Int64("records", s.RecordsRead), slog.Int64("records left", s.RecordsLeft),
		slog.Int("segments", s.Segments), slog.Int("replaced", s.Replaced), slog.Duration("took", s.Took.Round(time.Millisecond)),
	}
}

func newPass(c candidate, limits config.Cleaner, t *throttle, now time.Time) *pass {
	return &pass{candidate: c, cfg: c.log.Config(), limits: limits, throttle: t, now: now}
}

// run compacts. begin may be nil; see Config.Begin. It returns early with ctx's error, and
// then whatever it has finished stays. Errors are errNotWanted, or wrap
// commitlog.ErrReplaced or kerr.KafkaStorageError, if somebody else has to do with it; all
// others are about what is in the log.
func (p *pass) run(ctx context.Context, begin func(*commitlog.Log) error) (Stats, error) {
	begun := time.Now()
	compaction, err := p.log.BeginCompaction()
	if err == nil && begin != nil {
		err = begin(p.log)
	}
	if err != nil {
		return p.stats, err
	}
	if err := p.learn(ctx); err != nil {
		return p.stats, err
	}
	end := p.keys.last + 1
	sealed := p.log.Sealed()
	groups, err := group(sealed, end, p.cfg)
	if err != nil {
		return p.stats, err
	}
	legacyHorizon, err := p.legacyHorizon(sealed)
	if err != nil {
		return p.stats, err
	}
	txns, producers := newTransactions(), lastBatches(compaction.Producers)
	for _, g := range groups {
		c := copier{pass: p, txns: txns, producers: producers, legacyHorizon: legacyHorizon}
		if err := c.run(ctx, compaction, g); err != nil {
			return p.stats, err
		}
	}
	if err := compaction.Done(end); err != nil {
		return p.stats, err
	}
	p.stats.From, p.stats.To, p.stats.Took = p.firstDirty, end, time.Since(begun)
	return p.stats, nil
}

// learn fills the map from the dirty part of the log, in which each key's newest record
// comes last. It ends at the limit, or before the first record that does not fit.
func (p *pass) learn(ctx context.Context) error {
	p.keys = newKeyMap(p.limits.DedupeBytes/int64(max(p.limits.Threads, 1)), p.limits.DedupeLoadFactor, p.limit-p.firstDirty)
	p.keys.reach(p.firstDirty - 1)
	txns := newTransactions()
	aborted, err := p.log.AbortedTransactions(p.firstDirty, p.limit)
	if err != nil {
		return err
	}
	txns.expect(aborted)
	for _, s := range from(p.log.Sealed(), p.firstDirty) {
		if s.BaseOffset >= p.limit {
			break
		}
		full := false
		err := p.each(ctx, s, p.firstDirty, func(b record.Batch, last int64) (more bool, err error) {
			full, err = p.learnBatch(b, last, txns)
			return !full, err
		})
		if err != nil || full {
			return err
		}
		p.keys.reach(s.NextOffset - 1) // whatever is missing at its end
	}
	return nil
}

func (p *pass) learnBatch(b record.Batch, last int64, txns *transactions) (full bool, err error) {
	defer func() {
		if !full && err == nil && last >= p.firstDirty {
			p.keys.reach(last)
		}
	}()
	if b.Magic() >= 2 {
		if b.IsControl() {
			_, err := txns.marker(b)
			return false, err
		}
		if txns.data(b) {
			return false, nil // nobody reads it: it replaces nothing
		}
	}
	err = p.open.Outlines(b, p.mayTake(b), func(r record.Outline) bool {
		if r.Key == nil || r.Offset < p.firstDirty {
			return true
		}
		if full = !p.keys.put(r.Key, r.Offset); full {
			p.keys.reach(r.Offset - 1)
		}
		return !full
	})
	return full, err
}

func (p *pass) mayTake(b record.Batch) int {
	return max(record.MaxDecompressed(p.cfg.MaxMessageBytes), record.MaxDecompressed(int32(len(b))), maxOpened)
}

// each calls visit with the batches of a segment and their last offsets, from one before
// offset on, until it returns false.
func (p *pass) each(ctx context.Context, s commitlog.Sealed, offset int64, visit func(b record.Batch, last int64) (more bool, err error)) error {
	r, err := s.Open(offset, p.chunk(), p.in)
	if err != nil {
		return err
	}
	defer func() {
		r.Close()
		if p.in = r.Buffer(); cap(p.in) > 2*p.chunk() {
			p.in = nil // a large batch needed it
		}
	}()
	for {
		b, last, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("segment %d: %w", s.BaseOffset, err)
		}
		if err := p.spend(ctx, len(b)); err != nil {
			return err
		}
		if more, err := visit(b, last); err != nil || !more {
			return err
		}
	}
}

// chunk is how much is read, and written, at once.
func (p *pass) chunk() int {
	return max(p.limits.IOBytes/max(p.limits.Threads, 1)/2, leastChunk)
}

// spend takes note of bytes that were read or written, and gives the throttle its turn.
// From time to time it looks whether the log is to be compacted at all.
func (p *pass) spend(ctx context.Context, bytes int) error {
	if p.paid += bytes; p.paid >= p.chunk() {
		p.throttle.spend(ctx, p.paid, p.limits.BytesPerSecond)
		p.paid = 0
		if !p.log.Config().Compact {
			return errNotWanted
		}
	}
	return ctx.Err()
}

// legacyHorizon: tombstones of the old formats, which carry no horizon, may go from
// segments that were last written before this.
func (p *pass) legacyHorizon(sealed []commitlog.Sealed) (time.Time, error) {
	i := slices.IndexFunc(sealed, func(s commitlog.Sealed) bool { return s.BaseOffset >= p.firstDirty })
	if i < 0 {
		i = len(sealed)
	}
	if i == 0 {
		return time.Time{}, nil
	}
	modified, err := sealed[i-1].Modified()
	return modified.Add(-milliseconds(p.cfg.DeleteRetentionMS)), err
}

// milliseconds is ms as a duration, at most the longest there is.
func milliseconds(ms int64) time.Duration {
	const longest = 1<<63 - 1
	return time.Duration(min(ms, longest/int64(time.Millisecond))) * time.Millisecond
}
