package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// progressInterval is how often a long load says how far it is.
const progressInterval = 10 * time.Second

// lines holds what the checkpoint files of one directory said at the start.
type lines [checkpointKinds]map[protocol.TopicPartition]int64

// Load opens all logs. In a directory that was left cleanly that is quick; in
// any other each log is recovered from its recovery point on, several at a
// time, those with most to read first. Directories that are waiting to be
// deleted are not opened, they only begin their wait anew.
//
// topicConfig is asked once for each topic that has a log here.
//
// A directory with an I/O error goes offline and the others load. An error means
// that the broker must not start; [Store.Stop] is still due, and leaves
// untouched what was not opened.
func (s *Store) Load(ctx context.Context, topicConfig func(topic string) *config.Topic) error {
	begun := time.Now()
	all, err := s.scan()
	if err != nil {
		return err
	}
	onDisk := map[*directory]*lines{}
	for _, d := range s.dirs {
		if !d.online() {
			continue
		}
		if onDisk[d], err = d.begin(); err != nil {
			d.fail(err)
		}
	}
	s.setLoading(true)
	defer s.setLoading(false)
	jobs := s.sortOut(all, onDisk)
	configs := topicConfigs(jobs, topicConfig)
	var progress atomic.Int64
	stopReport := s.reportProgress(&progress, len(jobs))
	err = parallel(ctx, s.workers(), jobs, func(f *found) error {
		defer progress.Add(1)
		return s.openFound(f, onDisk[f.dir], configs[f.tp.Topic])
	})
	stopReport()
	if err != nil {
		return err
	}
	for _, d := range s.dirs {
		if d.online() {
			s.endLoad(d)
		}
	}
	if err := s.requireOnline(); err != nil {
		return err
	}
	if len(jobs) > 0 {
		s.logger.Info("loaded logs", "count", len(jobs), "took", time.Since(begun).Round(time.Millisecond))
	}
	return nil
}

// setLoading says whether changes of configurations must be kept for logs that
// are being opened.
func (s *Store) setLoading(loading bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changedWhileLoading = nil
	if loading {
		s.changedWhileLoading = map[string]*config.Topic{}
	}
}

// begin consumes the clean-shutdown marker and reads the checkpoints. From here
// on the directory counts as in use: a crash makes the next load recover it.
func (d *directory) begin() (*lines, error) {
	clean, err := d.consumeMarker()
	if err != nil {
		return nil, err
	}
	d.clean = clean
	var l lines
	for kind := range checkpointKinds {
		if l[kind], err = d.checkpoints.load(kind); err != nil {
			return nil, err
		}
	}
	return &l, nil
}

// sortOut returns the logs to open, those that cost most first.
func (s *Store) sortOut(all []*found, onDisk map[*directory]*lines) []*found {
	var jobs []*found
	for _, f := range all {
		switch {
		case !f.dir.online():
		case f.kind == deleteDir:
			f.dir.removals.add(f.dir.join(f.name), time.Now())
		case f.kind == unbornDir:
			s.logger.Warn("partition whose creation was cut short is removed", "dir", f.dir.join(f.name))
			if err := f.dir.setAside(f.name, f.tp); err != nil {
				f.dir.blame(err)
			}
		case f.kind == strayDir:
			// Somebody set it aside and will want to look at it; it is not ours to touch.
			s.logger.Warn("partition that was set aside is left alone", "dir", f.dir.join(f.name))
		default:
			if !f.dir.clean {
				f.cost = f.recoveryCost(onDisk[f.dir][recoveryPoints][f.tp])
			}
			f.dir.present.Add(1)
			jobs = append(jobs, f)
		}
	}
	slices.SortStableFunc(jobs, func(a, b *found) int { return cmp.Compare(b.cost, a.cost) })
	return jobs
}

// recoveryCost is the number of bytes in the segments that recovery has to
// read. It is a guess that decides about an order, so errors do not matter
// here; whoever opens the log will meet them again.
func (f *found) recoveryCost(recoveryPoint int64) int64 {
	entries, err := f.dir.fs.ReadDir(f.dir.join(f.name))
	if err != nil {
		return 0
	}
	var total, before int64
	for _, e := range entries {
		base, isLog := strings.CutSuffix(e.Name(), ".log")
		if !isLog {
			continue
		}
		offset, err := strconv.ParseInt(base, 10, 64)
		if err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		if offset < recoveryPoint {
			before = info.Size() // the last one of these holds the recovery point
			continue
		}
		total += info.Size()
	}
	return total + before
}

func topicConfigs(jobs []*found, topicConfig func(string) *config.Topic) map[string]*config.Topic {
	configs := map[string]*config.Topic{}
	for _, f := range jobs {
		if _, known := configs[f.tp.Topic]; !known {
			configs[f.tp.Topic] = topicConfig(f.tp.Topic)
		}
	}
	return configs
}

// openFound opens one log. The error is nil if the directory is to blame, which
// then is offline.
func (s *Store) openFound(f *found, l *lines, cfg *config.Topic) error {
	d := f.dir
	if !d.online() {
		return nil
	}
	path := d.join(f.name)
	cleaned, found := l[cleanerOffsets][f.tp]
	if !found {
		cleaned = noLine
	}
	log, err := commitlog.Open(s.options(d, path, f.tp, cfg, commitlog.Options{
		Clean:         d.clean,
		RecoveryPoint: l[recoveryPoints][f.tp],
		StartOffset:   l[logStarts][f.tp],
		HighWatermark: l[highWatermarks][f.tp],
		CleanedOffset: cleaned,
	}))
	if err != nil {
		d.tainted.Store(true)
		if vfs.NoRoom(err) {
			err = fmt.Errorf("there is no room to recover it, %d bytes are free; make some and start again: %w", d.room.free(), err)
		}
		if errors.Is(err, kerr.KafkaStorageError) || !d.online() {
			d.fail(err)
			return nil
		}
		return fmt.Errorf("open %s: %w", path, err)
	}
	h := newHosted(f.tp, d, f.kind, log)
	for kind := range checkpointKinds {
		if offset, found := l[kind][f.tp]; found {
			h.onDisk[kind] = offset
		}
	}
	d.checkpoints.add(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer, changed := s.changedWhileLoading[f.tp.Topic]; changed {
		log.SetConfig(newer)
	}
	if f.kind == futureDir {
		s.aside = append(s.aside, h)
	} else {
		s.publish(h)
	}
	return nil
}

// options fills in what is the same for every log.
func (s *Store) options(d *directory, path string, tp protocol.TopicPartition, cfg *config.Topic, o commitlog.Options) commitlog.Options {
	o.FS, o.Dir, o.Partition, o.Config = d.fs, path, tp, cfg
	o.Files, o.ProducerIDExpiration, o.VerifyTransactions = s.files, s.cfg.ProducerExpiration, s.cfg.VerifyTransactions
	o.Logger = s.logger
	o.OnTruncate = d.lowerOffsets
	o.HasRoom = d.room.check
	return o
}

// lowerOffsets writes the recovery points, start offsets and cleaned offsets after
// one of them has gone down. While logs are being loaded that can wait until all are, because
// nothing is appended before.
func (d *directory) lowerOffsets() error {
	if !d.loaded.Load() {
		return nil
	}
	if err := d.checkpoints.update(recoveryPoints); err != nil {
		return err
	}
	if err := d.checkpoints.update(logStarts); err != nil {
		return err
	}
	return d.checkpoints.update(cleanerOffsets)
}

// endLoad brings the checkpoints into line with what the logs really have, and
// puts the directory into service. Without room for that nothing is appended until
// they are.
func (s *Store) endLoad(d *directory) {
	d.loaded.Store(true)
	if err := d.checkpoints.updateAll(); err != nil {
		d.blame(err)
	}
}

// reportProgress says from time to time how far a long load is.
func (s *Store) reportProgress(done *atomic.Int64, total int) (stop func()) {
	quit := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.logger.Info("loading logs", "done", done.Load(), "of", total)
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		ended.Wait()
	}
}

func (s *Store) workers() int {
	if s.cfg.LoadWorkers > 0 {
		return s.cfg.LoadWorkers
	}
	return 2 * runtime.GOMAXPROCS(0)
}

// parallel runs do for all items, in their order, on at most n goroutines, and
// returns when all have ended. The first error, or the end of ctx, keeps the
// rest from being begun.
func parallel[T any](ctx context.Context, n int, items []T, do func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, len(items)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return
				}
				if err := do(items[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}
