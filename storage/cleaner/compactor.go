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
//
// Concurrency: choosing is held by the thread that looks for a log, so that no two take
// the same one. mu guards the fields below it and is never held while a log is read, for
// Status must not wait for a disk.
type compactor struct {
	throttle throttle
	choosing sync.Mutex

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
	c.done(ctx, next.log, limits, err)
	if err == nil {
		c.logger.Info("compacted a log", append([]any{"partition", next.log.Partition().String()}, stats.attrs()...)...)
	}
	return err == nil
}

// choose returns the dirtiest of the logs that are worth it, as busy.
func (c *Cleaner) choose(ctx context.Context, now time.Time) (best candidate, found bool) {
	k := &c.compactor
	k.choosing.Lock()
	defer k.choosing.Unlock()
	k.beginLook()
	ratio := 0.0
	for log := range c.logs() {
		if ctx.Err() != nil {
			return candidate{}, false
		}
		if !k.available(log, now) || !log.Config().Compact {
			continue
		}
		next, err := examine(log, now, c.logger)
		if err != nil {
			c.fail(log, err, now, c.cfg.Compaction())
			continue
		}
		ratio = max(ratio, next.ratio())
		if next.worth(log.Config()) && (!found || next.ratio() > best.ratio()) {
			best, found = next, true
		}
	}
	k.endLook(now, ratio)
	if found {
		k.take(best.log)
	}
	return best, found
}

func (k *compactor) beginLook() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.states {
		s.seen = false
	}
}

// available reports whether a log may be compacted, for all that is known of it.
func (k *compactor) available(log *commitlog.Log, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.states[log]
	if s == nil {
		return true
	}
	s.seen = true
	return !s.busy && s.uncleanable == nil && !s.notBefore.After(now)
}

// endLook notes that all logs have been looked at, and forgets those that are gone.
func (k *compactor) endLook(now time.Time, ratio float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastRun, k.ratio = now, ratio
	for log, s := range k.states {
		if !s.seen && !s.busy {
			delete(k.states, log)
		}
	}
}

// take notes that a log is being compacted.
func (k *compactor) take(log *commitlog.Log) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state(log).busy = true
}

// done notes what came of a compaction.
func (c *Cleaner) done(ctx context.Context, log *commitlog.Log, limits config.Cleaner, err error) {
	now := time.Now()
	if err != nil && ctx.Err() == nil {
		c.fail(log, err, now, limits) // before another thread may take it
	}
	c.compactor.release(log, now, err == nil)
}

// release notes that a log is no longer being compacted.
func (k *compactor) release(log *commitlog.Log, now time.Time, cleaned bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state(log)
	s.busy = false
	if cleaned {
		s.cleaned = now
	}
}

// fail notes that a log could not be compacted: for a while, if the reason is outside
// of it, else until the next start. A log that cannot be compacted is still read and
// written, and keeps nobody else waiting.
func (c *Cleaner) fail(log *commitlog.Log, err error, now time.Time, limits config.Cleaner) {
	partition := log.Partition().String()
	switch {
	case errors.Is(err, commitlog.ErrReplaced), errors.Is(err, errNotWanted):
		c.logger.Debug("a compaction came to nothing", "partition", partition, "err", err)
	case vfs.NoRoom(err):
		c.logger.Warn("there is no room to compact a log", "partition", partition, "err", err)
	case errors.Is(err, kerr.KafkaStorageError):
		// About a disk that has failed, or a log that has been deleted in the meantime;
		// those who look after them know already.
		c.logger.Debug("a compaction came to nothing", "partition", partition, "err", err)
	default:
		c.compactor.setAside(log, err, now)
		c.logger.Error("a log cannot be compacted, and will not be until the next start; it is served as before",
			"partition", partition, "err", err)
		return
	}
	c.compactor.postpone(log, now.Add(limits.Backoff))
}

func (k *compactor) setAside(log *commitlog.Log, err error, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state(log)
	s.uncleanable, s.since, s.seen = err, now, true
}

func (k *compactor) postpone(log *commitlog.Log, until time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.state(log)
	s.notBefore, s.seen = until, true
}
