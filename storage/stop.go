package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Stop ends the periodic work, closes all logs and unlocks the directories, in
// Kafka's order: high watermarks; then for each directory its logs, their
// recovery points and start offsets, and last the clean-shutdown marker. The
// marker is written only where every log has been closed, and only if all had
// been loaded or the directory had been left cleanly before; without it the
// next start recovers. ctx bounds the closing of the logs.
//
// Nobody may use a log any more when Stop is called. It may be called after any
// state the Store has come to; a second call does nothing.
func (s *Store) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return nil
	}
	s.stopped = true
	s.mu.Unlock()
	defer s.releaseAll()
	err := s.cleaner.Stop(ctx)
	if s.cancel != nil {
		s.cancel()
	}
	s.running.Wait()

	errs := []error{err}
	for _, d := range s.dirs {
		if d.online() && d.loaded.Load() {
			errs = append(errs, d.unclean(d.checkpoints.update(highWatermarks)))
		}
	}
	errs = append(errs, s.closeLogs(ctx))
	for _, d := range s.dirs {
		if d.online() {
			errs = append(errs, d.unclean(d.finish()))
		}
	}
	return errors.Join(errs...)
}

// closers is how many logs are closed at a time. Closing a log waits for fsyncs and
// for little else; a file system that journals makes those that wait together durable
// together.
const closers = 64

// closeLogs closes all logs, several at a time. All are written before any is waited
// for, and where there are many the file system brings them to the disk at once: each of
// them takes several fsyncs. The logs of a failed directory are dropped.
func (s *Store) closeLogs(ctx context.Context) error {
	s.mu.Lock()
	logs := s.aside
	for _, partitions := range s.live {
		for _, h := range partitions {
			logs = append(logs, h)
		}
	}
	s.live, s.aside = nil, nil
	s.mu.Unlock()
	slices.SortFunc(logs, func(a, b *hosted) int { return a.tp.Compare(b.tp) })

	var mu sync.Mutex // guards the following
	var errs []error
	abandoned := map[*hosted]bool{}
	unsynced := map[*directory]int{}
	each := func(do func(*hosted) error) {
		// Not under ctx, which would leave logs out: each must be closed or taint its directory.
		parallel(context.WithoutCancel(ctx), cmp.Or(s.cfg.LoadWorkers, closers), logs, func(h *hosted) error {
			var err error
			if h.dir.online() {
				if err = do(h); err == nil {
					return nil
				}
				err = h.dir.unclean(fmt.Errorf("close the log of %v: %w", h.tp, err))
			}
			h.log.Abandon()
			mu.Lock()
			defer mu.Unlock()
			abandoned[h] = true
			errs = append(errs, err)
			return nil
		})
		logs = slices.DeleteFunc(logs, func(h *hosted) bool { return abandoned[h] })
	}
	each(func(h *hosted) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		waits, err := h.log.Finish()
		if waits {
			mu.Lock()
			defer mu.Unlock()
			unsynced[h.dir]++
		}
		return err
	})
	for d, n := range unsynced {
		if n > closers && ctx.Err() == nil {
			if err := d.fs.WriteBack(d.path); err != nil {
				s.logger.Debug("logs are synced one by one", "dir", d.path, "err", err)
			}
		}
	}
	each(func(h *hosted) error { return h.log.Close(ctx) })
	return errors.Join(errs...)
}

// unclean takes note of an error that keeps the directory from being left cleanly,
// and returns it; that there is no room is told once, however many files it concerns.
func (d *directory) unclean(err error) error {
	if err == nil {
		return nil
	}
	again := d.tainted.Swap(true)
	if !vfs.NoRoom(err) {
		return err
	}
	if again {
		return nil
	}
	return fmt.Errorf("log directory %s is too full to be left cleanly, %d bytes are free; the next start recovers it: %w", d.path, d.room.free(), err)
}

// finish writes what comes after the logs.
func (d *directory) finish() error {
	if d.tainted.Load() {
		return nil
	}
	if d.loaded.Load() {
		// Before that, the files have lines for logs that were not opened.
		for _, kind := range []checkpointKind{recoveryPoints, logStarts, cleanerOffsets} {
			if err := d.checkpoints.update(kind); err != nil {
				return err
			}
		}
	}
	if !d.clean && !d.loaded.Load() {
		return nil
	}
	return d.writeMarker()
}
