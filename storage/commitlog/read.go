package commitlog

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Range is a run of batches in one segment's file; the last one may be cut off
// by the byte limit of the read. It keeps the file open and readable, whatever
// happens to the log, until Release. The zero value is an empty range.
//
// A Range belongs to one goroutine at a time.
type Range struct {
	File vfs.File // nil if the range is empty
	Pos  int64    // in File
	Len  int
	// BaseOffset is the base offset of the first batch, which may be lower than
	// the offset that was asked for.
	BaseOffset int64

	segment *segment
}

// ReadAt reads from the range; off counts from its start.
func (r *Range) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(r.Len) {
		return 0, io.EOF
	}
	short := int64(len(p)) > int64(r.Len)-off
	if short {
		p = p[:int64(r.Len)-off]
	}
	n, err := r.File.ReadAt(p, r.Pos+off)
	if n == len(p) {
		err = nil
		if short {
			err = io.EOF
		}
	} else if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the log was truncated meanwhile
	}
	return n, err
}

// AppendTo appends the range's bytes to dst.
func (r *Range) AppendTo(dst []byte) ([]byte, error) {
	if r.Len == 0 {
		return dst, nil
	}
	n := len(dst)
	dst = slices.Grow(dst, r.Len)[:n+r.Len]
	if err := readFull(r.File, dst[n:], r.Pos); err != nil {
		return dst[:n], err
	}
	return dst, nil
}

// Release gives the file back. It may be called more than once, but by one
// holder only: copies of a Range are the same Range.
func (r *Range) Release() {
	if r.File != nil {
		r.segment.file.release()
		r.File, r.Len = nil, 0
	}
}

// Read returns batches in order, beginning with the one that holds from, or the
// first one behind it. It returns at most maxBytes, the last batch cut off if need
// be, unless they are large, but nothing if not even the first one fits; with minOne that one is returned
// whole. It returns only batches wholly below upTo (the high watermark, say). All of
// them lie in one segment, so that there may be more than was returned. The range
// is empty if from is not below upTo.
//
// Errors wrap kerr.OffsetOutOfRange if from is not between StartOffset and
// EndOffset, else kerr.KafkaStorageError.
func (l *Log) Read(from int64, maxBytes int32, upTo int64, minOne bool) (Range, error) {
	end, start := l.end.Load(), l.start.Load()
	if from < start || from > end {
		return Range{}, fmt.Errorf("read of %s at %d, which holds %d to %d: %w", l.partition, from, start, end, kerr.OffsetOutOfRange)
	}
	upTo = min(upTo, end)
	if from >= upTo {
		return Range{}, nil
	}
	for {
		list := l.segments.Load()
		r, err := l.read(*list, from, maxBytes, upTo, minOne)
		switch {
		case err == nil:
			return r, nil
		case from < l.start.Load() || upTo > l.end.Load():
			return Range{}, fmt.Errorf("read of %s at %d, where it was cut meanwhile: %w", l.partition, from, kerr.OffsetOutOfRange)
		case l.segments.Load() == list:
			return Range{}, storageError("read", l.partition, err)
		}
		// Compaction has put other segments in the place of these.
	}
}

func (l *Log) read(list []*segment, from int64, maxBytes int32, upTo int64, minOne bool) (Range, error) {
	for i := max(0, floor(list, from)); i < len(list) && list[i].base < upTo; i++ {
		s := list[i]
		limit, err := l.sizeBelow(list, i, upTo)
		if err != nil {
			return Range{}, err
		}
		first, err := l.locate(s, from, limit)
		if err != nil {
			return Range{}, err
		}
		if first.position >= limit {
			continue // compaction has removed the end of the segment
		}
		n := int64(maxBytes)
		if minOne {
			n = max(n, first.size)
		}
		n = min(n, limit-first.position)
		if n < first.size {
			return Range{}, nil // the beginning of a batch is of use to nobody
		}
		if n < limit-first.position && first.size >= largeBatch {
			if n, err = s.withoutCut(first, n); err != nil {
				return Range{}, err
			}
		}
		file, err := s.file.acquire()
		if err != nil {
			return Range{}, err
		}
		return Range{File: file, Pos: first.position, Len: int(n), BaseOffset: first.base, segment: s}, nil
	}
	return Range{}, nil
}

// largeBatch is the size from which on it is worth a look not to send the beginning of a
// batch, which its reader would drop and ask for again. Kafka sends it.
const largeBatch = 32 << 10 // bytes

// withoutCut shortens a range of n bytes that begins with first to where the batch begins
// that it would end in, if that can be told at once.
func (s *segment) withoutCut(first place, n int64) (int64, error) {
	end, cycle := first.position+n, s.cuts.begin()
	at, err := s.offsets.positionAtOrBefore(end)
	if err != nil {
		return 0, err
	}
	at = max(at, first.position+first.size)
	if at >= end {
		return n, nil
	}
	h, found, err := s.seek(0, at, s.size.Load())
	if err != nil || !found || h.position+h.size <= end {
		return n, err
	}
	s.cuts.remember(cycle, h.place())
	return at - first.position, nil
}

// locate finds the first batch of a segment whose last offset is ≥ offset. If
// there is none before limit, its position is limit or above.
func (l *Log) locate(s *segment, offset, limit int64) (place, error) {
	if p, known := l.tail.find(s, offset); known {
		return p, nil
	}
	if p, known := s.cuts.find(offset); known {
		return p, nil
	}
	h, found, err := s.find(offset, limit)
	if err != nil || !found {
		return place{position: limit}, err
	}
	return h.place(), nil
}

// sizeBelow is the size of the part of a segment whose batches are wholly below
// upTo.
func (l *Log) sizeBelow(list []*segment, i int, upTo int64) (int64, error) {
	s := list[i]
	if i+1 < len(list) && list[i+1].base <= upTo {
		return s.size.Load(), nil
	}
	p, err := l.locate(s, upTo, s.size.Load())
	return p.position, err
}

// UpperBound is an offset above every record of the range and not far above: a
// transaction that begins there or later cannot concern it.
func (l *Log) UpperBound(r Range) int64 {
	end := l.end.Load()
	if r.segment == nil {
		return end
	}
	if offset, ok, err := r.segment.offsets.offsetAtOrAfter(r.Pos + int64(r.Len)); err == nil && ok {
		return offset
	}
	list := l.list()
	if i := floor(list, r.segment.base) + 1; i < len(list) {
		return list[i].base
	}
	return end
}

// AbortedTransactions returns the aborted transactions that overlap the offsets
// from, inclusive, to upper, exclusive, in the order of their markers.
func (l *Log) AbortedTransactions(from, upper int64) ([]AbortedTxn, error) {
	var txns []AbortedTxn
	err := l.search(func(list []*segment) error {
		txns = txns[:0]
		for i := max(0, floor(list, from)); i < len(list); i++ {
			var done bool
			var err error
			if txns, done, err = list[i].txns.collect(txns, from, upper); err != nil || done {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, storageError("reading aborted transactions", l.partition, err)
	}
	return txns, nil
}

// search calls in with the segments, and if that fails again with those that have
// taken their place meanwhile: the files of segments that retention, truncation or
// compaction has taken are closed, or gone, and an error about them is no failure.
func (l *Log) search(in func(list []*segment) error) error {
	for {
		list := l.segments.Load()
		err := in(*list)
		if err == nil || l.segments.Load() == list {
			return err
		}
	}
}
