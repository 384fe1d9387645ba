package cleaner

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// compactor is what all threads of compaction share.
type compactor struct {
	throttle throttle

	mu      sync.Mutex
	threads int // that run, beside the first one
	states  map[*commitlog.Log]*state
	lastRun time.Time // when the logs were last looked through
	ratio   float64   // of the dirtiest log then
}

// state is what is known of a log. Those that nothing is known of have none.
type state struct {
	busy        bool      // it is being compacted
	cleaned     time.Time // when it last was; zero: not since the start
	notBefore   time.Time // after what will pass
	uncleanable error     // what is in the log cannot be compacted
	since       time.Time // of uncleanable
	seen        bool      // in the current look through the logs
}

// state returns the state of a log. mu must be held.
func (c *compactor) state(log *commitlog.Log) *state {
	s := c.states[log]
	if s == nil {
		s = &state{}
		c.states[log] = s
	}
	return s
}

// compactFirst is the first thread, which begins others.
func (c *Cleaner) compactFirst(ctx context.Context) {
	c.compactAll(ctx, func() bool {
		c.compactor.mu.Lock()
		defer c.compactor.mu.Unlock()
		for c.compactor.threads+1 < c.cfg.Compaction().Threads {
			c.compactor.threads++
			c.running.Go(func() { c.compactAll(ctx, c.stillWanted) })
		}
		return true
	})
}

// stillWanted reports whether a thread other than the first one is to go on.
func (c *Cleaner) stillWanted() bool {
	c.compactor.mu.Lock()
	defer c.compactor.mu.Unlock()
	wanted := c.compactor.threads+1 <= c.cfg.Compaction().Threads
	if !wanted {
		c.compactor.threads--
	}
	return wanted
}

// compactAll is one thread: it compacts log after log, and pauses when no log is dirty
// enough.
func (c *Cleaner) compactAll(ctx context.Context, goOn func() bool) {
	for ctx.Err() == nil && goOn() {
		if c.CompactNext(ctx) {
			continue
		}
		timer := time.NewTimer(max(c.cfg.Compaction().Backoff, time.Millisecond))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// CompactNext compacts the log that needs it most. It returns false if there is none,
// or nothing came of it.
func (c *Cleaner) CompactNext(ctx context.Context) bool {
	limits := c.cfg.Compaction()
	next, ok := c.choose(ctx, time.Now())
	if !ok {
		return false
	}
	stats, err := newPass(next, limits, &c.compactor.throttle, time.Now()).run(ctx, c.cfg.Begin)
	if err == nil && c.cfg.Cleaned != nil {
		err = c.cfg.Cleaned(next.log)
	}
	c.done(ctx, next, limits, err)
	if err == nil {
		c.logger.Info("compacted a log", append([]any{"partition", next.log.Partition().String()}, stats.attrs()...)...)
	}
	return err == nil
}

// choose returns the dirtiest of the logs that are worth it, as busy.
func (c *Cleaner) choose(ctx context.Context, now time.Time) (best candidate, found bool) {
	k := &c.compactor
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.states {
		s.seen = false
	}
	k.lastRun, k.ratio = now, 0
	for log := range c.logs() {
		if ctx.Err() != nil {
			return candidate{}, false
		}
		if s := k.states[log]; s != nil {
			s.seen = true
			if s.busy || s.uncleanable != nil || s.notBefore.After(now) {
				continue
			}
		}
		if !log.Config().Compact {
			continue
		}
		next, err := examine(log, now, c.logger)
		if err != nil {
			c.fail(log, err, now, c.cfg.Compaction())
			continue
		}
		k.ratio = max(k.ratio, next.ratio())
		if next.worth(log.Config()) && (!found || next.ratio() > best.ratio()) {
			best, found = next, true
		}
	}
	for log, s := range k.states {
		if !s.seen && !s.busy {
			delete(k.states, log) // it was deleted
		}
	}
	if found {
		s := k.state(best.log)
		s.busy, s.seen = true, true
	}
	return best, found
}

// done notes what came of a compaction.
func (c *Cleaner) done(ctx context.Context, was candidate, limits config.Cleaner, err error) {
	k := &c.compactor
	k.mu.Lock()
	defer k.mu.Unlock()
	s, now := k.state(was.log), time.Now()
	s.busy = false
	switch {
	case err == nil:
		s.cleaned = now
	case ctx.Err() != nil:
	default:
		c.fail(was.log, err, now, limits)
	}
}

// fail notes that a log could not be compacted: for a while, if the reason is outside
// of it, else until the next start. A log that cannot be compacted is still read and
// written, and keeps nobody else waiting. mu must be held.
func (c *Cleaner) fail(log *commitlog.Log, err error, now time.Time, limits config.Cleaner) {
	s := c.compactor.state(log)
	s.seen = true
	partition := log.Partition().String()
	switch {
	case errors.Is(err, commitlog.ErrReplaced):
		c.logger.Debug("a compaction came to nothing", "partition", partition, "err", err)
	case vfs.NoRoom(err):
		c.logger.Warn("there is no room to compact a log", "partition", partition, "err", err)
	case errors.Is(err, kerr.KafkaStorageError):
		// About a disk that has failed, or a log that has been deleted in the meantime;
		// those who look after them know already.
		c.logger.Debug("a compaction came to nothing", "partition", partition, "err", err)
	default:
		s.uncleanable, s.since = err, now
		c.logger.Error("a log cannot be compacted, and will not be until the next start; it is served as before",
			"partition", partition, "err", err)
		return
	}
	s.notBefore = now.Add(limits.Backoff)
}
