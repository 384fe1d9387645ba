package commitlog

import (
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// TruncateTo removes everything from offset on; a batch that holds offset goes
// as a whole. A high watermark, start offset or recovery point above is lowered.
// If the log already ends there or before, no record goes, but an epoch that
// begins at the end does: this broker led in it and wrote nothing, and another
// leader need not know it.
//
// When it returns, the removal is durable. Otherwise a power loss could bring old
// batches back behind new ones, and no checksum would tell.
func (l *Log) TruncateTo(offset int64) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if end := l.end.Load(); offset >= end {
		if err := l.epochsChanged(l.epochs.truncateEnd(end)); err != nil {
			return l.fail("writing the leader epochs", err)
		}
		return nil
	}
	if offset < l.list()[0].base {
		return l.restartAt(offset)
	}
	if err := l.truncate(offset); err != nil {
		return l.fail("truncating", err)
	}
	return nil
}

// truncate does it. The order matters for a crash in between: segments go from
// the last one backward, so that what is left is always a beginning of the log;
// the epochs go last, for loading cuts them to the log's end.
func (l *Log) truncate(offset int64) error {
	// Readers first: nobody must be sent to what is about to go.
	list := l.list()
	keep := max(0, floor(list, offset)) + 1
	s := list[keep-1]
	size := s.size.Load()
	h, found, err := s.find(offset, size)
	if err != nil {
		return err
	}
	end := offset
	if found {
		// Followers and clients know batches only; an end in the middle of one
		// is the beginning of it.
		end, size = min(offset, h.base), h.position
	}
	l.lowerTo(end)
	l.publish(slices.Clip(list[:keep]))
	l.tail.reset(s, end, size)
	s.size.Store(size)
	l.checked = min(l.checked, size)

	if err := l.dropAll(slices.Backward(list[keep:])); err != nil {
		return err
	}
	if err := l.dropSnapshots(func(at int64) bool { return at > end }); err != nil {
		return err
	}
	if err := s.truncate(end, size); err != nil {
		return err
	}
	if err := l.rebuildProducers(end); err != nil {
		return err
	}
	if err := l.epochsChanged(l.epochs.truncateEnd(end)); err != nil {
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	return l.tellLowered()
}

// tellLowered calls onTruncate. If the disk is too full for what that writes, it
// is called again before anything is appended.
func (l *Log) tellLowered() error {
	if l.onTruncate == nil {
		return nil
	}
	err := l.onTruncate()
	if l.lowered = vfs.NoRoom(err); l.lowered {
		return nil
	}
	return err
}

// lowerTo lowers all offsets that are above end.
func (l *Log) lowerTo(end int64) {
	for _, o := range []interface {
		Load() int64
		Store(int64)
	}{&l.highWatermark, &l.start, &l.synced, &l.recoveryPoint, &l.cleaned} {
		if o.Load() > end {
			o.Store(end)
		}
	}
	l.truncations++
	l.unstableHW = min(l.unstableHW, end)
	l.indexed = min(l.indexed, end)
	l.end.Store(end)
}

// truncate cuts a segment's files; it is then the active one.
func (s *segment) truncate(end, size int64) error {
	if err := s.offsets.truncate(end); err != nil {
		return err
	}
	if err := s.times.truncate(end); err != nil {
		return err
	}
	if err := s.txns.truncate(end); err != nil {
		return err
	}
	if err := s.file.truncate(size); err != nil {
		return err
	}
	s.cuts.forget()
	if err := s.file.sync(); err != nil {
		return err
	}
	s.sealed, s.synced, s.sinceIndex = false, false, 0
	if size == 0 {
		s.created, s.firstKnown = time.Now(), false
	}
	return s.findNewest(size)
}

// findNewest finds the greatest timestamp of a segment whose end is gone: the
// last one in the index, or a greater one behind it.
func (s *segment) findNewest(size int64) error {
	newest, err := s.times.last()
	if err != nil {
		return err
	}
	_, from, err := s.offsets.lookup(newest.offset)
	if err != nil {
		return err
	}
	s.setNewest(newest)
	return s.eachHeader(from, size, func(h header) {
		if h.maxTimestamp > newest.timestamp {
			newest = stamp{h.maxTimestamp, h.last}
			s.setNewest(newest)
		}
	})
}

// TruncateFullyAndStartAt empties the log, which then begins and ends at offset.
func (l *Log) TruncateFullyAndStartAt(offset int64) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.restartAt(offset)
}

// restartAt does it. The old segments are gone for good before the new one is
// made, so that a crash never leaves the new one beside old ones.
func (l *Log) restartAt(offset int64) error {
	l.pristine = false
	list := l.list()
	l.truncations++
	l.cleaned.Store(notCleaned)
	l.start.Store(offset) // readers first
	l.end.Store(offset)
	if err := l.dropAll(slices.Backward(list)); err != nil {
		return l.fail("truncating", err)
	}
	if err := l.startEmpty(offset); err != nil {
		return l.fail("truncating", err)
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	if err := l.tellLowered(); err != nil {
		return l.fail("truncating", err)
	}
	return nil
}

// startEmpty makes a log without segments one that begins and ends at offset.
func (l *Log) startEmpty(offset int64) error {
	l.start.Store(offset)
	l.end.Store(offset)
	if err := l.dropSnapshots(func(int64) bool { return true }); err != nil {
		return err
	}
	if err := l.epochsChanged(l.epochs.clear()); err != nil {
		return err
	}
	s, err := l.createFirst(offset)
	if err != nil {
		return err
	}
	l.dirChanged = true
	l.producers.Reset(offset)
	l.publish([]*segment{s})
	l.tail.reset(s, offset, 0)
	l.highWatermark.Store(offset)
	l.synced.Store(offset)
	l.recoveryPoint.Store(min(l.recoveryPoint.Load(), offset))
	l.unstableHW = offset
	l.indexed, l.checked = offset, 0
	l.firstUnstable.Store(none)
	return nil
}

// createFirst makes the only segment of a log. A log without one cannot be, so that
// for want of room it gives up what was deleted and waits for its removal.
func (l *Log) createFirst(offset int64) (*segment, error) {
	s := l.newSegment(offset, false)
	err := s.create(l.Config())
	if vfs.NoRoom(err) && len(l.deleted) > 0 {
		if err = l.removeDeleted(l.deleted); err != nil {
			return nil, l.undoCreate(s, err)
		}
		l.deleted = nil
		err = s.create(l.Config())
	}
	if err != nil {
		return nil, l.undoCreate(s, err)
	}
	return s, nil
}

// eachHeader calls visit for the batches between two positions.
func (s *segment) eachHeader(from, end int64, visit func(header)) error {
	file, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	sc := scan(file, from, end)
	defer sc.close()
	for {
		h, more, err := sc.next()
		if err != nil || !more {
			return err
		}
		visit(h)
	}
}
