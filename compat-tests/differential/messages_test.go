package differential

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A message of format 0 or 1 that is built, rightly or wrongly.
type message struct {
	magic      int8
	attributes byte
	offset     int64
	timestamp  int64
	key, value []byte
	before     func(raw []byte) []byte // applied before the checksum
	skew       func(raw []byte) []byte // applied last
}

// Attributes of messages.
const (
	gzipped, snappied, lz4ed, zstded = 1, 2, 3, 4
	appendTime                       = 8
)

func newMessage(magic int8, offset int64, value string) *message {
	return &message{magic: magic, offset: offset, timestamp: firstTimestamp + 1000*offset, key: []byte("k"), value: []byte(value)}
}

func (m *message) with(change func(m *message)) *message { change(m); return m }

func (m *message) bytes() []byte {
	raw := binary.BigEndian.AppendUint64(nil, uint64(m.offset))
	raw = append(raw, make([]byte, 8)...)
	raw = append(raw, byte(m.magic), m.attributes)
	if m.magic != 0 {
		raw = binary.BigEndian.AppendUint64(raw, uint64(m.timestamp))
	}
	for _, v := range [][]byte{m.key, m.value} {
		n := int32(len(v))
		if v == nil {
			n = -1
		}
		raw = append(binary.BigEndian.AppendUint32(raw, uint32(n)), v...)
	}
	if m.before != nil {
		raw = m.before(raw)
	}
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[12:], crc32.ChecksumIEEE(raw[16:]))
	if m.skew != nil {
		raw = m.skew(raw)
	}
	return raw
}

func set(messages ...*message) []byte {
	var raw []byte
	for _, m := range messages {
		raw = append(raw, m.bytes()...)
	}
	return raw
}

// three messages with offsets from 0 on.
func three(magic int8) []*message {
	return []*message{
		newMessage(magic, 0, "a"),
		newMessage(magic, 1, strings.Repeat("b", 300)).with(func(m *message) { m.key = nil }),
		newMessage(magic, 2, "").with(func(m *message) { m.value, m.timestamp = nil, firstTimestamp-5 }),
	}
}

// wrap makes a message that holds others, compressed. Its offset and timestamp
// are the last one's.
func wrap(codec byte, messages ...*message) *message {
	return wrapBytes(codec, messages[0].magic, set(messages...)).like(messages[len(messages)-1])
}

func wrapBytes(codec byte, magic int8, inner []byte) *message {
	return &message{magic: magic, attributes: codec, timestamp: firstTimestamp, value: compress(codec, magic, inner)}
}

func (m *message) like(last *message) *message {
	m.offset, m.timestamp = last.offset, last.timestamp
	return m
}

func compress(codec byte, magic int8, raw []byte) []byte {
	var b bytes.Buffer
	switch codec {
	case gzipped:
		w := gzip.NewWriter(&b)
		w.Write(raw)
		w.Close()
	case snappied:
		return xerial.Encode(nil, raw)
	case lz4ed:
		w := lz4.NewWriter(&b)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
			panic(err)
		}
		w.Write(raw)
		w.Close()
		if magic == 0 {
			b.Bytes()[6] = 26 // as Kafka's first producers had it
		}
	default:
		return raw
	}
	return b.Bytes()
}

// messageSetCases are what Produce before version 3 may carry.
func messageSetCases() []spec {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	inner := func(magic int8, change func(m []*message)) *message {
		m := three(magic)
		change(m)
		return wrap(gzipped, m...)
	}
	cut := func(b []byte, n int) []byte { return b[:len(b)-n] }
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(raw []byte) []byte { binary.BigEndian.PutUint32(raw[at:], v); return raw }
	}
	gzipFormat1 := func(change func(m *message)) []byte { return wrap(gzipped, three(1)...).with(change).bytes() }
	sets := []struct {
		name    string
		records func() []byte
		configs [][2]string
	}{
		{"plain, format 0", func() []byte { return set(three(0)...) }, nil},
		{"plain, format 1", func() []byte { return set(three(1)...) }, nil},
		{"plain, marked LogAppendTime", func() []byte {
			return set(newMessage(1, 0, "a").with(func(m *message) { m.attributes = appendTime }))
		}, nil},
		{"plain, marked LogAppendTime without timestamp", func() []byte {
			return set(newMessage(1, 0, "a").with(func(m *message) { m.attributes, m.timestamp = appendTime, -1 }))
		}, nil},
		{"plain, format 0 marked LogAppendTime", func() []byte {
			return set(newMessage(0, 0, "a").with(func(m *message) { m.attributes = appendTime }))
		}, nil},
		{"plain, no timestamp", func() []byte { return set(newMessage(1, 0, "a").with(func(m *message) { m.timestamp = -1 })) }, nil},
		{"plain, negative timestamp", func() []byte { return set(newMessage(1, 0, "a").with(func(m *message) { m.timestamp = -5 })) }, nil},
		{"plain, any offsets", func() []byte { return set(newMessage(1, 70, "a"), newMessage(1, -3, "b"), newMessage(1, 70, "c")) }, nil},
		{"plain, unused attributes", func() []byte { return set(newMessage(1, 0, "a").with(func(m *message) { m.attributes = 0xf0 })) }, nil},
		{"plain, bytes after the value", func() []byte {
			return set(newMessage(1, 0, "a").with(func(m *message) { m.before = func(b []byte) []byte { return append(b, 1, 2, 3) } }))
		}, nil},
		{"plain, key does not fit", func() []byte {
			return set(newMessage(1, 0, "a").with(func(m *message) { m.before = put32(26, 1000) }))
		}, nil},
		{"plain, value does not fit", func() []byte {
			return set(newMessage(1, 0, "a").with(func(m *message) { m.before = put32(31, 2) }))
		}, nil},
		{"plain, key of length -2", func() []byte {
			return set(newMessage(0, 0, "a").with(func(m *message) { m.key, m.before = nil, put32(18, 0xfffffffe) }))
		}, nil},
		{"plain, format 1 of 14 bytes", func() []byte {
			return set(newMessage(1, 0, "").with(func(m *message) { m.before = func(b []byte) []byte { return b[:26] } }))
		}, nil},
		{"plain, unknown codec 7", func() []byte { return set(newMessage(1, 0, "a").with(func(m *message) { m.attributes = 7 })) }, nil},
		{"no whole message", func() []byte { return cut(set(newMessage(1, 0, "a")), 1) }, nil},
		{"no records", func() []byte { return []byte{} }, nil},
		{"cut off", func() []byte { return cut(set(three(1)...), 3) }, nil},
		{"checksum of the first", func() []byte { return put32(12, 5)(set(three(1)...)) }, nil},
		{"checksum of the last", func() []byte { b := set(three(1)...); b[len(b)-5] ^= 1; return b }, nil},
		{"size 13", func() []byte { return put32(8, 13)(set(newMessage(1, 0, "a"))) }, nil},
		{"size negative", func() []byte { return put32(8, 0xffffffff)(set(newMessage(1, 0, "a"))) }, nil},
		{"second of magic 3", func() []byte { b := set(newMessage(1, 0, "a"), newMessage(1, 0, "b")); b[len(b)/2+16] = 3; return b }, nil},
		{"formats 0 and 1", func() []byte { return set(newMessage(0, 0, "a"), newMessage(1, 1, "b")) }, nil},
		{"formats 1 and 0", func() []byte { return set(newMessage(1, 0, "a"), newMessage(0, 1, "b")) }, nil},
		{"format 1 and a batch", func() []byte { return join(set(newMessage(1, 0, "a")), newBatch("b").bytes()) }, nil},
		{"a batch and format 1", func() []byte { return join(newBatch("b").bytes(), set(newMessage(1, 0, "a"))) }, nil},
		{"gzip, format 0", func() []byte { return wrap(gzipped, three(0)...).bytes() }, nil},
		{"gzip, format 1", func() []byte { return wrap(gzipped, three(1)...).bytes() }, nil},
		{"snappy, format 0", func() []byte { return wrap(snappied, three(0)...).bytes() }, nil},
		{"snappy, format 1", func() []byte { return wrap(snappied, three(1)...).bytes() }, nil},
		{"lz4, format 0", func() []byte { return wrap(lz4ed, three(0)...).bytes() }, nil},
		{"lz4, format 0 with a right checksum", func() []byte {
			m := wrap(lz4ed, three(0)...)
			m.value[6] = 0x82
			return m.bytes()
		}, nil},
		{"lz4, format 1", func() []byte { return wrap(lz4ed, three(1)...).bytes() }, nil},
		{"lz4, format 1 with the checksum of format 0", func() []byte {
			m := wrap(lz4ed, three(1)...)
			m.value[6] = 26
			return m.bytes()
		}, nil},
		{"zstd", func() []byte { return wrap(zstded, three(1)...).bytes() }, nil},
		{"gzip, wrapper of offset 0", func() []byte { return gzipFormat1(func(m *message) { m.offset = 0 }) }, nil},
		{"gzip, wrapper of offset 1", func() []byte { return gzipFormat1(func(m *message) { m.offset = 1 }) }, nil},
		{"gzip, wrapper of offset 100", func() []byte { return gzipFormat1(func(m *message) { m.offset = 100 }) }, nil},
		{"gzip, wrapper of format 0 and offset 1", func() []byte { return wrap(gzipped, three(0)...).with(func(m *message) { m.offset = 1 }).bytes() }, nil},
		{"gzip, wrapper with a key", func() []byte { return gzipFormat1(func(m *message) { m.key = []byte("k") }) }, nil},
		{"gzip, wrapper without value", func() []byte { return gzipFormat1(func(m *message) { m.value = nil }) }, nil},
		{"gzip, empty value", func() []byte { return gzipFormat1(func(m *message) { m.value = []byte{} }) }, nil},
		{"gzip that is none", func() []byte { return gzipFormat1(func(m *message) { m.value = []byte("hello hello hello") }) }, nil},
		{"snappy that is none", func() []byte { return gzipFormat1(func(m *message) { m.attributes = snappied }) }, nil},
		{"lz4 that is none", func() []byte { return gzipFormat1(func(m *message) { m.attributes = lz4ed }) }, nil},
		{"gzip of nothing", func() []byte { return wrapBytes(gzipped, 1, nil).bytes() }, nil},
		{"gzip, cut off inside", func() []byte { return wrapBytes(gzipped, 1, cut(set(three(1)...), 3)).bytes() }, nil},
		{"gzip, only a part inside", func() []byte { return wrapBytes(gzipped, 1, cut(set(newMessage(1, 0, "a")), 3)).bytes() }, nil},
		{"gzip, size 13 inside", func() []byte { return wrapBytes(gzipped, 1, put32(8, 13)(set(newMessage(1, 0, "a")))).bytes() }, nil},
		{"gzip, checksum inside", func() []byte { return inner(1, func(m []*message) { m[1].skew = put32(12, 1) }).bytes() }, nil},
		{"gzip, other format inside", func() []byte { return inner(1, func(m []*message) { m[1].magic = 0 }).bytes() }, nil},
		{"gzip, compressed inside", func() []byte {
			return inner(1, func(m []*message) { m[1] = wrap(gzipped, newMessage(1, 1, "x")) }).bytes()
		}, nil},
		{"gzip, marked LogAppendTime", func() []byte { return gzipFormat1(func(m *message) { m.attributes |= appendTime }) }, nil},
		{"gzip, LogAppendTime without timestamp", func() []byte {
			return gzipFormat1(func(m *message) { m.attributes |= appendTime; m.timestamp = -1 })
		}, nil},
		{"gzip, LogAppendTime inside", func() []byte { return inner(1, func(m []*message) { m[1].attributes = appendTime }).bytes() }, nil},
		{"gzip, absolute offsets inside", func() []byte {
			return inner(1, func(m []*message) { m[0].offset, m[1].offset, m[2].offset = 10, 11, 12 }).bytes()
		}, nil},
		{"two gzip", func() []byte { return join(wrap(gzipped, three(1)...).bytes(), wrap(gzipped, three(1)...).bytes()) }, nil},
		{"gzip and plain", func() []byte { return join(wrap(gzipped, three(1)...).bytes(), set(newMessage(1, 3, "d"))) }, nil},
		{"plain and gzip", func() []byte { return join(set(newMessage(1, 0, "d")), wrap(gzipped, three(1)...).bytes()) }, nil},

		{"compacted topic, plain without a key", func() []byte { return set(three(1)...) }, [][2]string{{"cleanup.policy", "compact"}}},
		{"compacted topic, gzip without a key", func() []byte { return wrap(gzipped, three(0)...).bytes() }, [][2]string{{"cleanup.policy", "compact"}}},
		{"compacted topic, keys", func() []byte { return set(newMessage(0, 0, "a"), newMessage(0, 1, "b")) }, [][2]string{{"cleanup.policy", "compact"}}},
		{"timestamp bounds, plain", func() []byte { return set(three(1)...) }, [][2]string{{"message.timestamp.before.max.ms", "3600000"}}},
		{"timestamp bounds, format 0", func() []byte { return set(three(0)...) }, [][2]string{{"message.timestamp.before.max.ms", "3600000"}}},
		{"timestamp bounds, gzip", func() []byte { return wrap(gzipped, three(1)...).bytes() }, [][2]string{{"message.timestamp.before.max.ms", "3600000"}}},
		{"timestamp bounds, gzip marked LogAppendTime", func() []byte {
			return gzipFormat1(func(m *message) { m.attributes |= appendTime; m.timestamp = time.Now().UnixMilli() })
		}, [][2]string{{"message.timestamp.before.max.ms", "3600000"}}},
		{"log append time, plain", func() []byte { return set(three(1)...) }, [][2]string{{"message.timestamp.type", "LogAppendTime"}}},
		{"log append time, format 0", func() []byte { return set(three(0)...) }, [][2]string{{"message.timestamp.type", "LogAppendTime"}}},
		{"log append time, gzip", func() []byte { return wrap(gzipped, three(1)...).bytes() }, [][2]string{{"message.timestamp.type", "LogAppendTime"}}},
		{"log append time, plain that says so itself", func() []byte {
			return set(newMessage(1, 0, "a").with(func(m *message) { m.attributes = appendTime }))
		}, [][2]string{{"message.timestamp.type", "LogAppendTime"}}},
		{"compression.type gzip, plain", func() []byte { return set(three(1)...) }, [][2]string{{"compression.type", "gzip"}}},
		{"compression.type zstd, snappy", func() []byte { return wrap(snappied, three(1)...).bytes() }, [][2]string{{"compression.type", "zstd"}}},
		{"compression.type uncompressed, gzip", func() []byte { return wrap(gzipped, three(0)...).bytes() }, [][2]string{{"compression.type", "uncompressed"}}},
		{"max.message.bytes, plain too large together", func() []byte { return set(three(1)[:2]...) }, [][2]string{{"max.message.bytes", "370"}}},
		{"max.message.bytes, one is too large", func() []byte { return set(three(1)...) }, [][2]string{{"max.message.bytes", "300"}}},
		{"max.message.bytes, gzip too large when uncompressed", func() []byte { return wrap(gzipped, three(1)...).bytes() },
			[][2]string{{"max.message.bytes", "300"}, {"compression.type", "uncompressed"}}},
		{"larger than a segment", func() []byte { return set(three(1)...) }, [][2]string{{"segment.bytes", "200"}}},
	}
	var cases []spec
	for _, s := range sets {
		cases = append(cases, spec{"set: " + s.name, 0, 3, func(c *conversation) {
			a := c.create("a", 1, s.configs...)
			for range 2 { // what begins at offset 0 may look right where it is not
				c.ask(produceTo(a, 0, s.records()))
			}
			c.ask(c.stored(a))
		}})
	}
	return append(cases,
		spec{"set: acks", 0, 2, func(c *conversation) {
			a := c.create("a", 1)
			for _, acks := range []int16{1, -1, 2} {
				req := produceTo(a, 0, set(three(1)...))
				req.Acks = acks
				c.ask(req)
			}
			req := produceTo(a, 0, set(three(0)...))
			req.Acks = 0
			c.unanswered(req)
			c.ask(produceTo(a, 0, set(three(1)...)))
			req = produceTo(a, 0, set(newMessage(0, 0, "a"), newMessage(1, 1, "b")))
			req.Acks = 0
			c.unanswered(req)
		}},
		spec{"set: several partitions", 0, 2, func(c *conversation) {
			a := c.create("a", 2)
			req := produceTo(a, 0, set(three(1)...))
			addProduce(req, a, 1, wrap(gzipped, three(0)...).bytes())
			addProduce(req, c.topic("z"), 0, set(three(0)...))
			c.ask(req)
		}})
}

// stored asks for all that is in partition 0 as it is stored.
func (c *conversation) stored(topic string) kmsg.Request {
	req := fetchFrom(topic, [16]byte{}, 0, 0)
	req.SetVersion(12)
	return req
}

// downConversionCases are what Fetch before version 4 makes of batches.
func downConversionCases() []spec {
	put := func(c *conversation, topic string, records []byte) {
		c.t.Helper()
		resp := c.quietly(produceTo(topic, 0, records)).(*kmsg.ProduceResponse)
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			c.t.Fatalf("%s: cannot produce: error code %d", c.target.name, code)
		}
	}
	// fetch asks with a limit for the partition, 0 for none.
	fetch := func(c *conversation, topic string, offset int64, limit int32) {
		req := fetchFrom(topic, [16]byte{}, 0, offset)
		if limit != 0 {
			req.Topics[0].Partitions[0].PartitionMaxBytes = limit
		}
		c.ask(req)
	}
	compressed := func(codec int16, values ...string) []byte {
		return newBatch(values...).with(func(b *batch) {
			b.Attributes |= codec
			b.before = func(raw []byte) []byte {
				raw = append(raw[:61], compressBatch(codec, raw[61:])...)
				binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
				return raw
			}
		}).bytes()
	}
	cases := []spec{
		{"converted: headers, nulls and timestamps", 0, 3, func(c *conversation) {
			a := c.create("a", 1)
			b := newBatch("", "", "").with(func(b *batch) {
				b.before = func(raw []byte) []byte {
					raw = raw[:61]
					for i, r := range []kmsg.Record{
						{Key: nil, Value: []byte("v"), Headers: []kmsg.Header{{Key: "h", Value: []byte("w")}, {Key: "g", Value: []byte{}}}},
						{Key: []byte("k"), Value: nil, TimestampDelta64: -3},
						{Key: []byte{}, Value: []byte{}, TimestampDelta64: 70_000},
					} {
						r.OffsetDelta = int32(i)
						r.Length = int32(len(r.AppendTo(nil)) - 1)
						raw = r.AppendTo(raw)
					}
					binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
					return raw
				}
			})
			put(c, a, b.bytes())
			put(c, a, newBatch("x").with(func(b *batch) { b.FirstTimestamp, b.MaxTimestamp = -1, -1 }).bytes())
			for offset := range int64(5) {
				fetch(c, a, offset, 0)
			}
		}},
		{"converted: log append time", 0, 3, func(c *conversation) {
			a := c.create("a", 1, [2]string{"message.timestamp.type", "LogAppendTime"})
			put(c, a, newBatch("a", "b").bytes())
			fetch(c, a, 0, 0)
			put(c, a, compressed(gzipped, "c", "d"))
			fetch(c, a, 2, 0)
		}},
		{"converted: limits", 0, 3, func(c *conversation) {
			a := c.create("a", 1)
			for range 3 {
				put(c, a, newBatch("a", strings.Repeat("b", 20), "c").bytes())
			}
			for _, limit := range []int32{1, 60, 100, 115, 116, 117, 118, 120, 130, 150, 200, 240, 300, 360, 500, 1000} {
				fetch(c, a, 0, limit)
			}
			for _, limit := range []int32{100, 300} {
				fetch(c, a, 2, limit)
				fetch(c, a, 8, limit)
			}
		}},
		{"converted: wide records", 0, 3, func(c *conversation) { // to less than they were
			a := c.create("a", 1)
			put(c, a, compressed(gzipped, strings.Repeat("x", 1000)))
			put(c, a, newBatch("a").bytes())
			put(c, a, newBatch("b").bytes())
			fetch(c, a, 0, 0)
			fetch(c, a, 2, 0)
		}},
		{"converted: too large for what remains", 0, 3, func(c *conversation) {
			a := c.create("a", 2)
			put(c, a, newBatch("a", "b").bytes())
			c.fill(a, 1, 2)
			req := fetchFrom(a, [16]byte{}, 0, 0)
			addFetch(req, a, [16]byte{}, 1, 0)
			req.MaxBytes = 100
			c.ask(req)
			req = fetchFrom(a, [16]byte{}, 0, 0)
			addFetch(req, a, [16]byte{}, 1, 0).PartitionMaxBytes = 10
			req.MaxWaitMillis, req.MinBytes = 5000, 1<<20 // answered at once, for there is more than fits
			c.ask(req)
		}},
		{"converted: zstd", 0, 3, func(c *conversation) {
			a := c.create("a", 1)
			put(c, a, compressed(zstded, "a", "b"))
			put(c, a, newBatch("c").bytes())
			fetch(c, a, 0, 0)
			fetch(c, a, 2, 0)
		}},
		{"converted: zstd behind others", 0, 3, func(c *conversation) {
			a := c.create("a", 1)
			put(c, a, newBatch("c").bytes())
			put(c, a, compressed(zstded, "a", "b"))
			fetch(c, a, 0, 0)
		}},
		{"compression.type zstd", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"compression.type", "zstd"})
			req := fetchFrom(a, c.id(a), 0, 0)
			c.ask(req)
			put(c, a, newBatch("a").bytes())
			c.ask(req)
			req.Topics[0].Partitions[0].FetchOffset = 5
			c.ask(req)
		}},
		{"message.downconversion.enable=false", 0, 5, func(c *conversation) {
			a := c.create("a", 1, [2]string{"message.downconversion.enable", "false"})
			fetch(c, a, 0, 0)
			put(c, a, newBatch("a").bytes())
			fetch(c, a, 0, 0)
			fetch(c, a, 5, 0)
			req := fetchFrom(a, [16]byte{}, 0, 0)
			addFetch(req, a, [16]byte{}, 1, 0)
			addFetch(req, c.topic("z"), [16]byte{}, 1, 0)
			c.ask(req)
		}},
	}
	for _, codec := range []struct {
		name string
		id   int16
	}{{"gzip", gzipped}, {"snappy", snappied}, {"lz4", lz4ed}} {
		cases = append(cases, spec{"converted: " + codec.name, 0, 3, func(c *conversation) {
			// One batch, for how much of a second one fits depends on the compressor.
			a := c.create("a", 1)
			put(c, a, compressed(codec.id, "a", strings.Repeat("b", 2000), "c"))
			for offset := range int64(4) {
				fetch(c, a, offset, 0)
			}
		}})
	}
	return cases
}
