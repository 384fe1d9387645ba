package differential

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func produceCases() []spec {
	one := func(partition int32, records func() []byte) func(c *conversation) {
		return func(c *conversation) { c.ask(produceTo(c.create("a", 1), partition, records())) }
	}
	raw := func(b *batch) func() []byte { return b.bytes }
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(raw []byte) []byte { binary.BigEndian.PutUint32(raw[at:], v); return raw }
	}
	before := func(f func([]byte) []byte) func() []byte {
		return newBatch("a", "b").with(func(b *batch) { b.before = f }).bytes
	}
	after := func(f func([]byte) []byte) func() []byte {
		return newBatch("a", "b").with(func(b *batch) { b.skew = f }).bytes
	}
	// Not asked: null for records. Kafka fails over it and never answers.
	bad := []struct {
		name    string
		records func() []byte
	}{
		{"no records", func() []byte { return []byte{} }},
		{"a few bytes", func() []byte { return []byte{1, 2, 3} }},
		{"61 zero bytes", func() []byte { return make([]byte, 61) }},
		{"checksum", after(put32(17, 1))},
		{"magic 3", before(func(b []byte) []byte { b[16] = 3; return b })},
		{"magic 1", before(func(b []byte) []byte { b[16] = 1; return b })},
		{"magic 0", before(func(b []byte) []byte { b[16] = 0; return b })},
		{"magic -1", before(func(b []byte) []byte { b[16] = 0xff; return b })},
		{"count too large", before(put32(57, 3))},
		{"count too small", before(put32(57, 1))},
		{"count 0", before(put32(57, 0))},
		{"count negative", before(put32(57, 0xffffffff))},
		{"delta too large", before(put32(23, 5))},
		{"delta too small", before(put32(23, 0))},
		{"delta negative", before(put32(23, 0xffffffff))},
		{"count and delta too large", before(func(b []byte) []byte { return put32(23, 2)(put32(57, 3)(b)) })},
		{"length too large", after(put32(8, 1000))},
		{"length too small", after(put32(8, 50))},
		{"length tiny", after(put32(8, 3))},
		{"length negative", after(put32(8, 0xffffffff))},
		{"truncated", after(func(b []byte) []byte { return b[:len(b)-3] })},
		{"bytes after", after(func(b []byte) []byte { return append(b, 1, 2, 3) })},
		{"two batches", after(func(b []byte) []byte { return append(b, b...) })},
		{"control", raw(newBatch("a").with(func(b *batch) { b.Attributes = 0x20 }))},
		{"transactional without producer", raw(newBatch("a").with(func(b *batch) { b.Attributes = 0x10 }))},
		{"log append time set by client", raw(newBatch("a").with(func(b *batch) { b.Attributes = 8 }))},
		{"unknown codec 7", raw(newBatch("a").with(func(b *batch) { b.Attributes = 7 }))},
		{"gzip that is none", raw(newBatch("a").with(func(b *batch) { b.Attributes = 1 }))},
		{"snappy that is none", raw(newBatch("a").with(func(b *batch) { b.Attributes = 2 }))},
		{"lz4 that is none", raw(newBatch("a").with(func(b *batch) { b.Attributes = 3 }))},
		{"zstd that is none", raw(newBatch("a").with(func(b *batch) { b.Attributes = 4 }))},
		{"unused attributes", raw(newBatch("a").with(func(b *batch) { b.Attributes = 0x700 }))},
		{"delete horizon", raw(newBatch("a").with(func(b *batch) { b.Attributes = 0x40 }))},
		{"base offset not 0", raw(newBatch("a").with(func(b *batch) { b.FirstOffset = 42 }))},
		{"base offset negative", raw(newBatch("a").with(func(b *batch) { b.FirstOffset = -42 }))},
		{"leader epoch set", raw(newBatch("a").with(func(b *batch) { b.PartitionLeaderEpoch = 77 }))},
		{"max timestamp wrong", raw(newBatch("a", "b").with(func(b *batch) { b.MaxTimestamp = 5 }))},
		{"max timestamp -1", raw(newBatch("a", "b").with(func(b *batch) { b.MaxTimestamp = -1 }))},
		{"timestamps -1", raw(newBatch("a").with(func(b *batch) { b.MaxTimestamp, b.FirstTimestamp = -1, -1 }))},
		{"timestamp far ahead", raw(newBatch("a").with(func(b *batch) { b.MaxTimestamp, b.FirstTimestamp = 1<<52, 1<<52 }))},
		{"record garbage", before(func(b []byte) []byte { return append(b[:61], 0xff, 0xff, 0xff, 0xff) })},
		{"record of negative length", before(func(b []byte) []byte { return append(b[:61], 1, 1, 1, 1, 1, 1) })},
		{"bytes after the records", before(func(b []byte) []byte {
			b = append(b, 0, 0)
			binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
			return b
		})},
		{"producer id without sequence", raw(newBatch("a").with(func(b *batch) { b.ProducerID, b.ProducerEpoch = firstInventedProducer, 0 }))},
		{"producer id without epoch", raw(newBatch("a").with(func(b *batch) { b.ProducerID, b.FirstSequence = firstInventedProducer, 0 }))},
		{"sequence without producer id", raw(newBatch("a").with(func(b *batch) { b.FirstSequence = 3 }))},
		{"too large for the topic", raw(newBatch(strings.Repeat("x", 100_000)))},
	}
	cases := []spec{
		{"plain", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			req := produceTo(a, 0, newBatch("a", "b").bytes())
			addProduce(req, a, 1, newBatch("c").bytes())
			c.ask(req)
			c.ask(produceTo(a, 0, newBatch("a", "b", "c").bytes()))
		}},
		{"acks", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, acks := range []int16{1, -1, 2, -2, 32767} {
				req := produceTo(a, 0, newBatch("a").bytes())
				req.Acks = acks
				c.ask(req)
			}
			req := produceTo(a, 0, newBatch("a").bytes())
			req.Acks = 1
			req.TimeoutMillis = 0
			c.ask(req)
			req.Acks, req.TimeoutMillis = -1, -5
			c.ask(req)
		}},
		{"acks 0", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			req := produceTo(a, 0, newBatch("a").bytes())
			req.Acks = 0
			c.unanswered(req)
			c.ask(produceTo(a, 0, newBatch("a").bytes()))
			req = produceTo(c.topic("unknown"), 0, newBatch("a").bytes())
			req.Acks = 0
			c.unanswered(req)
		}},
		{"unknown topic and partition", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			req := produceTo(c.topic("z"), 0, newBatch("a").bytes())
			addProduce(req, a, 1, newBatch("a").bytes())
			addProduce(req, a, 0, newBatch("a").bytes())
			addProduce(req, a, -1, newBatch("a").bytes())
			addProduce(req, "a b", 0, newBatch("a").bytes())
			addProduce(req, "", 0, newBatch("a").bytes())
			c.ask(req)
		}},
		{"nothing", 0, 0, func(c *conversation) {
			req := kmsg.NewPtrProduceRequest()
			req.Acks = -1
			c.ask(req)
			t := kmsg.NewProduceRequestTopic()
			t.Topic = c.topic("a")
			req.Topics = append(req.Topics, t)
			c.ask(req)
		}},
		{"a partition twice", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			req := produceTo(a, 0, newBatch("a").bytes())
			addProduce(req, a, 0, newBatch("b", "c").bytes())
			c.ask(req)
			c.ask(produceTo(a, 0, newBatch("b").bytes()))
		}},
		{"transactional id", 0, 0, func(c *conversation) {
			req := produceTo(c.create("a", 1), 0, newBatch("a").bytes())
			req.TransactionID = ptr("tx")
			c.ask(req)
		}},
		{"idempotence", 0, 0, func(c *conversation) {
			a, id := c.create("a", 1), c.producerID()
			try := func(epoch int16, seq int32, n int) {
				c.ask(produceTo(a, 0, newBatch(make([]string, n)...).producer(id, epoch, seq).bytes()))
			}
			try(0, 0, 2)
			try(0, 0, 2) // duplicate
			try(0, 0, 1) // begins like it
			try(0, 2, 1)
			try(0, 4, 1) // gap
			try(0, 3, 1)
			try(0, 4, 1)
			try(0, 5, 1)
			try(0, 6, 1)
			try(0, 7, 1)
			try(0, 0, 2) // older than the five kept
			try(0, 3, 1)
			try(1, 1, 1) // new epoch must begin at 0
			try(1, 0, 1)
			try(0, 8, 1) // old epoch
			try(1, 1, 1)
			try(-1, 2, 1)
			try(1, -1, 1)
		}},
		{"idempotence: unknown producer", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.ask(produceTo(a, 0, newBatch("a").producer(firstInventedProducer, 3, 5).bytes()))
			c.ask(produceTo(a, 0, newBatch("a").producer(firstInventedProducer, 3, 6).bytes()))
			c.ask(produceTo(a, 0, newBatch("a").producer(firstInventedProducer, 2, 7).bytes()))
		}},
		{"idempotence: wrap", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.ask(produceTo(a, 0, newBatch("a", "b").producer(firstInventedProducer, 0, 2147483646).bytes()))
			c.ask(produceTo(a, 0, newBatch("a").producer(firstInventedProducer, 0, 0).bytes()))
			c.ask(produceTo(a, 0, newBatch("a", "b", "c").producer(firstInventedProducer+1, 0, 2147483646).bytes()))
			c.ask(produceTo(a, 0, newBatch("a").producer(firstInventedProducer+1, 0, 1).bytes()))
		}},
		{"transactional batch without transaction", 0, 0, func(c *conversation) {
			a, id := c.create("a", 1), c.producerID()
			req := produceTo(a, 0, newBatch("a").producer(id, 0, 0).with(func(b *batch) { b.Attributes = 0x10 }).bytes())
			req.TransactionID = ptr("tx")
			c.norm.strip = map[string]bool{}
			c.ask(req)
		}},
		{"compacted topic", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"cleanup.policy", "compact"})
			c.ask(produceTo(a, 0, newBatch("a").bytes()))
			b := newBatch("a", "b")
			keyless := kmsg.Record{Value: []byte("v")}
			keyless.Length = int32(len(keyless.AppendTo(nil)) - 1)
			b.before = func(raw []byte) []byte {
				first := keyless.AppendTo(nil)
				keyless.OffsetDelta = 1
				raw = append(append(raw[:61], first...), keyless.AppendTo(nil)...)
				binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
				return raw
			}
			c.ask(produceTo(a, 0, b.bytes()))
			for _, codec := range []byte{0, gzipped, snappied, lz4ed} {
				c.ask(produceTo(a, 0, secondWithoutKey(codec).bytes()))
			}
		}},
		{"log append time", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"message.timestamp.type", "LogAppendTime"})
			c.ask(produceTo(a, 0, newBatch("a").bytes()))
		}},
		{"timestamp bounds", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"message.timestamp.before.max.ms", "3600000"}, [2]string{"message.timestamp.after.max.ms", "3600000"})
			c.norm.strip = map[string]bool{"ErrorMessage": true} // has the time in it
			for _, at := range []int64{time.Now().UnixMilli(), 1700000000000, time.Now().UnixMilli() + 7200_000} {
				c.ask(produceTo(a, 0, newBatch("a").with(func(b *batch) { b.FirstTimestamp, b.MaxTimestamp = at, at }).bytes()))
			}
		}},
		{"max.message.bytes", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"max.message.bytes", "200"})
			for _, n := range []int{100, 128, 129, 130, 131, 132, 133, 200} {
				c.ask(produceTo(a, 0, newBatch(strings.Repeat("x", n)).bytes()))
			}
		}},
		{"larger than a segment", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"segment.bytes", "100"})
			c.ask(produceTo(a, 0, newBatch(strings.Repeat("x", 100)).bytes()))
			c.ask(produceTo(a, 0, newBatch("x").bytes()))
		}},
		{"min.insync.replicas", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"min.insync.replicas", "2"})
			for _, acks := range []int16{-1, 1} {
				req := produceTo(a, 0, newBatch("a").bytes())
				req.Acks = acks
				c.ask(req)
			}
		}},
	}
	for _, b := range bad {
		cases = append(cases, spec{"records: " + b.name, 0, 0, one(0, b.records)})
	}
	return slices.Concat(cases, hostileBatchCases(), messageSetCases())
}

func fetchFrom(topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionID, req.SessionEpoch = 0, 0, 1<<20, 0, -1
	addFetch(req, topic, id, partition, offset)
	return req
}

func addFetch(req *kmsg.FetchRequest, topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != topic {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = topic, id
		req.Topics = append(req.Topics, t)
	}
	t := &req.Topics[len(req.Topics)-1]
	t.Partitions = append(t.Partitions, p)
	return &t.Partitions[len(t.Partitions)-1]
}

func fetchCases() []spec {
	// a topic of two partitions, four batches (offsets 0 to 7) in the first
	filled := func(c *conversation) (string, [16]byte) {
		a := c.create("a", 2)
		c.fill(a, 0, 4)
		return a, c.id(a)
	}
	none := [16]byte{}
	return slices.Concat(downConversionCases(), oldSegmentFetches(), []spec{
		{"offsets", 0, 0, func(c *conversation) {
			a, id := filled(c)
			for _, o := range []int64{0, 1, 6, 7, 8, 9, -1, -2, 1 << 40} {
				c.ask(fetchFrom(a, id, 0, o))
			}
		}},
		{"unknown", 0, 0, func(c *conversation) {
			a, id := filled(c)
			req := fetchFrom(a, id, 1, 0) // first, as Kafka answers what it reads before what it refuses
			addFetch(req, c.topic("z"), invented, 0, 0)
			addFetch(req, a, id, 5, 0)
			addFetch(req, a, id, -1, 0)
			c.ask(req)
			c.ask(fetchFrom("a b", none, 0, 0))
			c.ask(fetchFrom("", none, 0, 0))
		}},
		{"nothing", 0, 0, func(c *conversation) {
			req := kmsg.NewPtrFetchRequest()
			req.SessionEpoch = -1
			c.ask(req)
		}},
		{"sizes", 0, 0, func(c *conversation) {
			a, id := filled(c)
			c.fill(a, 1, 2)
			for _, s := range [][2]int32{{0, 1 << 20}, {1, 1 << 20}, {100, 1 << 20}, {200, 1 << 20}, {1 << 20, 0}, {1 << 20, 1}, {1 << 20, 100}, {1 << 20, 200}, {200, 200}, {-1, 1 << 20}, {1 << 20, -1}, {2147483647, 2147483647}} {
				req := fetchFrom(a, id, 0, 2)
				addFetch(req, a, id, 1, 0)
				req.MaxBytes = s[0]
				for i := range req.Topics[0].Partitions {
					req.Topics[0].Partitions[i].PartitionMaxBytes = s[1]
				}
				c.ask(req)
			}
		}},
		{"waiting", 0, 0, func(c *conversation) {
			a, id := filled(c)
			for _, w := range [][2]int32{{30, 1}, {30, 1 << 20}, {0, 1}, {-1, 1}, {30, 0}, {30, -1}} {
				req := fetchFrom(a, id, 0, 8)
				req.MaxWaitMillis, req.MinBytes = w[0], w[1]
				c.ask(req)
			}
			req := fetchFrom(a, id, 0, 6)
			req.MaxWaitMillis, req.MinBytes = 30, 1<<20
			c.ask(req)
		}},
		{"leader epochs", 9, 0, func(c *conversation) {
			a, id := filled(c)
			for _, e := range []int32{0, 1, -2, 5, -1} {
				req := fetchFrom(a, id, 0, 0)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = e
				c.ask(req)
			}
		}},
		{"last fetched epochs", 12, 0, func(c *conversation) {
			a, id := filled(c)
			for _, e := range [][2]int64{{0, 2}, {1, 2}, {0, 9}, {5, 0}, {-1, 0}, {0, 8}, {3, 8}, {-2, 0}} {
				req := fetchFrom(a, id, 0, e[1])
				req.Topics[0].Partitions[0].LastFetchedEpoch = int32(e[0])
				c.ask(req)
			}
		}},
		{"isolation", 4, 0, func(c *conversation) {
			a, id := filled(c)
			for _, i := range []int8{0, 1, 2, -1} {
				req := fetchFrom(a, id, 0, 4)
				req.IsolationLevel = i
				c.ask(req)
			}
		}},
		{"read committed, open transaction", 4, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 1)
			id := c.id(a)
			req := fetchFrom(a, id, 0, 0)
			req.IsolationLevel = 1
			c.ask(req)
		}},
		{"log start", 5, 0, func(c *conversation) {
			a, id := filled(c)
			c.deleteBefore(a, 3)
			for _, o := range []int64{0, 2, 3, 8} {
				req := fetchFrom(a, id, 0, o)
				req.Topics[0].Partitions[0].LogStartOffset = 2
				c.ask(req)
			}
		}},
		{"replicas", 0, 14, func(c *conversation) {
			a, id := filled(c)
			for _, r := range []int32{1, 7, -2, -3} {
				req := fetchFrom(a, id, 0, 0)
				req.ReplicaID = r
				c.ask(req)
			}
		}},
		{"replica state", 15, 0, func(c *conversation) {
			a, id := filled(c)
			for _, r := range []int32{1, 7, -2} {
				req := fetchFrom(a, id, 0, 0)
				req.ReplicaState.ID, req.ReplicaState.Epoch = r, 5
				c.ask(req)
			}
		}},
		{"rack", 11, 0, func(c *conversation) {
			a, id := filled(c)
			req := fetchFrom(a, id, 0, 6)
			req.Rack = "somewhere"
			c.ask(req)
		}},
		{"topic ids", 13, 0, func(c *conversation) {
			a, id := filled(c)
			c.ask(fetchFrom("", none, 0, 0))
			c.ask(fetchFrom("", invented, 0, 0))
			req := fetchFrom("x", invented, 0, 0)
			addFetch(req, a, id, 0, 6)
			c.ask(req)
			b := c.create("b", 1)
			idb := c.id(b)
			c.remove(b)
			c.ask(fetchFrom(b, idb, 0, 0))
		}},
		{"a partition twice", 0, 0, func(c *conversation) {
			a, id := filled(c)
			req := fetchFrom(a, id, 0, 6)
			addFetch(req, a, id, 0, 4)
			c.ask(req)
		}},
		{"sessions", 7, 0, func(c *conversation) {
			a, id := filled(c)
			session := func(sid, epoch int32, req *kmsg.FetchRequest) *kmsg.FetchResponse {
				req.SessionID, req.SessionEpoch = sid, epoch
				resp, _ := c.ask(req).(*kmsg.FetchResponse)
				if resp == nil {
					resp = &kmsg.FetchResponse{}
				}
				return resp
			}
			empty := func() *kmsg.FetchRequest {
				req := fetchFrom(a, id, 0, 0)
				req.Topics = nil
				return req
			}
			full := func() *kmsg.FetchRequest {
				req := fetchFrom(a, id, 0, 8)
				addFetch(req, a, id, 1, 0)
				return req
			}
			s := session(0, 0, full()).SessionID
			session(s, 1, empty())
			c.fillQuietly(a, 1)
			session(s, 2, empty())
			session(s, 3, empty()) // the same again: not moved
			session(s, 4, fetchFrom(a, id, 1, 2))
			session(s, 5, empty())
			session(s, 7, empty()) // wrong epoch
			session(s, 6, empty())
			forget := empty()
			f := kmsg.NewFetchRequestForgottenTopic()
			f.Topic, f.TopicID, f.Partitions = a, id, []int32{1, 9}
			forget.ForgottenTopics = append(forget.ForgottenTopics, f)
			session(s, 7, forget)
			c.fillQuietly(a, 1)
			session(s, 8, empty())
			session(s, 9, fetchFrom(c.topic("unknown"), invented, 0, 0))
			session(s, 10, empty())
			session(s, 11, fetchFrom(a, id, 0, 100)) // out of range
			session(s, 12, empty())
			session(s, 13, fetchFrom(a, id, 0, 8))
			session(s, -1, empty()) // closes
			session(s, 14, empty())
			session(12345, 1, full())
			session(12345, 0, full())
			session(0, 5, full())
			session(-1, 1, full())
			session(0, -1, full())
			s = session(0, 0, full()).SessionID
			s2 := session(s, 0, full()).SessionID // a new one in its place
			session(s, 1, empty())
			session(s2, 1, empty())
			session(s2, -1, full())
			session(s2, 2, full())
			session(0, 0, empty())
			session(0, -2, empty())
		}},
		{"a session sees a topic made anew", 7, 0, func(c *conversation) {
			a, id := filled(c)
			req := fetchFrom(a, id, 0, 8)
			req.SessionEpoch = 0
			resp, _ := c.ask(req).(*kmsg.FetchResponse)
			if resp == nil {
				return
			}
			c.remove(a)
			next := func(epoch int32) {
				req = fetchFrom(a, id, 0, 8)
				req.Topics = nil
				req.SessionID, req.SessionEpoch = resp.SessionID, epoch
				c.ask(req)
			}
			next(1)
			next(2)
			c.create("a", 2)
			next(3)
			next(4)
		}},
		{"old versions of records", 0, 3, func(c *conversation) {
			a, id := filled(c)
			c.ask(fetchFrom(a, id, 0, 3))
		}},
	})
}

// fillQuietly adds one batch to a partition.
func (c *conversation) fillQuietly(topic string, partition int32) {
	c.quietly(produceTo(topic, partition, newBatch("x", "y").bytes()))
}

func (c *conversation) deleteBefore(topic string, offset int64) {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
	c.quietly(req)
}

func offsetsAt(topic string, partition int32, timestamps ...int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for _, ts := range timestamps {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.MaxNumOffsets, p.CurrentLeaderEpoch = partition, ts, 10, -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func listOffsetsCases() []spec {
	every := []int64{-1, -2, -3, -4, -5, -6, -7, 0, firstTimestamp - 1, firstTimestamp, firstTimestamp + 1, firstTimestamp + 1000, firstTimestamp + 10_500, firstTimestamp + 31_000, firstTimestamp + 31_001, 1 << 50}
	return append(oldSegmentOffsets(), []spec{
		{"timestamps", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			c.fill(a, 0, 4)
			for _, ts := range every {
				c.ask(offsetsAt(a, 0, ts))
				c.ask(offsetsAt(a, 1, ts)) // empty
			}
		}},
		{"timestamps, over segments and after deletion", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"segment.bytes", "200"}, [2]string{"segment.index.bytes", "100"})
			c.fill(a, 0, 6)
			c.deleteBefore(a, 3)
			for _, ts := range every {
				c.ask(offsetsAt(a, 0, ts))
			}
		}},
		{"log append time", 1, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"message.timestamp.type", "LogAppendTime"})
			c.fill(a, 0, 2)
			for _, ts := range []int64{-1, -2, -3, 0, 1 << 50} {
				c.ask(offsetsAt(a, 0, ts))
			}
		}},
		{"max timestamp is not the last", 1, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, at := range []int64{5000, 9000, 1000} {
				c.quietly(produceTo(a, 0, newBatch("a", "b").with(func(b *batch) { b.FirstTimestamp += at; b.MaxTimestamp += at }).bytes()))
			}
			for _, ts := range []int64{-1, -3, firstTimestamp + 6000, firstTimestamp + 7000, firstTimestamp + 9500, firstTimestamp + 10_000, firstTimestamp + 10_001} {
				c.ask(offsetsAt(a, 0, ts))
			}
		}},
		{"several of one partition in one topic", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 1)
			req := offsetsAt(a, 0, -1)
			more := offsetsAt(a, 0, -2).Topics[0].Partitions[0]
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, more)
			c.ask(req)
		}},
		{"isolation", 2, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 2)
			for _, i := range []int8{0, 1, 2} {
				for _, ts := range []int64{-1, -2, -3, firstTimestamp + 10_000} {
					req := offsetsAt(a, 0, ts)
					req.IsolationLevel = i
					c.ask(req)
				}
			}
		}},
		{"unknown", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.ask(offsetsAt(c.topic("z"), 0, -1))
			c.ask(offsetsAt(a, 1, -1))
			c.ask(offsetsAt(a, -1, -2))
			c.ask(offsetsAt("a b", 0, -1))
			c.ask(offsetsAt(c.topic("z"), 0, -8))
		}},
		{"nothing", 0, 0, func(c *conversation) {
			c.ask(kmsg.NewPtrListOffsetsRequest())
			req := offsetsAt(c.topic("a"), 0, -1)
			req.Topics[0].Partitions = nil
			c.ask(req)
		}},
		{"leader epochs", 4, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, e := range []int32{0, 1, -1, -2} {
				req := offsetsAt(a, 0, -1)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = e
				c.ask(req)
			}
		}},
		{"replicas", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 2)
			for _, r := range []int32{1, 7, -2, -3} {
				for _, ts := range []int64{-1, -2, firstTimestamp} {
					req := offsetsAt(a, 0, ts)
					req.ReplicaID = r
					c.ask(req)
				}
			}
		}},
		{"counts", 0, 1, func(c *conversation) {
			a := c.create("a", 1, [2]string{"segment.bytes", "200"}, [2]string{"segment.index.bytes", "100"})
			c.fill(a, 0, 6)
			for _, n := range []int32{0, 1, 3, -1} {
				req := offsetsAt(a, 0, -1)
				req.Topics[0].Partitions[0].MaxNumOffsets = n
				c.ask(req)
			}
		}},
	}...)
}

func offsetForLeaderEpochCases() []spec {
	ask := func(c *conversation, topic string, partition, current, epoch int32) {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, epoch
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = topic
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		c.ask(req)
	}
	return []spec{
		{"epochs", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			c.fill(a, 0, 2)
			for _, e := range []int32{0, 1, 5, -1, -2} {
				ask(c, a, 0, -1, e)
				ask(c, a, 1, -1, e)
			}
		}},
		{"current epochs", 2, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 2)
			for _, e := range []int32{0, 1, -1, -2} {
				ask(c, a, 0, e, 0)
			}
		}},
		{"unknown", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			ask(c, c.topic("z"), 0, -1, 0)
			ask(c, a, 7, -1, 0)
			ask(c, a, -1, -1, 0)
			ask(c, "a b", 0, -1, 0)
		}},
		{"nothing", 0, 0, func(c *conversation) { c.ask(kmsg.NewPtrOffsetForLeaderEpochRequest()) }},
		{"several, one twice", 0, 0, func(c *conversation) {
			a, b := c.create("a", 2), c.create("b", 1)
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.ReplicaID = -1
			for _, name := range []string{b, a, b} {
				t := kmsg.NewOffsetForLeaderEpochRequestTopic()
				t.Topic = name
				for i := range int32(2) {
					p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
					p.Partition, p.LeaderEpoch = i, 0
					t.Partitions = append(t.Partitions, p)
				}
				req.Topics = append(req.Topics, t)
			}
			c.ask(req)
		}},
		{"replicas", 3, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, r := range []int32{1, 7, -2} {
				req := kmsg.NewPtrOffsetForLeaderEpochRequest()
				req.ReplicaID = r
				p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
				t := kmsg.NewOffsetForLeaderEpochRequestTopic()
				t.Topic = a
				t.Partitions = append(t.Partitions, p)
				req.Topics = append(req.Topics, t)
				c.ask(req)
			}
		}},
	}
}

func deleteRecordsCases() []spec {
	ask := func(c *conversation, timeout int32, topic string, partition int32, offsets ...int64) {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = timeout
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic = topic
		for _, o := range offsets {
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			p.Partition, p.Offset = partition, o
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
		c.ask(req)
	}
	return []spec{
		{"offsets", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 3)
			for _, o := range []int64{2, 1, 0, 3, 3, 7, 8, -2, 6, -1} {
				ask(c, 10000, a, 0, o)
			}
			c.fill(a, 0, 1)
			ask(c, 10000, a, 0, -1)
		}},
		{"empty partition", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, o := range []int64{0, -1, 1} {
				ask(c, 10000, a, 0, o)
			}
		}},
		{"unknown", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			ask(c, 10000, c.topic("z"), 0, 0)
			ask(c, 10000, a, 7, 0)
			ask(c, 10000, a, -1, 0)
			ask(c, 10000, "a b", 0, 0)
		}},
		{"nothing", 0, 0, func(c *conversation) {
			c.ask(kmsg.NewPtrDeleteRecordsRequest())
			ask(c, 10000, c.topic("a"), 0)
			ask(c, 10000, c.create("b", 1), 0)
		}},
		{"timeouts", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 3)
			ask(c, 0, a, 0, 1)
			ask(c, -1, a, 0, 2)
		}},
		{"compacted topic", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"cleanup.policy", "compact"})
			b := c.create("b", 1, [2]string{"cleanup.policy", "compact,delete"})
			for _, t := range []string{a, b} {
				c.fill(t, 0, 1)
				ask(c, 10000, t, 0, 1)
			}
		}},
		{"a partition twice", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.fill(a, 0, 3)
			ask(c, 10000, a, 0, 1, 2)
		}},
	}
}

func initProducerIDCases() []spec {
	ask := func(c *conversation, change func(*kmsg.InitProducerIDRequest)) *kmsg.InitProducerIDResponse {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.ProducerID, req.ProducerEpoch = -1, -1
		req.TransactionTimeoutMillis = 60000
		change(req)
		resp, _ := c.ask(req).(*kmsg.InitProducerIDResponse)
		if resp == nil {
			resp = &kmsg.InitProducerIDResponse{}
		}
		return resp
	}
	return []spec{
		{"idempotent", 0, 0, func(c *conversation) {
			c.producerID()
			ask(c, func(*kmsg.InitProducerIDRequest) {})
			ask(c, func(*kmsg.InitProducerIDRequest) {})
		}},
		{"timeouts without transaction", 0, 0, func(c *conversation) {
			for _, d := range []int32{0, -1, 2147483647} {
				ask(c, func(r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = d })
			}
		}},
		{"an id and epoch", 3, 0, func(c *conversation) {
			id := ask(c, func(*kmsg.InitProducerIDRequest) {}).ProducerID
			for _, e := range []int16{0, -1, 5} {
				ask(c, func(r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = id, e })
				ask(c, func(r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = -1, e })
			}
		}},
		{"empty transactional id", 0, 0, func(c *conversation) {
			ask(c, func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = ptr("") })
		}},
	}
}
