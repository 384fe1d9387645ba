package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Intervals that Kafka has no setting for.
const (
	// checkpointDelay gathers what is deleted at about the same time, so that
	// deleting a thousand partitions one by one writes the files a few times.
	checkpointDelay = time.Second
	// purgeInterval is how often the logs are asked for dropped segments whose
	// file.delete.delay.ms is over.
	purgeInterval = 10 * time.Second
	// roomInterval is how often a full directory is looked at for room.
	roomInterval = time.Second
	// defaultDeleteDelay is Kafka's log.segment.delete.delay.ms.
	defaultDeleteDelay = time.Minute
)

// task is something that a directory needs from time to time.
type task struct {
	every time.Duration // ≤ 0: never on its own
	next  time.Time     // zero: not now
	run   func(now time.Time) error
}

// after returns when the next run is due that is to begin d from now, never if
// d is not positive.
func after(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}

// Start begins the periodic work of all directories: checkpoints, removal of
// what was deleted, fsync by time, retention. It returns at once.
func (s *Store) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.started || s.stopped {
		s.mu.Unlock()
		return fmt.Errorf("storage: started twice, or after Stop")
	}
	s.started = true
	s.mu.Unlock()
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.running.Go(func() { s.watchFailures(background) })
	// A goroutine or two for each directory, so that a slow disk keeps nobody
	// else waiting.
	for _, d := range s.dirs {
		if d.online() {
			s.running.Go(func() { s.maintain(background, d) })
			s.running.Go(func() { s.flush(background, d) })
		}
	}
	return s.cleaner.Start(ctx)
}

// maintain does the periodic work of one directory until ctx ends or the
// directory fails.
func (s *Store) maintain(ctx context.Context, d *directory) {
	checkpoint := func(kinds ...checkpointKind) func(time.Time) error {
		return func(time.Time) error {
			for _, kind := range kinds {
				if err := d.checkpoints.update(kind); err != nil {
					return err
				}
			}
			return nil
		}
	}
	now := time.Now()
	initial := s.cfg.InitialTaskDelay
	soon := &task{run: checkpoint(recoveryPoints, logStarts, highWatermarks, cleanerOffsets)}
	remove := &task{run: func(now time.Time) error { return s.removeDeleted(d, now, s.deleteDelay()) }}
	makeRoom := &task{run: func(now time.Time) error { return s.makeRoom(d, now) }}
	tasks := []*task{
		{every: s.cfg.HWCheckpointInterval, next: after(now, s.cfg.HWCheckpointInterval), run: checkpoint(highWatermarks)},
		{every: s.cfg.RecoveryCheckpointInterval, next: after(now, initial+s.cfg.RecoveryCheckpointInterval), run: checkpoint(recoveryPoints)},
		{every: s.cfg.StartCheckpointInterval, next: after(now, initial+s.cfg.StartCheckpointInterval), run: func(time.Time) error { return s.checkpointStarts(d) }},
		{every: s.cfg.ProducerExpirationCheck, next: after(now, s.cfg.ProducerExpirationCheck), run: func(now time.Time) error { return s.expireProducers(d, now) }},
		{every: purgeInterval, next: after(now, purgeInterval), run: func(now time.Time) error { return s.purge(d, now, false) }},
		soon,
		remove,
		makeRoom,
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		_, remove.next = d.removals.peek(s.deleteDelay())
		if makeRoom.next.IsZero() && d.room.full.Load() {
			makeRoom.next = time.Now().Add(roomInterval)
		}
		if due := earliest(tasks); due.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return
		case <-d.kick:
			if soon.next.IsZero() {
				soon.next = time.Now().Add(checkpointDelay)
			}
			continue
		case <-d.room.wake:
			s.cleaner.Soon()
			continue
		case <-timer.C:
		}
		now := time.Now()
		for _, t := range tasks {
			if t.next.IsZero() || t.next.After(now) {
				continue
			}
			t.next = after(now, t.every)
			if err := t.run(now); err != nil {
				if !d.online() {
					return // said by whoever retires the directory
				}
				if vfs.NoRoom(err) {
					continue // said when the directory became full
				}
				s.logger.Error("maintenance of a log directory failed", "dir", d.path, "err", err)
			}
		}
	}
}

// earliest returns when the first task is due, zero if none is.
func earliest(tasks []*task) time.Time {
	var first time.Time
	for _, t := range tasks {
		if !t.next.IsZero() && (first.IsZero() || t.next.Before(first)) {
			first = t.next
		}
	}
	return first
}

// checkpointSoon has all checkpoints of the directory written in a moment.
func (d *directory) checkpointSoon() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

func (s *Store) deleteDelay() time.Duration {
	if s.cfg.FileDeleteDelay == nil {
		return defaultDeleteDelay
	}
	return s.cfg.FileDeleteDelay()
}

// removeDeleted removes the directories that have been waiting long enough.
func (s *Store) removeDeleted(d *directory, now time.Time, delay time.Duration) error {
	for {
		path, found := d.removals.pop(now, delay)
		if !found {
			return nil
		}
		if err := d.fs.RemoveAll(path); err != nil {
			d.removals.add(path, now)
			return fmt.Errorf("remove a deleted partition: %w", storageError(err))
		}
		s.logger.Debug("files of a deleted partition removed", "dir", path)
	}
}

// makeRoom removes what waits for its removal in a full directory, without delay:
// room is worth more there than a second thought. Then it looks whether there is
// enough to go on.
func (s *Store) makeRoom(d *directory, now time.Time) error {
	if err := errors.Join(s.removeDeleted(d, now, 0), s.purge(d, now, true)); err != nil {
		return err
	}
	if !d.room.restore() {
		return nil
	}
	if err := d.checkpoints.updateAll(); err != nil {
		return err
	}
	d.room.over()
	s.retryCreations()
	return nil
}

// purge removes the files of segments that were dropped a while ago, or in a hurry
// all of them.
func (s *Store) purge(d *directory, now time.Time, hurry bool) error {
	for _, h := range s.snapshot(nil, d) {
		if _, err := h.log.PurgeDeleted(now, hurry); err != nil && s.serves(h) {
			return fmt.Errorf("remove dropped segments of %v: %w", h.tp, err)
		}
	}
	return nil
}

// checkpointStarts writes down where logs start. A start offset can be written
// only once what is below it is durable, which without this could take until the
// segment is full; all the while a kill would bring deleted records back.
func (s *Store) checkpointStarts(d *directory) error {
	for _, h := range s.snapshot(nil, d) {
		start := h.log.StartOffset()
		if start <= h.log.BaseOffset() || start <= h.log.SyncedOffset() {
			continue
		}
		if err := h.log.Sync(start); err != nil && s.serves(h) {
			return fmt.Errorf("sync the log of %v, which starts at %d now: %w", h.tp, start, err)
		}
	}
	return d.checkpoints.update(logStarts)
}

func (s *Store) expireProducers(d *directory, now time.Time) error {
	for _, h := range s.snapshot(nil, d) {
		h.log.ExpireProducers(now)
	}
	return nil
}
