// Package cleaner drops from the logs what nobody needs any more.
//
// Retention is a pass over all logs every log.retention.check.interval.ms, and
// when a disk is full. It
// asks each log to drop its oldest segments: those that lie below the log start
// offset, whatever the topic's policy, and with the policy "delete" those that
// are too old or exceed the topic's size. What a log may drop, and that nothing
// above the high watermark is, the log knows best (see commitlog.DeleteExpired);
// this package decides when it is asked. Logs are taken one after the other: the work
// is renaming files, and the physical removal comes later.
//
// Compaction is for topics with the policy "compact": of each key only the newest
// record stays. The log with the largest dirty part is taken first, and segments with
// less in them are put in the place of those that there are.
//
//	cleaner.go       the background work; retention
//	compactor.go     which log is next, and what comes of it
//	status.go        what can be seen of compaction from outside
//	plan.go          how dirty a log is, where compaction must end, groups of segments
//	pass.go          one compaction of one log: first learn which records are the newest …
//	copier.go        … then copy what stays
//	keys.go          key → newest offset, in bounded memory
//	transactions.go  aborted records, and markers that have done their duty
//	throttle.go      bytes per second
package cleaner

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// Config says when the cleaner works.
type Config struct {
	InitialDelay  time.Duration // log.initial.task.delay.ms
	CheckInterval time.Duration // log.retention.check.interval.ms; ≤ 0 never

	// Compaction is asked for the current settings again and again; nil: nothing is
	// compacted.
	Compaction func() config.Cleaner
	// Begin, if set, is called when all of a log is durable, and before segments of it are
	// replaced. The recovery point's checkpoint is to be written: of what is compacted
	// nothing needs to be recovered then, nor read again for the producers' states.
	Begin func(*commitlog.Log) error
	// Cleaned, if set, is called when a log's cleaned offset has changed: its checkpoint
	// is to be written.
	Cleaned func(*commitlog.Log) error
}

// Cleaner runs retention and compaction over a set of logs.
type Cleaner struct {
	cfg    Config
	logs   func() iter.Seq[*commitlog.Log]
	logger *slog.Logger

	soon    chan struct{} // has room for one
	cancel  context.CancelFunc
	running sync.WaitGroup

	compactor compactor
}

// New returns a cleaner of the logs that logs yields at the time of each pass.
func New(cfg Config, logs func() iter.Seq[*commitlog.Log], logger *slog.Logger) *Cleaner {
	c := &Cleaner{cfg: cfg, logs: logs, logger: logger, soon: make(chan struct{}, 1)}
	c.compactor.states = map[*commitlog.Log]*state{}
	return c
}

// Soon has the next retention pass begin at once. It may be called at any time and
// never blocks.
func (c *Cleaner) Soon() {
	select {
	case c.soon <- struct{}{}:
	default:
	}
}

// Start begins the passes and returns at once. A Cleaner is started once.
func (c *Cleaner) Start(ctx context.Context) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	if c.cfg.CheckInterval > 0 {
		c.running.Go(func() { c.run(background) })
	}
	if c.cfg.Compaction != nil && c.cfg.Compaction().Enable {
		c.running.Go(func() { c.compactFirst(background) })
	}
	return nil
}

// Stop ends the work and returns when the log at hand is done with. A compaction ends
// with the segment that it is writing.
func (c *Cleaner) Stop(context.Context) error {
	if c.cancel != nil {
		c.cancel()
	}
	c.running.Wait()
	return nil
}

func (c *Cleaner) run(ctx context.Context) {
	timer := time.NewTimer(c.cfg.InitialDelay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.soon:
		}
		c.Retain(ctx)
		timer.Reset(c.cfg.CheckInterval)
	}
}

// Retain makes one retention pass over all logs and returns how many segments
// were dropped. A log that fails is skipped.
func (c *Cleaner) Retain(ctx context.Context) (segments int) {
	begun := time.Now()
	for log := range c.logs() {
		if ctx.Err() != nil {
			break
		}
		n, err := log.DeleteExpired(time.Now())
		segments += n
		// A storage error is about a disk that has failed, or a log that has been
		// deleted in the meantime. Whoever looks after the disks knows already.
		if err != nil && !errors.Is(err, kerr.KafkaStorageError) {
			c.logger.Error("retention failed", "partition", log.Partition().String(), "err", err)
		}
	}
	if segments > 0 {
		c.logger.Info("retention dropped segments", "count", segments, "took", time.Since(begun).Round(time.Millisecond))
	}
	return segments
}
