package record

import (
	"fmt"
	"iter"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Record is one record of a batch. Its slices alias the buffer that it was read
// from: the batch, or what the batch was decompressed to.
type Record struct {
	TimestampDelta int64 // ms after the batch's base timestamp
	OffsetDelta    int32
	HeaderCount    int32  // how many headers Headers gives
	Key, Value     []byte // nil if absent
	headers        []byte
}

// Header is one header of a record.
type Header struct {
	Key   []byte
	Value []byte // nil if absent
}

// Offset is the record's offset.
func (b Batch) Offset(r Record) int64 { return b.BaseOffset() + int64(r.OffsetDelta) }

// Timestamp is the record's timestamp in ms since 1970.
func (b Batch) Timestamp(r Record) int64 {
	if b.TimestampType() == LogAppendTime {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + r.TimestampDelta
}

// Records iterates over the batch's records, decompressing them first if need
// be, to at most maxDecompressed bytes. Those of a compressed batch are valid in
// the loop's body only. The iteration ends with the first error, which wraps
// kerr.InvalidRecord if the records are not what the header promises,
// kerr.CorruptMessage if they cannot be decompressed, ErrTooLarge if they exceed
// the bound.
//
// The loop's body may not go through the records of another compressed batch, nor
// wait for anything: few batches are open at a time.
func (b Batch) Records(maxDecompressed int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var failed error
		each := func(payload []byte) error {
			w := walker{rest: payload, left: b.Count()}
			var r Record
			for w.next(&r) {
				if !yield(r, nil) {
					return nil
				}
			}
			failed = w.err()
			return nil
		}
		if codec := b.Codec(); codec == None {
			each(b.Payload())
		} else if err := openPayload(new([]byte), b.Payload(), codec, maxDecompressed, each); err != nil {
			failed = err
		}
		if failed != nil {
			yield(Record{}, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), failed))
		}
	}
}

// Headers iterates over the record's headers without copying them.
func (r Record) Headers() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		var h Header
		p := 0
		for range r.HeaderCount {
			if h, p = headerAt(r.headers, p); p == 0 || !yield(h) {
				return
			}
		}
	}
}

// walker reads the records of an uncompressed payload one after the other.
type walker struct {
	rest []byte
	left int32 // records that the batch's header promises and that are still to come
	bad  bool
}

// next reads the next record into r. It returns false at the end, which is an
// error if err says so.
func (w *walker) next(r *Record) bool {
	if w.left <= 0 || w.bad {
		return false
	}
	rest, ok := nextRecord(w.rest, r)
	if !ok {
		w.bad = true
		return false
	}
	w.rest = rest
	w.left--
	return true
}

// err says, once next has returned false, whether all the promised records were
// there and nothing else.
func (w *walker) err() error {
	switch {
	case w.bad:
		return fmt.Errorf("a record is malformed, %d records before the end: %w", w.left, kerr.InvalidRecord)
	case w.left < 0:
		return fmt.Errorf("batch claims a negative number of records: %w", kerr.InvalidRecord)
	case len(w.rest) > 0:
		return fmt.Errorf("%d bytes after the last record: %w", len(w.rest), kerr.InvalidRecord)
	}
	return nil
}

// nextRecord reads the record that buf begins with and returns what follows it.
// A record is: its length, attributes of one byte (unused), timestamp delta,
// offset delta, key, value, number of headers, headers; all numbers are varints,
// and a length of −1 is a null. The parts must fill the length exactly.
func nextRecord(buf []byte, r *Record) (rest []byte, ok bool) {
	length, p := varint(buf, 0)
	if p == 0 || length < 1 || int(length) > len(buf)-p {
		return nil, false
	}
	end := p + int(length)
	body, rest := buf[:end:end], buf[end:]
	// Position 0 stands for a failure; nothing that was read ends there.
	if r.TimestampDelta, p = varlong(body, p+1); p == 0 { // behind the attributes
		return nil, false
	}
	if r.OffsetDelta, p = varint(body, p); p == 0 {
		return nil, false
	}
	length, p = varint(body, p)
	if r.Key, p = cutAt(body, p, length); p == 0 {
		return nil, false
	}
	length, p = varint(body, p)
	if r.Value, p = cutAt(body, p, length); p == 0 {
		return nil, false
	}
	if r.HeaderCount, p = varint(body, p); p == 0 || r.HeaderCount < 0 {
		return nil, false
	}
	r.headers = body[p:]
	for range r.HeaderCount {
		if _, p = headerAt(body, p); p == 0 {
			return nil, false
		}
	}
	return rest, p == len(body)
}

// cutAt returns so many bytes from position p on, nil if the length is −1, and where
// they end: 0 if they are cut off, or p is 0. (Kafka takes any negative length for a
// null, and so do we.)
func cutAt(b []byte, p int, length int32) (v []byte, end int) {
	if length < 0 || p == 0 {
		return nil, p
	}
	if end = p + int(length); end > len(b) {
		return nil, 0
	}
	return b[p:end:end], end
}

func headerAt(b []byte, p int) (h Header, end int) {
	length, p := varint(b, p)
	if h.Key, p = cutAt(b, p, length); p == 0 || h.Key == nil {
		return Header{}, 0
	}
	length, p = varint(b, p)
	h.Value, end = cutAt(b, p, length)
	return h, end
}
