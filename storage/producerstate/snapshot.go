package producerstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A snapshot is, big-endian: version i16 = 1, CRC-32C u32 of all that follows,
// count i32, then per producer id i64, epoch i16, last sequence i32, last offset
// i64, offset delta i32, timestamp i64, coordinator epoch i32, first offset of
// the open transaction i64. Of the cached batches only the newest is kept. This
// is the format of Kafka's .snapshot files.
const (
	snapshotVersion = 1
	snapshotHeader  = 10
	snapshotEntry   = 46
	posCRC          = 2
	posCount        = 6
)

// ErrSnapshot says that a snapshot cannot be used; an older one, or the log
// itself, has to serve.
var ErrSnapshot = errors.New("producer snapshot is invalid")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the content of a snapshot file of the state at EndOffset.
func (s *State) Encode() []byte {
	buf := make([]byte, snapshotHeader, snapshotHeader+len(s.producers)*snapshotEntry)
	binary.BigEndian.PutUint16(buf, snapshotVersion)
	binary.BigEndian.PutUint32(buf[posCount:], uint32(len(s.producers)))
	for _, p := range s.producers {
		last, ok := p.LastBatch()
		if !ok {
			last = CachedBatch{LastSequence: -1, LastOffset: -1}
		}
		buf = binary.BigEndian.AppendUint64(buf, uint64(p.ID))
		buf = binary.BigEndian.AppendUint16(buf, uint16(p.Epoch))
		buf = binary.BigEndian.AppendUint32(buf, uint32(last.LastSequence))
		buf = binary.BigEndian.AppendUint64(buf, uint64(last.LastOffset))
		buf = binary.BigEndian.AppendUint32(buf, uint32(last.OffsetDelta))
		buf = binary.BigEndian.AppendUint64(buf, uint64(p.LastTimestamp))
		buf = binary.BigEndian.AppendUint32(buf, uint32(p.CoordinatorEpoch))
		buf = binary.BigEndian.AppendUint64(buf, uint64(p.TxnFirstOffset))
	}
	binary.BigEndian.PutUint32(buf[posCRC:], crc32.Checksum(buf[posCount:], castagnoli))
	return buf
}

// Decode reads the content of a snapshot file. Errors wrap ErrSnapshot.
func Decode(b []byte) ([]Producer, error) {
	if len(b) < snapshotHeader {
		return nil, fmt.Errorf("%w: %d bytes", ErrSnapshot, len(b))
	}
	if v := int16(binary.BigEndian.Uint16(b)); v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d", ErrSnapshot, v)
	}
	if want, got := binary.BigEndian.Uint32(b[posCRC:]), crc32.Checksum(b[posCount:], castagnoli); want != got {
		return nil, fmt.Errorf("%w: stored checksum %08x, computed %08x", ErrSnapshot, want, got)
	}
	count := int64(int32(binary.BigEndian.Uint32(b[posCount:])))
	if count < 0 || count*snapshotEntry != int64(len(b)-snapshotHeader) {
		return nil, fmt.Errorf("%w: %d producers in %d bytes", ErrSnapshot, count, len(b))
	}
	producers := make([]Producer, 0, count)
	for e := b[snapshotHeader:]; len(e) > 0; e = e[snapshotEntry:] {
		p := Producer{
			ID:               int64(binary.BigEndian.Uint64(e)),
			Epoch:            int16(binary.BigEndian.Uint16(e[8:])),
			LastTimestamp:    int64(binary.BigEndian.Uint64(e[26:])),
			CoordinatorEpoch: int32(binary.BigEndian.Uint32(e[34:])),
			TxnFirstOffset:   max(-1, int64(binary.BigEndian.Uint64(e[38:]))),
		}
		last := CachedBatch{
			LastSequence: int32(binary.BigEndian.Uint32(e[10:])),
			LastOffset:   int64(binary.BigEndian.Uint64(e[14:])),
			OffsetDelta:  int32(binary.BigEndian.Uint32(e[22:])),
			Timestamp:    p.LastTimestamp,
		}
		if last.LastOffset >= 0 {
			p.addBatch(last)
		}
		producers = append(producers, p)
	}
	return producers, nil
}
