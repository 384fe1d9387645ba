package commitlog

import (
	"errors"
	"io/fs"
	"time"
)

// rollIfNeeded begins a new segment if the active one should not take n more
// bytes of batches. mu must be held.
func (l *Log) rollIfNeeded(n int, x extent) error {
	roll, err := l.shouldRoll(n, x)
	if err != nil {
		return l.fail("reading a segment", err)
	}
	if !roll {
		return nil
	}
	// The segment begins where the log ends, even if the first batch comes after
	// a gap that compaction left in the leader's log. So the segments of a log
	// follow each other without holes, and recovery can tell a lost one.
	base := l.end.Load()
	if !fits(base, x.last) {
		base = x.first
	}
	return l.roll(base)
}

// shouldRoll tells by Kafka's rules: the segment would grow past segment.bytes,
// is older than segment.ms, has a full index, or cannot express the offset.
func (l *Log) shouldRoll(n int, x extent) (bool, error) {
	cfg, s := l.Config(), l.active()
	size := s.size.Load()
	if !fits(s.base, x.last) {
		return true, nil
	}
	if size == 0 {
		return false, nil
	}
	if size > int64(cfg.SegmentBytes)-int64(n) {
		return true, nil
	}
	maxAge := cfg.SegmentMS
	if cfg.Compact {
		maxAge = min(maxAge, cfg.MaxCompactionLagMS)
	}
	// The clock of a segment is that of its records, if they have timestamps.
	first, ok, err := s.firstTimestamp()
	if err != nil {
		return false, err
	}
	age := time.Since(s.created).Milliseconds()
	if ok && first >= 0 {
		age = x.maxTimestamp - first
	}
	if age > maxAge-s.jitterMS {
		return true, nil
	}
	if full, err := s.offsets.full(); err != nil || full {
		return full, err
	}
	return s.times.full()
}

// roll seals the active segment and begins a new one. mu must be held.
//
// What is sealed becomes durable later, by Sync, except for its name, which must
// be durable before the next segment exists: a power loss may take the end of a
// log, but nothing from its beginning or its middle. The content must be, too, if
// the recovery point is at the new base already, for that promises that the old
// segment needs no recovery; and in a compacted topic, where gaps between
// segments are normal, so that recovery cannot tell that the end of one is lost.
//
// If the disk is full, the old segment stays the active one.
func (l *Log) roll(base int64) (err error) {
	old := l.active()
	defer func() {
		if err != nil {
			old.sealed = false
		}
	}()
	if err := old.seal(); err != nil {
		return l.refuse("sealing a segment", err)
	}
	if err := l.takeSnapshot(base); err != nil {
		return l.refuse("writing a producer snapshot", err)
	}
	if l.Config().Compact || l.recoveryPoint.Load() >= base {
		if err := l.syncSegment(old, true); err != nil {
			return err
		}
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	s := l.newSegment(base, false)
	if err := s.create(l.Config()); err != nil {
		return l.refuse("creating a segment", l.undoCreate(s, err))
	}
	l.dirChanged = true
	l.sealedUnsynced.Store(true)
	l.tail.reset(s, base, 0)
	l.checked = 0
	list := l.list()
	l.publish(append(list[:len(list):len(list)], s))
	return nil
}

// undoCreate removes what there is of a segment that could not be created: the
// log may go on in the segment before it, and end above its base. The error is
// err, or that of a removal.
func (l *Log) undoCreate(s *segment, err error) error {
	s.discard()
	l.dirChanged = true
	for _, f := range s.files() {
		if rerr := l.dir.remove(f.name()); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return rerr
		}
	}
	return err
}
