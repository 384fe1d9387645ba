package record

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Outline is what compaction looks at of a record.
type Outline struct {
	Offset   int64
	Key      []byte // nil if absent; aliases the batch, or what it was decompressed to
	HasValue bool   // false for a tombstone
}

// Compactor opens entries (batches, and messages of the formats before 2) one after
// the other and takes records out of them. It keeps its buffers from one to the next.
// The zero value is ready for use; it is not safe for concurrent use.
type Compactor struct {
	payload []byte // what a compressed batch was decompressed to
	kept    []byte // records, uncompressed
	shifted []byte // the same with other timestamp deltas
}

// Outlines calls visit for every record of an entry, until it returns false. A
// compressed entry may take maxDecompressed bytes. Errors are those of Batch.Records
// and Message.Records; visit may neither open another entry nor wait for anything.
func (c *Compactor) Outlines(entry Batch, maxDecompressed int, visit func(Outline) bool) error {
	if entry.Magic() < 2 {
		return c.messageOutlines(Message(entry), maxDecompressed, visit)
	}
	return c.open(entry, maxDecompressed, func(payload []byte) error {
		w := walker{rest: payload, left: entry.Count()}
		var r Record
		for w.next(&r) {
			if !visit(outline(entry, &r)) {
				return nil
			}
		}
		return w.err()
	})
}

func outline(b Batch, r *Record) Outline {
	return Outline{Offset: b.Offset(*r), Key: r.Key, HasValue: r.Value != nil}
}

func (c *Compactor) messageOutlines(m Message, limit int, visit func(Outline) bool) error {
	err := m.open(&c.payload, limit, func(w *messageWalker) error {
		for {
			r, more, err := w.next()
			if err != nil || !more || !visit(Outline{Offset: r.Offset, Key: r.Key, HasValue: r.Value != nil}) {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("message at offset %d: %w", m.Offset(), err)
	}
	return nil
}

// open calls use with the uncompressed records of a batch, see openPayload. It waits for
// a processor even if nothing is decompressed: whoever goes over batch after batch is to
// leave one to those who produce and fetch.
func (c *Compactor) open(b Batch, limit int, use func(payload []byte) error) error {
	var err error
	if codec := b.Codec(); codec == None {
		err = inTurn(b.Payload(), use)
	} else {
		err = openPayload(&c.payload, b.Payload(), codec, limit, use)
	}
	if err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	return nil
}

// Horizon says from when on the tombstones or the marker of a batch may be dropped
// (KIP-534). A batch that has a horizon keeps it.
type Horizon struct {
	MS     int64 // ms since 1970, for a batch that gets one
	Marker bool  // the batch is a marker that needs one; tombstones always do
}

// Retained is what Retain has done.
type Retained struct {
	Records int  // that stay
	Whole   bool // the entry is as it was
}

// Retain appends to dst what is left of an entry when only the records stay for
// which keep returns true. Without any, nothing is appended.
//
// What stays is as it was: offsets, sequence numbers, leader epoch, last offset,
// timestamps, codec, headers. The maximum timestamp becomes that of the records that
// stay. An entry that loses no record and gets no horizon is copied byte for byte.
//
// For limits, errors, and what keep may do see Outlines.
func (c *Compactor) Retain(dst []byte, entry Batch, maxDecompressed int, horizon Horizon, keep func(Outline) bool) ([]byte, Retained, error) {
	if entry.Magic() < 2 {
		return c.retainMessages(dst, Message(entry), maxDecompressed, keep)
	}
	out := dst
	var kept Retained
	err := c.open(entry, maxDecompressed, func(payload []byte) error {
		s, err := c.sift(entry, payload, keep)
		if err != nil || s.records == 0 {
			return err
		}
		needsHorizon := !entry.HasDeleteHorizon() && (s.tombstones || horizon.Marker)
		kept = Retained{Records: int(s.records), Whole: s.whole && !needsHorizon}
		if kept.Whole {
			out = append(dst, entry...)
			return nil
		}
		if needsHorizon {
			s.bytes = c.shift(entry, s, horizon.MS)
		}
		out, err = rebuild(dst, entry, s, needsHorizon, horizon.MS)
		return err
	})
	if err != nil {
		return dst, Retained{}, err
	}
	return out, kept, nil
}

// sifted is what sift has found in a batch.
type sifted struct {
	bytes        []byte // the records that stay
	records      int32
	whole        bool // all of them
	tombstones   bool // there is one among those that stay
	maxTimestamp int64
}

// sift goes through the records of a batch. Nothing is copied before the first one
// that goes.
func (c *Compactor) sift(b Batch, payload []byte, keep func(Outline) bool) (sifted, error) {
	s := sifted{whole: true, maxTimestamp: NoTimestamp}
	c.kept = c.kept[:0]
	w := walker{rest: payload, left: b.Count()}
	run := 0 // where the records that stay and are not copied yet begin
	var r Record
	for {
		at := len(payload) - len(w.rest)
		if !w.next(&r) {
			break
		}
		end := len(payload) - len(w.rest)
		if !keep(outline(b, &r)) {
			c.kept = append(c.kept, payload[run:at]...)
			run, s.whole = end, false
			continue
		}
		s.records++
		s.tombstones = s.tombstones || r.Value == nil
		s.maxTimestamp = max(s.maxTimestamp, b.Timestamp(r))
	}
	if err := w.err(); err != nil {
		return sifted{}, err
	}
	if s.bytes = payload; !s.whole {
		c.kept = append(c.kept, payload[run:]...)
		s.bytes = c.kept
	}
	return s, nil
}

// shift writes the records that stay with timestamps that count from base.
func (c *Compactor) shift(b Batch, s sifted, base int64) []byte {
	c.shifted = c.shifted[:0]
	w := walker{rest: s.bytes, left: s.records}
	var r Record
	for w.next(&r) {
		c.shifted = appendRecord(c.shifted, b.Timestamp(r)-base, r.OffsetDelta, r.Key, r.Value, r.HeaderCount, r.headers)
	}
	return c.shifted
}

// appendRecord appends one record; headers is all of them, without their number.
func appendRecord(dst []byte, timestampDelta int64, offsetDelta int32, key, value []byte, headerCount int32, headers []byte) []byte {
	size := 1 + varintSize(timestampDelta) + varintSize(int64(offsetDelta)) + nullableSize(key) + nullableSize(value) +
		varintSize(int64(headerCount)) + len(headers)
	dst = appendVarint(dst, int64(size))
	dst = append(dst, 0) // attributes
	dst = appendVarint(dst, timestampDelta)
	dst = appendVarint(dst, int64(offsetDelta))
	dst = appendNullable(dst, key)
	dst = appendNullable(dst, value)
	dst = appendVarint(dst, int64(headerCount))
	return append(dst, headers...)
}

// rebuild appends a batch with b's header and other records.
func rebuild(dst []byte, b Batch, s sifted, setHorizon bool, horizonMS int64) ([]byte, error) {
	start := len(dst)
	out := append(dst, b[:HeaderSize]...)
	out, err := Compress(out, s.bytes, b.Codec(), DefaultLevel)
	if err != nil {
		return dst, err
	}
	size := len(out) - start
	if int64(size-LogOverhead) > math.MaxInt32 {
		return dst, fmt.Errorf("batch of %d bytes after compaction: %w", size, kerr.MessageTooLarge)
	}
	n := Batch(out[start:])
	binary.BigEndian.PutUint32(n[posLength:], uint32(size-LogOverhead))
	binary.BigEndian.PutUint32(n[posCount:], uint32(s.records))
	binary.BigEndian.PutUint64(n[posMaxTimestamp:], uint64(s.maxTimestamp))
	if setHorizon {
		binary.BigEndian.PutUint16(n[posAttributes:], uint16(n.Attributes()|attrDeleteHorizon))
		binary.BigEndian.PutUint64(n[posBaseTimestamp:], uint64(horizonMS))
	}
	n.updateCRC()
	return out, nil
}

// retainMessages is Retain for the old formats, which have no horizon.
func (c *Compactor) retainMessages(dst []byte, m Message, limit int, keep func(Outline) bool) ([]byte, Retained, error) {
	w := messageWriter{magic: m.Magic(), codec: m.Codec(), timestamps: m.TimestampType(), inner: c.kept[:0]}
	kept, total, last := 0, 0, int64(-1)
	err := m.open(&c.payload, limit, func(in *messageWalker) error {
		for {
			r, more, err := in.next()
			if err != nil || !more {
				return err
			}
			if r.Offset <= last { // what is inside is written anew with offsets that count from the first
				return fmt.Errorf("a message with offset %d comes behind one with %d: %w", r.Offset, last, kerr.InvalidRecord)
			}
			total, last = total+1, r.Offset
			if keep(Outline{Offset: r.Offset, Key: r.Key, HasValue: r.Value != nil}) {
				kept++
				if w.codec != None { // else the one record is the message
					w.add(r.Offset, r.Timestamp, r.Key, r.Value)
				}
			}
		}
	})
	c.kept = w.inner[:0]
	switch {
	case err != nil:
		return dst, Retained{}, fmt.Errorf("message at offset %d: %w", m.Offset(), err)
	case kept == 0:
		return dst, Retained{}, nil
	case kept == total:
		return append(dst, m...), Retained{kept, true}, nil
	}
	w.dst = dst
	out, err := w.finish()
	if err != nil {
		return dst, Retained{}, err
	}
	return out, Retained{Records: kept}, nil
}

// AppendEmpty appends what is left of a batch of format 2 without its records: offsets,
// sequence numbers, epochs and maximum timestamp, so that neither the producer's state
// nor the end of the log is lost with its last records.
func AppendEmpty(dst []byte, b Batch) []byte {
	dst = append(dst, b[:HeaderSize]...)
	e := Batch(dst[len(dst)-HeaderSize:])
	binary.BigEndian.PutUint32(e[posLength:], HeaderSize-LogOverhead)
	binary.BigEndian.PutUint16(e[posAttributes:], uint16(e.Attributes()&^(attrCodec|attrDeleteHorizon)))
	binary.BigEndian.PutUint64(e[posBaseTimestamp:], math.MaxUint64) // none
	binary.BigEndian.PutUint32(e[posCount:], 0)
	e.updateCRC()
	return dst
}

// AppendFiller is AppendEmpty for a batch whose offsets alone matter: it has neither
// producer nor transaction any more.
func AppendFiller(dst []byte, b Batch) []byte {
	dst = AppendEmpty(dst, b)
	e := Batch(dst[len(dst)-HeaderSize:])
	binary.BigEndian.PutUint16(e[posAttributes:], uint16(e.Attributes()&^(attrTransactional|attrControl)))
	binary.BigEndian.PutUint64(e[posProducerID:], math.MaxUint64) // none, as all of these
	binary.BigEndian.PutUint16(e[posProducerEpoch:], math.MaxUint16)
	binary.BigEndian.PutUint32(e[posBaseSequence:], math.MaxUint32)
	e.updateCRC()
	return dst
}

// DeleteHorizon is the time, in ms, from which on compaction may drop the batch's
// tombstones and markers; ok is false if it has none.
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	return b.BaseTimestamp(), b.HasDeleteHorizon()
}
