package commitlog

import (
	"errors"
	"io/fs"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Recovery from the middle of a segment. Below the recovery point everything is
// durable: the batches, and the index entries for them. Kafka checks the segment
// all the same, and makes its indexes anew, which with segments of a gigabyte and
// a thousand partitions takes minutes. Here the entries below the recovery point
// are kept, and only what comes after it is read and checked.

// resume brings the segment's indexes, its newest timestamp, and the log's end to
// where they were at the recovery point, and returns its position. Without
// anything to rely on that is the beginning of the segment.
func (l *Log) resume(s *segment, point, trusted int64) (position int64, err error) {
	s.synced = false
	if point > s.base {
		position, err := l.resumeAt(s, point)
		if position > 0 || err != nil {
			return position, err
		}
		l.logger.Warn("checking a segment from its beginning, because its indexes do not reach to the recovery point", "file", s.file.path(), "offset", point)
	}
	l.end.Store(s.base)
	s.sinceIndex = 0
	s.setNewest(stamp{record.NoTimestamp, s.base})
	if err := s.offsets.reset(); err != nil {
		return 0, err
	}
	if trusted > s.base {
		// A power loss before they are complete must not leave an offset index that
		// vouches for the others: it is empty until they are durable.
		if err := s.offsets.file.sync(); err != nil {
			return 0, err
		}
		s.offsets.hold()
	}
	return 0, errors.Join(s.times.reset(), s.txns.cut(0))
}

// resumeAt does it; position 0 means that the files do not allow it.
func (l *Log) resumeAt(s *segment, point int64) (position int64, err error) {
	known, newest, err := s.keepIndexes(point)
	if err != nil || known.position == 0 {
		return 0, err
	}
	file, err := s.file.acquire()
	if err != nil {
		return 0, err
	}
	defer s.file.release()
	size := s.size.Load()
	if known.position >= size {
		return 0, nil
	}
	s.setNewest(newest)
	sc := scan(file, known.position, size)
	defer sc.close()
	for last := s.base - 1; ; {
		h, more, err := sc.next()
		if errors.Is(err, kerr.CorruptMessage) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		if !more || h.base >= point {
			if reached := more || last+1 >= point; !reached {
				return 0, nil
			}
			l.end.Store(last + 1)
			return position, s.txns.keep(last + 1)
		}
		if h.position == known.position && h.last != known.last || checkOffsets(s.base, last, h) != nil {
			return 0, nil
		}
		// The batch of the last entry was accounted for with it; an entry begins
		// the count of bytes until the next one.
		if h.position == known.position {
			s.sinceIndex = h.size
		} else if err := s.account(h, l.Config().IndexIntervalBytes); err != nil {
			return 0, err
		}
		last, position = h.last, h.position+h.size
	}
}

// indexed is a batch that the offset index names.
type indexed struct{ last, position int64 }

// keepIndexes cuts the indexes to what they hold of offsets below the recovery
// point, and returns the last batch in the one and the last timestamp in the
// other, as far as they are plausible: position 0 says that they are not.
func (s *segment) keepIndexes(point int64) (known indexed, newest stamp, err error) {
	known = indexed{last: s.base - 1}
	_, err = s.offsets.keep(func(e []byte) bool {
		last, position := s.offsets.parse(e)
		if last >= point || last <= known.last || position <= known.position {
			return false
		}
		known = indexed{last, position}
		return true
	})
	if errors.Is(err, fs.ErrNotExist) {
		return indexed{}, stamp{}, nil
	}
	if err != nil {
		return indexed{}, stamp{}, err
	}
	newest = stamp{record.NoTimestamp, s.base}
	n, err := s.times.keep(func(e []byte) bool {
		t := s.times.parse(e)
		if t.offset >= point || t.offset < newest.offset || t.timestamp <= newest.timestamp {
			return false
		}
		newest = t
		return true
	})
	if n == 0 && err == nil { // written together, so that one without the other cannot be
		known = indexed{}
	}
	return known, newest, err
}

// keep drops the transactions whose marker is at offset or above, and what comes
// behind one that cannot be: a crash may leave anything there.
func (x *txnIndex) keep(offset int64) error {
	n, last := 0, int64(-1)
	err := x.each(func(_ int, t AbortedTxn) bool {
		if t.LastOffset >= offset || t.LastOffset <= last || t.FirstOffset >= t.LastOffset {
			return false
		}
		last = t.LastOffset
		n++
		return true
	})
	if err != nil && !errors.Is(err, errTxnIndex) {
		return err
	}
	return x.cut(n)
}
