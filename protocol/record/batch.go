package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Sizes of a batch's parts, in bytes.
const (
	// HeaderSize is what stands before the records.
	HeaderSize = 61
	// LogOverhead is the base offset and the length, which the length does not
	// count.
	LogOverhead = 12
)

// Positions of a batch's fields.
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21 // the checksum covers everything from here on
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// Bits of the attributes.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrDeleteHorizon = 1 << 6
)

// Values that say "none" in a batch.
const (
	NoTimestamp     int64 = -1
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoLeaderEpoch   int32 = -1
)

var (
	// ErrTruncated says that a buffer ends before the batch does.
	ErrTruncated = errors.New("record batch is cut off")
	// ErrUnsupportedMagic says that an entry is whole but of message format 0 or
	// 1, which Kafka stopped writing with 0.11.
	ErrUnsupportedMagic = errors.New("message format before version 2")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TimestampType says who set a batch's timestamps.
type TimestampType int8

const (
	CreateTime    TimestampType = 0 // the producer, record by record
	LogAppendTime TimestampType = 1 // the broker, one for the whole batch
)

// String returns the name that message.timestamp.type has for it.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// Batch is the bytes of one whole batch of format 2, header included. The
// accessors assume at least HeaderSize bytes, which Next guarantees; they
// verify nothing.
type Batch []byte

func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[posBaseOffset:])) }

// LastOffset is the offset of the last record that was in the batch when it was
// written; compaction may have removed that record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// Size is the batch's size in bytes, LogOverhead included, as its length field
// says. For what Next returned it equals len(b).
func (b Batch) Size() int             { return LogOverhead + int(int32(binary.BigEndian.Uint32(b[posLength:]))) }
func (b Batch) LeaderEpoch() int32    { return int32(binary.BigEndian.Uint32(b[posLeaderEpoch:])) }
func (b Batch) Magic() int8           { return int8(b[posMagic]) }
func (b Batch) CRC() uint32           { return binary.BigEndian.Uint32(b[posCRC:]) }
func (b Batch) Attributes() int16     { return int16(binary.BigEndian.Uint16(b[posAttributes:])) }
func (b Batch) Codec() Codec          { return Codec(b.Attributes() & attrCodec) }
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTransactional != 0 }
func (b Batch) IsControl() bool       { return b.Attributes()&attrControl != 0 }

// HasDeleteHorizon reports whether the base timestamp is instead the time at
// which compaction may drop the batch's tombstones and markers (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&attrDeleteHorizon != 0 }

func (b Batch) TimestampType() TimestampType {
	if b.Attributes()&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:])) }
func (b Batch) BaseTimestamp() int64   { return int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])) }

// MaxTimestamp is in ms since 1970; for LogAppendTime it is the timestamp of
// every record.
func (b Batch) MaxTimestamp() int64  { return int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])) }
func (b Batch) ProducerID() int64    { return int64(binary.BigEndian.Uint64(b[posProducerID:])) }
func (b Batch) HasProducerID() bool  { return b.ProducerID() > NoProducerID }
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[posProducerEpoch:])) }
func (b Batch) BaseSequence() int32  { return int32(binary.BigEndian.Uint32(b[posBaseSequence:])) }

// LastSequence is the sequence number of the batch's last record. Sequence
// numbers wrap from 2³¹−1 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// Count is the number of records, which compaction may have lowered to 0.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[posCount:])) }

// Payload is the records as they are stored: compressed, if Codec says so.
func (b Batch) Payload() []byte { return b[HeaderSize:] }

// AddSequence returns sequence + delta, wrapping from 2³¹−1 to 0.
func AddSequence(sequence, delta int32) int32 {
	if sequence > math.MaxInt32-delta {
		return delta - (math.MaxInt32 - sequence) - 1
	}
	return sequence + delta
}

// SubtractSequence returns sequence − delta, wrapping from 0 to 2³¹−1.
func SubtractSequence(sequence, delta int32) int32 {
	if sequence < delta {
		return math.MaxInt32 - (delta - sequence) + 1
	}
	return sequence - delta
}

// SetBaseOffset patches the base offset in place. The checksum does not cover
// it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(offset))
}

// SetLeaderEpoch patches the leader epoch in place. The checksum does not cover
// it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(epoch))
}

// SetMaxTimestamp patches the maximum timestamp and its type in place, and
// computes the checksum anew if one of them was different.
func (b Batch) SetMaxTimestamp(ms int64, t TimestampType) {
	if b.MaxTimestamp() == ms && b.TimestampType() == t {
		return
	}
	attributes := b.Attributes() &^ attrLogAppendTime
	if t == LogAppendTime {
		attributes |= attrLogAppendTime
	}
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	b.updateCRC()
}

func (b Batch) updateCRC() {
	binary.BigEndian.PutUint32(b[posCRC:], b.computeCRC())
}

func (b Batch) computeCRC() uint32 { return crc32.Checksum(b[posAttributes:], castagnoli) }

// CheckCRC compares the stored CRC-32C with the bytes. The error wraps
// kerr.CorruptMessage.
func (b Batch) CheckCRC() error {
	if got := b.computeCRC(); got != b.CRC() {
		return fmt.Errorf("batch at offset %d: stored checksum %08x, computed %08x: %w", b.BaseOffset(), b.CRC(), got, kerr.CorruptMessage)
	}
	return nil
}
