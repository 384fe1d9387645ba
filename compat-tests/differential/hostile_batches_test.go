package differential

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rawRecord is a record whose numbers may be any, and whose parts may be left out.
type rawRecord struct {
	attributes byte
	timestamp  []byte // varints, as they are written
	offset     []byte
	key, value []byte
	headers    []byte // their number, and they
	length     func(is int64) []byte
}

func varint(v int64) []byte { return binary.AppendVarint(nil, v) }

// newRawRecord is a good one, the i-th of its batch.
func newRawRecord(i int64) *rawRecord {
	return &rawRecord{timestamp: varint(1000 * i), offset: varint(i), key: []byte("\x02k"), value: []byte("\x02v"), headers: varint(0), length: varint}
}

func (r *rawRecord) with(change func(r *rawRecord)) *rawRecord { change(r); return r }

func (r *rawRecord) appendTo(b []byte) []byte {
	body := slices.Concat([]byte{r.attributes}, r.timestamp, r.offset, r.key, r.value, r.headers)
	return append(append(b, r.length(int64(len(body)))...), body...)
}

// batchOf is a batch of these records.
func batchOf(records ...*rawRecord) *batch {
	return newBatch(make([]string, len(records))...).with(func(b *batch) {
		b.before = func(raw []byte) []byte {
			raw = raw[:61]
			for _, r := range records {
				raw = r.appendTo(raw)
			}
			binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
			return raw
		}
	})
}

// hostileBatchCases are batches whose checksum is right and whose numbers are not,
// or are as large as they can be. Each is fetched, if it was taken.
func hostileBatchCases() []spec {
	// one is a batch of a good record and one that is changed.
	one := func(change func(r *rawRecord)) *batch {
		return batchOf(newRawRecord(0), newRawRecord(1).with(change))
	}
	offsets := func(deltas ...int64) *batch {
		var records []*rawRecord
		for i, d := range deltas {
			records = append(records, newRawRecord(int64(i)).with(func(r *rawRecord) { r.offset = varint(d) }))
		}
		return batchOf(records...)
	}
	length := func(f func(is int64) int64) *batch {
		return one(func(r *rawRecord) { r.length = func(is int64) []byte { return varint(f(is)) } })
	}
	headers := func(b ...byte) *batch { return one(func(r *rawRecord) { r.headers = b }) }
	header := func(f func(b *kmsg.RecordBatch)) *batch {
		return newBatch("a", "b").with(func(b *batch) { f(&b.RecordBatch) })
	}
	times := func(base, largest int64, deltas ...int64) *batch {
		var records []*rawRecord
		for i, d := range deltas {
			records = append(records, newRawRecord(int64(i)).with(func(r *rawRecord) { r.timestamp = varint(d) }))
		}
		return batchOf(records...).with(func(b *batch) { b.FirstTimestamp, b.MaxTimestamp = base, largest })
	}
	huge := binary.AppendVarint(nil, math.MaxInt32)
	endless := slices.Repeat([]byte{0xff}, 12)
	var cases []spec
	for _, b := range []struct {
		name  string
		batch *batch
	}{
		{"count of int32 max", header(func(b *kmsg.RecordBatch) { b.NumRecords = math.MaxInt32 })},
		{"count of int32 min", header(func(b *kmsg.RecordBatch) { b.NumRecords = math.MinInt32 })},
		{"count and delta of int32 max", header(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = math.MaxInt32, math.MaxInt32-1 })},
		{"count and delta too small", header(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1, 0 })},
		{"delta of int32 max", header(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = math.MaxInt32 })},
		{"delta of int32 min", header(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = math.MinInt32 })},
		{"length of int32 max", header(func(*kmsg.RecordBatch) {}).with(func(b *batch) { b.skew = putLength(math.MaxInt32) })},
		{"length of int32 min", header(func(*kmsg.RecordBatch) {}).with(func(b *batch) { b.skew = putLength(math.MinInt32) })},
		{"length of 13", header(func(*kmsg.RecordBatch) {}).with(func(b *batch) { b.skew = putLength(13) })},
		{"length of 48", header(func(*kmsg.RecordBatch) {}).with(func(b *batch) { b.skew = putLength(48) })},
		{"length of the header", header(func(*kmsg.RecordBatch) {}).with(func(b *batch) { b.skew = putLength(49) })},
		{"attributes of all bits", header(func(b *kmsg.RecordBatch) { b.Attributes = -1 })},
		{"highest attribute", header(func(b *kmsg.RecordBatch) { b.Attributes = math.MinInt16 })},
		{"codec 5", header(func(b *kmsg.RecordBatch) { b.Attributes = 5 })},
		{"base offset of int64 min", header(func(b *kmsg.RecordBatch) { b.FirstOffset = math.MinInt64 })},
		{"base offset of int64 max", header(func(b *kmsg.RecordBatch) { b.FirstOffset = math.MaxInt64 })},

		{"offsets out of order", offsets(1, 0)},
		{"offsets twice", offsets(0, 0)},
		{"offsets with a gap", offsets(0, 5)},
		{"offsets from 1", offsets(1, 2)},
		{"offset negative", offsets(0, -1)},
		{"first offset negative", offsets(-1, 1)},
		{"offset of int32 max", offsets(0, math.MaxInt32)},
		{"offset of int32 min", offsets(0, math.MinInt32)},
		{"offset beyond int32", offsets(0, 1<<33)},

		{"record too long by 1", length(func(is int64) int64 { return is + 1 })},
		{"record too short by 1", length(func(is int64) int64 { return is - 1 })},
		{"record of length 0", length(func(int64) int64 { return 0 })},
		{"record of length 1", length(func(int64) int64 { return 1 })},
		{"record of length int32 max", length(func(int64) int64 { return math.MaxInt32 })},
		{"record of length int32 min", length(func(int64) int64 { return math.MinInt32 })},
		{"record of length -1", length(func(int64) int64 { return -1 })},
		{"record with bytes at its end", one(func(r *rawRecord) { r.headers = []byte{0, 0, 0} })},
		{"record attributes", one(func(r *rawRecord) { r.attributes = 0xff })},
		{"record cut off in its length", one(func(r *rawRecord) { *r = rawRecord{length: func(int64) []byte { return []byte{0xff} }} })},
		{"record length endless", one(func(r *rawRecord) { r.length = func(int64) []byte { return endless } })},
		{"record length in 5 bytes", one(func(r *rawRecord) {
			r.length = func(is int64) []byte { return []byte{byte(2*is) | 0x80, 0x80, 0x80, 0x80, 0} }
		})},

		{"timestamp delta endless", one(func(r *rawRecord) { r.timestamp = endless })},
		{"timestamp delta cut off", one(func(r *rawRecord) { *r = rawRecord{timestamp: []byte{0xff}, length: varint} })},
		{"offset delta endless", one(func(r *rawRecord) { r.offset = endless })},
		{"offset delta in 6 bytes", one(func(r *rawRecord) { r.offset = []byte{0x82, 0x80, 0x80, 0x80, 0x80, 0} })},
		{"offset delta with bits that fall off", one(func(r *rawRecord) { r.offset = []byte{0x82, 0x80, 0x80, 0x80, 0x70} })},
		{"timestamp delta with bits that fall off", one(func(r *rawRecord) {
			r.timestamp = []byte{0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7e}
		})},
		{"offset delta cut off", one(func(r *rawRecord) { *r = rawRecord{timestamp: varint(0), offset: []byte{0x80}, length: varint} })},

		{"key longer than the record", one(func(r *rawRecord) { r.key = varint(100) })},
		{"key of int32 max", one(func(r *rawRecord) { r.key = huge })},
		{"key of int32 min", one(func(r *rawRecord) { r.key = varint(math.MinInt32) })},
		{"key null", one(func(r *rawRecord) { r.key = varint(-1) })},
		{"key length endless", one(func(r *rawRecord) { r.key = endless })},
		{"value longer than the record", one(func(r *rawRecord) { r.value = varint(100) })},
		{"value of int32 max", one(func(r *rawRecord) { r.value = huge })},
		{"value of -2", one(func(r *rawRecord) { r.value = varint(-2) })},
		{"value missing", one(func(r *rawRecord) { r.value, r.headers = nil, nil })},
		{"value length cut off", one(func(r *rawRecord) { r.value, r.headers = []byte{0x80}, nil })},

		{"headers missing", headers()},
		{"header count cut off", headers(0x80)},
		{"header count negative", headers(1)},
		{"header count of int32 min", headers(varint(math.MinInt32)...)},
		{"header count of int32 max", headers(huge...)},
		{"header count endless", headers(endless...)},
		{"header count too large", headers(4, 2, 'h', 2, 'v')},
		{"header count too small", headers(0, 2, 'h', 2, 'v')},
		{"header of a null key", headers(2, 1, 2, 'v')},
		{"header of an empty key", headers(2, 0, 2, 'v')},
		{"header key of -2", headers(2, 3, 2, 'v')},
		{"header key of int32 max", headers(slices.Concat([]byte{2}, huge)...)},
		{"header key that is no UTF-8", headers(2, 2, 0xff, 2, 'v')},
		{"header value null", headers(2, 2, 'h', 1)},
		{"header value of -2", headers(2, 2, 'h', 3)},
		{"header value too long", headers(2, 2, 'h', 20)},
		{"header value missing", headers(2, 2, 'h')},
		{"header twice", headers(4, 2, 'h', 2, 'v', 2, 'h', 2, 'w')},

		{"timestamps of int64 max", times(math.MaxInt64, math.MaxInt64, 0)},
		{"timestamps of int64 min", times(math.MinInt64, math.MinInt64, 0)},
		{"timestamps of -2", times(-2, -2, 0)},
		{"timestamps long before 1970", times(-1<<40, -1<<40+5, 0, 5)},
		{"timestamps from -1 on", times(-1, 5, 0, 6)},
		{"timestamps down to -1", times(5, 5, 0, -6)},
		{"timestamps down to -7", times(5, 5, 0, -12)},
		{"timestamp beyond int64 max", times(math.MaxInt64, math.MaxInt64, 0, 1)},
		{"timestamp below int64 min", times(math.MinInt64, 0, 0, -1)},
		{"timestamp delta of int64 max", times(1, math.MaxInt64, 0, math.MaxInt64-1)},
		{"timestamp delta of int64 min", times(0, 0, 0, math.MinInt64)},
		{"largest timestamp of int64 max", times(firstTimestamp, math.MaxInt64, 0, 1)},
		{"largest timestamp of int64 min", times(firstTimestamp, math.MinInt64, 0, 1)},

		{"sequence of int32 min", newBatch("a").producer(firstInventedProducer, 0, math.MinInt32)},
		{"sequence of -2", newBatch("a").producer(firstInventedProducer, 0, -2)},
		{"epoch of -2", newBatch("a").producer(firstInventedProducer, -2, 0)},
		{"epoch of int16 min", newBatch("a").producer(firstInventedProducer, math.MinInt16, 0)},
		{"epoch of int16 max", newBatch("a").producer(firstInventedProducer, math.MaxInt16, 0)},
		{"producer id of -2", newBatch("a").producer(-2, 0, 0)},
		{"producer id of int64 min", newBatch("a").producer(math.MinInt64, 0, 0)},
		{"epoch without producer id", newBatch("a").producer(-1, 0, -1)},
	} {
		cases = append(cases, spec{"hostile: " + b.name, 3, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.ask(produceTo(a, 0, b.batch.bytes()))
			stored := fetchFrom(a, c.id(a), 0, 0)
			stored.SetVersion(12) // the newest that names topics
			c.ask(stored)
		}})
	}
	return append(cases, spec{"hostile: sequences beyond int32 max", 3, 0, func(c *conversation) {
		a := c.create("a", 1)
		try := func(first int32, n int) {
			c.ask(produceTo(a, 0, newBatch(make([]string, n)...).producer(firstInventedProducer, 0, first).bytes()))
		}
		try(math.MaxInt32-100, 300) // ends at 198
		try(math.MaxInt32-100, 300) // duplicate
		try(0, 1)                   // in its middle
		try(199, 1)
		try(math.MaxInt32, 1)
	}})
}

func putLength(n int32) func(raw []byte) []byte {
	return func(raw []byte) []byte { binary.BigEndian.PutUint32(raw[8:], uint32(n)); return raw }
}
