package record

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Builder collects records and makes a batch of them. It may be used again after
// Reset, and is not safe for concurrent use.
type Builder struct {
	header  [HeaderSize]byte
	level   int
	records []byte // uncompressed

	count      int32
	first      int64 // the first record's timestamp
	max        int64
	appendTime int64
}

// NewBuilder returns a Builder of an uncompressed CreateTime batch at offset 0
// without leader epoch and producer.
func NewBuilder() *Builder {
	b := &Builder{level: DefaultLevel}
	h := Batch(b.header[:])
	h[posMagic] = 2
	h.SetLeaderEpoch(NoLeaderEpoch)
	b.SetProducer(NoProducerID, NoProducerEpoch, NoSequence)
	b.Reset()
	return b
}

func (b *Builder) SetBaseOffset(offset int64) *Builder {
	Batch(b.header[:]).SetBaseOffset(offset)
	return b
}

func (b *Builder) SetLeaderEpoch(epoch int32) *Builder {
	Batch(b.header[:]).SetLeaderEpoch(epoch)
	return b
}

// SetCodec sets the codec and its level (DefaultLevel for the codec's own).
func (b *Builder) SetCodec(c Codec, level int) *Builder {
	b.setAttribute(attrCodec, false)
	b.setAttribute(int16(c), true)
	b.level = level
	return b
}

// SetProducer sets producer id, epoch, and the sequence number of the first
// record.
func (b *Builder) SetProducer(id int64, epoch int16, sequence int32) *Builder {
	binary.BigEndian.PutUint64(b.header[posProducerID:], uint64(id))
	binary.BigEndian.PutUint16(b.header[posProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b.header[posBaseSequence:], uint32(sequence))
	return b
}

// SetTransactional has the batch be in its producer's transaction, or in none.
func (b *Builder) SetTransactional(on bool) *Builder { return b.setAttribute(attrTransactional, on) }

func (b *Builder) SetControl() *Builder { return b.setAttribute(attrControl, true) }

// SetLogAppendTime gives the whole batch one timestamp, set by the broker.
func (b *Builder) SetLogAppendTime(ms int64) *Builder {
	b.appendTime = ms
	return b.setAttribute(attrLogAppendTime, true)
}

func (b *Builder) setAttribute(bits int16, on bool) *Builder {
	a := Batch(b.header[:]).Attributes() &^ bits
	if on {
		a |= bits
	}
	binary.BigEndian.PutUint16(b.header[posAttributes:], uint16(a))
	return b
}

// Append adds a record at the next offset. Key, value and headers are copied;
// nil means absent.
func (b *Builder) Append(timestampMS int64, key, value []byte, headers ...Header) {
	size := b.open(timestampMS, key, value, varintSize(int64(len(headers)))+headersSize(headers))
	b.records = appendVarint(b.records, int64(len(headers)))
	for _, h := range headers {
		b.records = appendVarint(b.records, int64(len(h.Key)))
		b.records = append(b.records, h.Key...)
		b.records = appendNullable(b.records, h.Value)
	}
	b.close(size)
}

// appendRecord adds what was read from another batch.
func (b *Builder) appendRecord(timestampMS int64, r *Record) {
	size := b.open(timestampMS, r.Key, r.Value, varintSize(int64(r.HeaderCount))+len(r.headers))
	b.records = appendVarint(b.records, int64(r.HeaderCount))
	b.records = append(b.records, r.headers...)
	b.close(size)
}

// open writes a record up to its headers, which are to take headersSize bytes,
// and returns the size that the records must have in the end.
func (b *Builder) open(timestampMS int64, key, value []byte, headersSize int) int {
	if b.count == 0 {
		b.first, b.max = timestampMS, timestampMS
	}
	b.max = max(b.max, timestampMS)
	delta := timestampMS - b.first
	size := 1 + varintSize(delta) + varintSize(int64(b.count)) + nullableSize(key) + nullableSize(value) + headersSize
	b.records = appendVarint(b.records, int64(size))
	end := len(b.records) + size
	b.records = append(b.records, 0) // attributes
	b.records = appendVarint(b.records, delta)
	b.records = appendVarint(b.records, int64(b.count))
	b.records = appendNullable(b.records, key)
	b.records = appendNullable(b.records, value)
	return end
}

func (b *Builder) close(end int) {
	if len(b.records) != end {
		panic(fmt.Sprintf("record: a record ends at byte %d instead of %d", len(b.records), end))
	}
	b.count++
}

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// Size is the size in bytes that the batch would have without compression.
func (b *Builder) Size() int { return HeaderSize + len(b.records) }

// Build returns the batch, which does not alias the Builder. A batch without
// records, which only compaction leaves behind, has no timestamps.
func (b *Builder) Build() (Batch, error) {
	codec := Batch(b.header[:]).Codec()
	out := make([]byte, HeaderSize, HeaderSize+len(b.records))
	copy(out, b.header[:])
	if codec == None || b.count == 0 {
		out = append(out, b.records...)
	} else {
		payload, err := Compress(nil, b.records, codec, b.level)
		if err != nil {
			return nil, fmt.Errorf("build a batch of %d records: %w", b.count, err)
		}
		out = append(out, payload...)
	}
	if int64(len(out)-LogOverhead) > math.MaxInt32 {
		return nil, fmt.Errorf("build a batch of %d bytes: %w", len(out), kerr.MessageTooLarge)
	}
	maxTimestamp := b.max
	if Batch(out).TimestampType() == LogAppendTime {
		maxTimestamp = b.appendTime
	}
	binary.BigEndian.PutUint32(out[posLength:], uint32(len(out)-LogOverhead))
	binary.BigEndian.PutUint32(out[posLastOffsetDelta:], uint32(max(b.count-1, 0)))
	binary.BigEndian.PutUint64(out[posBaseTimestamp:], uint64(b.first))
	binary.BigEndian.PutUint64(out[posMaxTimestamp:], uint64(maxTimestamp))
	binary.BigEndian.PutUint32(out[posCount:], uint32(b.count))
	Batch(out).updateCRC()
	return out, nil
}

// Reset forgets the records and keeps the settings.
func (b *Builder) Reset() {
	b.records = b.records[:0]
	b.count = 0
	b.first, b.max = NoTimestamp, NoTimestamp
}

func appendNullable(dst, v []byte) []byte {
	if v == nil {
		return appendVarint(dst, -1)
	}
	return append(appendVarint(dst, int64(len(v))), v...)
}

func nullableSize(v []byte) int {
	if v == nil {
		return 1
	}
	return varintSize(int64(len(v))) + len(v)
}

func headersSize(headers []Header) int {
	n := 0
	for _, h := range headers {
		n += varintSize(int64(len(h.Key))) + len(h.Key) + nullableSize(h.Value)
	}
	return n
}
