package commitlog

import (
	"errors"
	"io/fs"
	"slices"

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
		l.logger().Warn("checking a segment from its beginning, because its indexes do not reach to the recovery point", "file", s.file.path(), "offset", point)
	}
	l.end.Store(s.base)
	s.sinceIndex = 0
	s.setNewest(stamp{record.NoTimestamp, s.base})
	if trusted <= s.base {
		err = s.offsets.reset()
	} else if err = s.offsets.hold(); err == nil {
		// If this recovery ends before it is done, nothing but a missing offset index
		// tells the next one to do it again.
		err = l.dir.fs.SyncDir(l.dir.join(""))
	}
	if err != nil {
		return 0, err
	}
	return 0, errors.Join(s.times.reset(), s.txns.cut(0))
}

// resumeAt does it; position 0 means that the files do not allow it.
func (l *Log) resumeAt(s *segment, point int64) (position int64, err error) {
	known, err := s.keepIndexes(point)
	if err != nil || known.position == 0 {
		return 0, err
	}
	newest, from, ok, err := s.dropTornTimes()
	if err != nil || !ok {
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
	// An earlier recovery may have added entries, which are not durable: the time
	// index may end before the offset index does.
	sc := scan(file, min(from, known.position), size)
	defer sc.close()
	vouched := false // for the last entry of the offset index, by the batch that it names
	for last := s.base - 1; ; {
		h, more, err := sc.next()
		if errors.Is(err, kerr.CorruptMessage) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		if !more || h.base >= point {
			if reached := more || last+1 >= point; !reached || !vouched {
				return 0, nil
			}
			l.end.Store(last + 1)
			return position, s.keepTxns(last + 1)
		}
		switch {
		case checkOffsets(s.base, last, h) != nil:
			return 0, nil
		case h.position < known.position:
			newest = s.noteNewest(newest, h)
		case h.position == known.position && h.last == known.last:
			newest = s.noteNewest(newest, h)
			vouched, s.sinceIndex = true, h.size // an entry begins the count of bytes until the next one
		case !vouched:
			return 0, nil
		default:
			if err := s.account(h, l.Config().IndexIntervalBytes); err != nil {
				return 0, err
			}
		}
		last, position = h.last, h.position+h.size
	}
}

// noteNewest takes a batch into account that the indexes know already.
func (s *segment) noteNewest(newest stamp, h header) stamp {
	if h.maxTimestamp > newest.timestamp {
		newest = stamp{h.maxTimestamp, h.last}
		s.setNewest(newest)
	}
	return newest
}

// indexed is a batch that the offset index names.
type indexed struct{ last, position int64 }

// keepIndexes cuts the indexes to what they may hold of offsets below the recovery
// point, and returns the last batch in the offset index; position 0 says that there
// is nothing plausible in it.
func (s *segment) keepIndexes(point int64) (known indexed, err error) {
	known = indexed{last: s.base - 1}
	_, err = s.offsets.keep(func(e []byte) bool {
		last, position := s.offsets.parse(e)
		if last >= point || last <= known.last || position <= known.position {
			return false
		}
		known = indexed{last, position}
		return true
	})
	if err == nil {
		newest := stamp{record.NoTimestamp, s.base}
		_, err = s.times.keep(func(e []byte) bool {
			t := s.times.parse(e)
			if t.offset >= point || t.offset < newest.offset || t.timestamp <= newest.timestamp {
				return false
			}
			newest = t
			return true
		})
	}
	if errors.Is(err, fs.ErrNotExist) {
		return indexed{}, nil
	}
	return known, err
}

// dropTornTimes drops what a crash has made of the entry behind the last good one of
// the time index: part of it may be there, and look like an earlier one. It returns
// the last good one and the position of its batch; ok is false if there is none.
func (s *segment) dropTornTimes() (newest stamp, position int64, ok bool, err error) {
	for {
		n, err := s.times.len()
		if err != nil || n == 0 {
			return stamp{}, 0, false, err
		}
		newest, err := s.times.last()
		if err != nil {
			return stamp{}, 0, false, err
		}
		h, _, found, err := s.batchAt(newest.offset)
		if err != nil || found && h.last == newest.offset && h.maxTimestamp == newest.timestamp {
			return newest, h.position, err == nil, err
		}
		if err := s.times.cut(n - 1); err != nil {
			return stamp{}, 0, false, err
		}
	}
}

// keepTxns drops the transactions whose marker is at offset or above, and what comes
// behind one that cannot be: a crash may leave anything there.
func (s *segment) keepTxns(offset int64) error {
	var kept []AbortedTxn
	last := int64(-1)
	err := s.txns.each(func(_ int, t AbortedTxn) bool {
		if t.LastOffset >= offset || t.LastOffset <= last || t.FirstOffset >= t.LastOffset {
			return false
		}
		last = t.LastOffset
		kept = append(kept, t)
		return true
	})
	if err != nil && !errors.Is(err, errTxnIndex) {
		return err
	}
	for n := len(kept); n > 0; n-- {
		t := kept[n-1]
		h, b, found, err := s.batchAt(t.LastOffset)
		if err != nil {
			return err
		}
		if found && h.base == t.LastOffset && h.magic == 2 && b.IsControl() && b.ProducerID() == t.ProducerID {
			return s.txns.cut(n)
		}
	}
	return s.txns.cut(0)
}

// batchAt finds the batch that holds an offset, by the offset index. b is no more
// than its header, for format 2. found is false if there is none, or no batch where
// one should be.
func (s *segment) batchAt(offset int64) (h header, b record.Batch, found bool, err error) {
	_, from, err := s.offsets.lookup(offset)
	if err != nil {
		return header{}, nil, false, err
	}
	file, err := s.file.acquire()
	if err != nil {
		return header{}, nil, false, err
	}
	defer s.file.release()
	sc := scan(file, from, s.size.Load())
	defer sc.close()
	for {
		h, more, err := sc.next()
		switch {
		case errors.Is(err, kerr.CorruptMessage):
			return header{}, nil, false, nil
		case err != nil || !more:
			return header{}, nil, false, err
		case h.last < offset:
			continue
		case h.magic == 2:
			b = slices.Clone(sc.header())
		}
		return h, b, h.base <= offset, nil
	}
}
