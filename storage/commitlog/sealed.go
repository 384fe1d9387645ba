package commitlog

import (
	"errors"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Sealed is a segment that is no longer written to. Retention, truncation or
// compaction may take it at any time; then what is asked of it fails.
type Sealed struct {
	BaseOffset int64 // no offset in it is lower
	NextOffset int64 // the base offset of the segment behind it
	Size       int64 // bytes, without indexes

	log     *Log
	segment *segment
}

// Sealed lists the sealed segments, ascending: all but the active one.
func (l *Log) Sealed() []Sealed {
	list := l.list()
	sealed := make([]Sealed, len(list)-1)
	for i := range sealed {
		s := list[i]
		sealed[i] = Sealed{BaseOffset: s.base, NextOffset: list[i+1].base, Size: s.size.Load(), log: l, segment: s}
	}
	return sealed
}

// IndexBytes is the sizes of the offset and the time index.
func (s Sealed) IndexBytes() (offsets, times int64, err error) {
	n, err := s.segment.offsets.len()
	if err == nil {
		var m int
		m, err = s.segment.times.len()
		times = int64(m * timeEntrySize)
	}
	return int64(n * offsetEntrySize), times, s.failed(err)
}

// NewestTimestamp is the greatest timestamp in the segment, ms, or if no record has
// one, when the file was last modified.
func (s Sealed) NewestTimestamp() (int64, error) {
	newest, err := s.segment.newestStamp()
	if err == nil && newest.timestamp < 0 {
		newest.timestamp, err = s.segment.modified()
	}
	return newest.timestamp, s.failed(err)
}

// FirstTimestamp is the greatest timestamp of the first batch, ms; negative if the
// segment is empty, or its records have none.
func (s Sealed) FirstTimestamp() (int64, error) {
	h, found, err := s.segment.seek(0, 0, s.Size)
	if err != nil || !found {
		return record.NoTimestamp, s.failed(err)
	}
	return h.maxTimestamp, nil
}

// Modified is when the segment's file was last written or, for one that compaction
// made, the last of those that it replaced.
func (s Sealed) Modified() (time.Time, error) {
	info, err := s.log.dir.fs.Stat(s.segment.file.path())
	if err != nil {
		return time.Time{}, s.failed(err)
	}
	return info.ModTime(), nil
}

func (s Sealed) failed(err error) error {
	if err == nil || errors.Is(err, kerr.CorruptMessage) {
		return err
	}
	return storageError("reading a segment", s.log.partition, err)
}

// BatchReader reads the batches of a sealed segment one after the other. It goes on
// when the segment is taken meanwhile. It belongs to one goroutine.
type BatchReader struct {
	sealed Sealed
	in     batchReader
}

// Open returns a reader of the batches from one on that is not above the first one with
// offset or a higher one, and near it. It reads chunk bytes at once, or a whole batch if that is larger, into
// buf, which is made larger as needed; see Buffer. Close gives the file back.
func (s Sealed) Open(offset int64, chunk int, buf []byte) (*BatchReader, error) {
	file, err := s.segment.file.acquire()
	if err != nil {
		return nil, s.failed(err)
	}
	r := &BatchReader{sealed: s, in: batchReader{
		read:  func(p []byte, off int64) error { return readFull(file, p, off) },
		end:   s.Size,
		chunk: int64(chunk),
		buf:   buf[:0],
	}}
	if _, r.in.pos, err = s.segment.offsets.lookup(offset); err != nil {
		r.Close()
		return nil, s.failed(err)
	}
	return r, nil
}

// Next returns the next batch, of any format (see record.NextEntry), with its last
// offset; io.EOF at the end of the segment. The bytes are valid until the next call.
// The error wraps kerr.CorruptMessage if what is there is no whole batch or has
// another checksum, else kerr.KafkaStorageError.
func (r *BatchReader) Next() (b record.Batch, lastOffset int64, err error) {
	h, raw, err := r.in.next()
	switch {
	case errors.Is(err, record.ErrTruncated):
		return nil, 0, errors.Join(err, kerr.CorruptMessage)
	case err != nil:
		return nil, 0, r.sealed.failed(err)
	case raw == nil:
		return nil, 0, io.EOF
	}
	if err := checkCRC(raw); err != nil {
		return nil, 0, err
	}
	return raw, h.last, nil
}

// Buffer is what the next reader may be given.
func (r *BatchReader) Buffer() []byte { return r.in.buf }

// Close gives the file back.
func (r *BatchReader) Close() { r.sealed.segment.file.release() }
