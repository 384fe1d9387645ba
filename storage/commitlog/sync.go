package commitlog

import "path/filepath"

// Sync returns when everything below upTo is durable, or everything there is if
// upTo is beyond the end. Callers that wait at the same time share fsyncs: who
// comes while one is under way waits for it, and the first of those then syncs
// for all of them.
//
// After one failure nothing is known about what the disk holds, and trying again
// proves nothing: from then on every append and every Sync fails. The error wraps
// kerr.KafkaStorageError.
func (l *Log) Sync(upTo int64) error {
	if l.synced.Load() >= min(upTo, l.end.Load()) && l.Err() == nil {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.synced.Load() >= min(upTo, l.end.Load()) && l.Err() == nil {
		return nil
	}
	return l.sync()
}

// SyncSealed makes the segments durable that are no longer written to, and moves
// the recovery point to the active one. It is cheap if there is nothing to do.
// Kafka does the same in the background after each roll.
func (l *Log) SyncSealed() error {
	l.mu.Lock()
	pending := false
	for _, s := range l.list() {
		pending = pending || s.sealed && !s.synced
	}
	l.mu.Unlock()
	if !pending {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.sync()
}

// sync is one round, if the log works. syncMu must be held.
func (l *Log) sync() error {
	l.mu.Lock()
	err := l.usable()
	if err == nil {
		if err = l.writeMetadata(); err != nil {
			err = l.fail("writing the metadata", err)
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
	snapshots, dirChanged, isNew := l.newSnapshots, l.dirChanged, l.isNew
	l.newSnapshots, l.dirChanged, l.isNew = nil, false, false
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
	if dirChanged || isNew {
		if err := l.syncDir(); err != nil {
			return err
		}
	}
	if isNew {
		if err := l.dir.fs.SyncDir(filepath.Dir(l.dir.join(""))); err != nil {
			return l.fail("syncing the log directory", err)
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
// synced, but not past the beginning of a sealed segment that is not. mu must be
// held.
func (l *Log) advanceRecoveryPoint() {
	point := l.synced.Load()
	for _, s := range l.list() {
		if s.sealed && !s.synced {
			point = min(point, s.base)
			break
		}
	}
	l.recoveryPoint.Store(max(l.recoveryPoint.Load(), point))
}
