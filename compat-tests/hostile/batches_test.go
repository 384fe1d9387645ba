package hostile

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// batch is a record batch of one record; its value is compressed already if a codec
// is given: then payload is what stands for the records.
func batch(codec int16, payload []byte) []byte {
	b := kmsg.RecordBatch{
		Magic: 2, PartitionLeaderEpoch: -1, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: 1, FirstTimestamp: 1700000000000, MaxTimestamp: 1700000000000, Attributes: codec, Records: payload,
	}
	if codec == 0 {
		b.Records = records(payload)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// records is one record with that value.
func records(value []byte) []byte {
	r := kmsg.Record{Key: []byte("k"), Value: value}
	r.Length = int32(len(r.AppendTo(nil)) - 1)
	for { // the length takes more bytes the greater it is
		n := int32(len(r.AppendTo(nil)) - varintSize(r.Length))
		if n == r.Length {
			return r.AppendTo(nil)
		}
		r.Length = n
	}
}

func varintSize(n int32) int { return len(binary.AppendVarint(nil, int64(n))) }
