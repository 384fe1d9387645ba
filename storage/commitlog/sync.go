package commitlog

import "errors"

// Sync returns when everything below upTo is durable. If upTo is beyond the end,
// that is everything there is, the indexes of sealed segments included. Callers
// that wait at the same time share fsyncs: who comes while one is under way waits
// for it, and the first of those then syncs for all of them.
//
// After one failure nothing is known about what the disk holds, and trying again
// proves nothing: from then on every append and every Sync fails. Only if the disk
// is too full for the log's small files (see vfs.NoRoom), a later Sync may succeed.
// The error wraps kerr.KafkaStorageError.
func (l *Log) Sync(upTo int64) error {
	if l.syncedTo(upTo) {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.syncedTo(upTo) {
		return nil
	}
	return l.sync()
}

func (l *Log) syncedTo(upTo int64) bool {
	if l.Err() != nil {
		return false
	}
	synced := l.synced.Load()
	return synced >= upTo || synced >= l.end.Load() && !l.sealedUnsynced.Load()
}

// SealedUnsynced reports whether there are sealed segments that are not durable:
// they hold the recovery point back until SyncSealed. Kafka syncs them
// in the background after each roll.
func (l *Log) SealedUnsynced() bool { return l.sealedUnsynced.Load() }

// sync is one round, if the log works. syncMu must be held.
func (l *Log) sync() error {
	l.mu.Lock()
	err := l.usable()
	if err == nil {
		if err = l.writeMetadata(); err != nil {
			err = l.refuse("writing the metadata", err)
		}
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.syncRound()
}

// syncRound makes everything durable that is in the log when it begins. syncMu
// must be held.
func (l *Log) syncRound() error {
	type job struct {
		segment *segment
		sealed  bool
	}
	var jobs []job
	l.mu.Lock()
	target := l.end.Load()
	for _, s := range l.list() {
		if !s.synced {
			jobs = append(jobs, job{s, s.sealed})
		}
	}
	snapshots, dirChanged := l.newSnapshots, l.dirChanged
	l.newSnapshots, l.dirChanged = nil, false
	l.mu.Unlock()

	for _, j := range jobs {
		if err := l.syncSegment(j.segment, j.sealed); err != nil {
			return err
		}
	}
	for _, at := range snapshots {
		if err := l.syncSnapshot(at); err != nil {
			return err
		}
	}
	if dirChanged {
		if err := l.syncDir(); err != nil {
			return err
		}
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range jobs {
		j.segment.synced = j.segment.synced || j.sealed
	}
	l.synced.Store(max(l.synced.Load(), target))
	l.advanceRecoveryPoint()
	return nil
}

// syncSegment makes a segment's content durable; its indexes and the producer
// snapshot at its end only if it is sealed, for recovery trusts them only then.
func (l *Log) syncSegment(s *segment, sealed bool) error {
	if err := s.file.sync(); err != nil {
		return l.fail("syncing a segment", err)
	}
	if !sealed {
		return nil
	}
	if err := s.syncIndexes(); err != nil {
		return l.fail("syncing an index", err)
	}
	return nil
}

func (l *Log) syncDir() error {
	if err := l.dir.fs.SyncDir(l.dir.join("")); err != nil {
		return l.fail("syncing the directory", err)
	}
	return nil
}

// advanceRecoveryPoint raises the recovery point as far as it may go: to what is
// synced, but not past the beginning of a sealed segment that is not, nor past what
// the durable part of the active segment's indexes covers. mu must be held.
func (l *Log) advanceRecoveryPoint() {
	point, unsynced := l.synced.Load(), false
	for _, s := range l.list() {
		if s.sealed && !s.synced {
			point, unsynced = min(point, s.base), true
			break
		}
	}
	if s := l.active(); !s.synced {
		point = min(point, max(s.base, l.indexed))
	}
	l.sealedUnsynced.Store(unsynced)
	l.recoveryPoint.Store(max(l.recoveryPoint.Load(), point))
}

// SyncSealed makes the sealed segments durable, if one is not, and raises the
// recovery point.
func (l *Log) SyncSealed() error {
	if !l.SealedUnsynced() {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.sync()
}

// Unchecked is how many bytes of the active segment recovery would have to read
// and check after a crash.
func (l *Log) Unchecked() (bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.active().size.Load() - l.checked
}

// Checkpoint makes everything durable that is in the log when it begins, the
// active segment's indexes and the producers' state included, and raises the
// recovery point to there: recovery will begin with what comes after.
//
// Unlike Sync it costs several fsyncs, and no one waits for it. On a full disk (see
// vfs.NoRoom) it changes nothing and may be tried again.
func (l *Log) Checkpoint() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	s, end, size, err := l.prepareCheckpoint()
	if err != nil {
		return err
	}
	if err := l.sync(); err != nil {
		return err
	}
	if err := s.syncIndexes(); err != nil {
		return l.fail("syncing an index", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.indexed = end
	if s == l.active() {
		l.checked = size
	}
	l.advanceRecoveryPoint()
	return l.dropCheckpointed(end)
}

// prepareCheckpoint writes what is only in memory.
func (l *Log) prepareCheckpoint() (s *segment, end, size int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, 0, 0, err
	}
	s, end = l.active(), l.end.Load()
	l.dirChanged = l.dirChanged || s.txns.waits()
	if err := errors.Join(s.offsets.flush(), s.times.flush(), s.txns.flush()); err != nil {
		return nil, 0, 0, l.refuse("writing an index", err)
	}
	if err := l.takeSnapshot(end); err != nil {
		return nil, 0, 0, l.refuse("writing a producer snapshot", err)
	}
	return s, end, s.size.Load(), nil
}

// dropCheckpointed removes the producer snapshot of the checkpoint before, unless a
// segment begins there. mu must be held.
func (l *Log) dropCheckpointed(end int64) error {
	old := l.checkpointed
	l.checkpointed = end
	list := l.list()
	if i := floor(list, old); old == 0 || old >= end || i >= 0 && list[i].base == old {
		return nil
	}
	if err := l.dropSnapshot(old); err != nil {
		return l.fail("removing a producer snapshot", err)
	}
	return nil
}
