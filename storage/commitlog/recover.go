package commitlog

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// recoverSegments makes the segments that are due whole and finds the end of the
// log.
//
// What must hold afterwards: every byte from the recovery point on belongs to a
// batch whose checksum is right, offsets ascend, the indexes say nothing else than
// the batches do, and nothing that was durable below the recovery point is lost.
func (l *Log) recoverSegments(o Options, due map[int64]bool) error {
	all := l.list()
	unsynced, point, trusted := len(all), int64(0), int64(math.MaxInt64)
	if !o.Clean {
		unsynced, point, trusted = max(0, floor(all, o.RecoveryPoint)), o.RecoveryPoint, o.RecoveryPoint
	}
	for i, s := range all {
		if i > unsynced && l.tornFrom(s, o) {
			return l.dropFrom(all, i)
		}
		if useless, ok := due[s.base]; ok {
			if useless {
				point = s.base // its indexes are built anew from there
			}
			l.publish(all[:i+1])
			cut, err := l.recoverSegment(s, point, trusted)
			if err != nil {
				return err
			}
			if cut && i >= unsynced {
				return l.dropFrom(all, i+1)
			}
			if i+1 < len(all) {
				if err := l.restoreSnapshot(all[i+1].base); err != nil {
					return err
				}
			}
			continue
		}
		if i < len(all)-1 {
			continue // sealed and trusted
		}
		s.sealed = false
		whole, err := l.findEnd(s)
		if err != nil {
			return err
		}
		if !whole {
			due[s.base] = true // not as clean as it was said to be
			if _, err := l.recoverSegment(s, s.base, trusted); err != nil {
				return err
			}
		}
	}
	l.publish(all)
	if n := len(all); n > 0 {
		all[n-1].sealed = false
	}
	return nil
}

// tornFrom reports whether something is missing before a segment: its base must
// be where the segments before it end. In a compacted topic gaps are normal;
// there, a segment is made durable before the next one is begun.
func (l *Log) tornFrom(s *segment, o Options) bool {
	end := l.end.Load()
	if s.base == end || s.base > end && o.Config.Compact {
		return false
	}
	l.logger().Warn("cutting the log where segments do not continue each other", "file", s.file.path(), "offset", end, "bytes", s.size.Load())
	return true
}

// dropFrom removes the segments from number i on.
func (l *Log) dropFrom(list []*segment, i int) error {
	for _, s := range list[i:] {
		l.logger().Warn("removing a segment behind the end of the log", "file", s.file.path(), "bytes", s.size.Load())
	}
	if err := l.dropAll(slices.Backward(list[i:])); err != nil {
		return err
	}
	l.publish(list[:i:i])
	if i > 0 {
		list[i-1].sealed = false
	}
	return nil
}

// findEnd finds the log's end in the last segment, by its index. whole is false
// if the file does not end with a batch.
func (l *Log) findEnd(s *segment) (whole bool, err error) {
	size := s.size.Load()
	if size == 0 {
		l.end.Store(s.base)
		return true, nil
	}
	_, from, err := s.offsets.lookup(math.MaxInt64)
	if err != nil || from > size {
		return false, err
	}
	end, position := s.base, from
	err = s.eachHeader(from, size, func(h header) { end, position = h.next(), h.position+h.size })
	if errors.Is(err, kerr.CorruptMessage) {
		return false, nil
	}
	l.end.Store(end)
	return position == size, err
}

// recoverSegment checks every batch of a segment from the recovery point on, cuts
// it before the first one that is damaged, and brings its indexes up to date. It
// moves the log's end to the segment's, and the producers' state along with it.
// Below the offset trusted the next recovery will rely on the indexes.
func (l *Log) recoverSegment(s *segment, point, trusted int64) (cut bool, err error) {
	l.dirChanged = true
	from, err := l.resume(s, point, trusted)
	if err != nil {
		return false, err
	}
	if at := l.end.Load(); l.producers.EndOffset() != at || at == 0 {
		if err := l.rebuildProducers(at); err != nil {
			return false, err
		}
	}
	size := s.size.Load()
	valid, why, err := l.replay(s, from, size)
	if err != nil {
		return false, err
	}
	if valid < size {
		cut = true
		l.logger().Warn("cutting off the damaged end of a log", "file", s.file.path(), "offset", l.end.Load(), "position", valid, "bytes", size-valid, "reason", why)
		// Durably, or it could reappear behind what is appended now.
		if err := errors.Join(s.file.truncate(valid), s.file.sync()); err != nil {
			return false, err
		}
		s.size.Store(valid)
	}
	if from == 0 && trusted > s.base {
		// The offset index vouches for the others and comes after them.
		if err := s.sealOthers(); err != nil {
			return cut, err
		}
		if err := s.syncOthers(); err != nil {
			return cut, err
		}
		if err := l.dir.fs.SyncDir(l.dir.join("")); err != nil {
			return cut, err
		}
	}
	return cut, s.seal()
}

// replay reads a segment from a position on, where the log ends as far as it is
// known, and does again what the append of its batches did. It returns the size of
// the valid part, and why it ends there.
func (l *Log) replay(s *segment, from, size int64) (valid int64, why, err error) {
	file, err := s.file.acquire()
	if err != nil {
		return 0, nil, err
	}
	defer s.file.release()
	last := l.end.Load() - 1
	in := batchReader{read: func(p []byte, off int64) error { return readFull(file, p, off) }, pos: from, end: size, chunk: recoveryBuffer}
	for {
		h, b, err := in.next()
		if err != nil || b == nil {
			if err != nil && !errors.Is(err, kerr.CorruptMessage) && !errors.Is(err, record.ErrTruncated) {
				return 0, nil, err
			}
			return h.position, err, nil
		}
		if why := checkOffsets(s.base, last, h); why != nil {
			return h.position, why, nil
		}
		if why := checkCRC(b); why != nil {
			return h.position, why, nil
		}
		if err := l.accountRecovered(s, h, b); err != nil {
			return 0, nil, err
		}
		last = h.last
		l.end.Store(h.next())
	}
}

// checkOffsets says what is wrong with the offsets of a batch that follows offset
// last.
func checkOffsets(base, last int64, h header) error {
	if h.base <= last || !fits(base, h.last) {
		return fmt.Errorf("offsets %d to %d after %d: %w", h.base, h.last, last, kerr.CorruptMessage)
	}
	return nil
}

func (l *Log) accountRecovered(s *segment, h header, b []byte) error {
	if err := s.account(h, l.Config().IndexIntervalBytes); err != nil {
		return err
	}
	if h.magic < 2 {
		return nil
	}
	if err := l.epochsChanged(l.epochs.assign(h.epoch, h.base, false)); err != nil {
		return err
	}
	if ended := l.producers.Append(b); ended != nil && ended.Aborted {
		return s.txns.add(ended)
	}
	return nil
}

// recoveryBuffer is how much of a segment is read at once, unless a batch is
// larger.
const recoveryBuffer = 1 << 20

// batchReader reads whole batches one after the other.
type batchReader struct {
	read     func(p []byte, off int64) error
	pos, end int64
	chunk    int64 // bytes to read at once
	buf      []byte
	have     []byte // part of buf: the bytes from pos on
}

// next returns the next batch, nil at the end; h.position is where it begins, or
// would begin. The bytes are valid until the next call. Errors wrap
// kerr.CorruptMessage or record.ErrTruncated if no whole batch is there.
func (r *batchReader) next() (h header, b []byte, err error) {
	need := int64(record.HeaderSize)
	for {
		left := r.end - r.pos
		if left == 0 {
			return header{position: r.pos}, nil, nil
		}
		h, b, rest, err := splitBatch(r.have)
		if err == nil {
			h.position = r.pos
			r.pos += h.size
			r.have = rest
			return h, b, nil
		}
		if !errors.Is(err, record.ErrTruncated) {
			return header{position: r.pos}, nil, err
		}
		if int64(len(r.have)) == left || h.size > left {
			return header{position: r.pos}, nil, err
		}
		need = max(need, h.size, min(left, r.chunk))
		if err := r.fill(min(left, need)); err != nil {
			return header{position: r.pos}, nil, err
		}
	}
}

// fill makes have hold n bytes.
func (r *batchReader) fill(n int64) error {
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	kept := copy(r.buf, r.have)
	if err := r.read(r.buf[kept:], r.pos+int64(kept)); err != nil {
		return err
	}
	r.have = r.buf
	return nil
}
