package differential

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func ptr[T any](v T) *T { return &v }

// create makes a topic, with "name=value" configurations.
func (c *conversation) create(name string, partitions int32, configs ...[2]string) string {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 15000
	topic := newTopic(c.topic(name), partitions, 1)
	for _, kv := range configs {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: kv[0], Value: ptr(kv[1])})
	}
	req.Topics = append(req.Topics, topic)
	resp := c.quietly(req).(*kmsg.CreateTopicsResponse)
	for range 100 { // one of that name is being deleted still
		if resp.Topics[0].ErrorCode != 36 {
			break
		}
		wait()
		resp = c.quietly(req).(*kmsg.CreateTopicsResponse)
	}
	if code := resp.Topics[0].ErrorCode; code != 0 {
		c.t.Fatalf("%s: cannot create %s: error code %d", c.target.name, name, code)
	}
	return c.topic(name)
}

func newTopic(name string, partitions int32, replicas int16) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	return t
}

// id of a topic.
func (c *conversation) id(topic string) [16]byte {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	return c.quietly(req).(*kmsg.MetadataResponse).Topics[0].TopicID
}

// A batch that is built, rightly or wrongly.
type batch struct {
	kmsg.RecordBatch
	values []string
	skew   func(raw []byte) []byte // applied last, after the checksum
	before func(raw []byte) []byte // applied before the checksum
}

// time of the first record of every batch; the records are a second apart.
const firstTimestamp = 1700000000000

func newBatch(values ...string) *batch {
	b := &batch{values: values}
	b.Magic, b.PartitionLeaderEpoch, b.ProducerID, b.ProducerEpoch, b.FirstSequence = 2, -1, -1, -1, -1
	b.NumRecords, b.LastOffsetDelta = int32(len(values)), int32(len(values)-1)
	b.FirstTimestamp = firstTimestamp
	b.MaxTimestamp = firstTimestamp + 1000*int64(len(values)-1)
	return b
}

func (b *batch) with(change func(b *batch)) *batch { change(b); return b }

func (b *batch) producer(id int64, epoch int16, seq int32) *batch {
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = id, epoch, seq
	return b
}

func (b *batch) bytes() []byte {
	b.Records = nil
	for i, v := range b.values {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: 1000 * int64(i), Key: []byte("k"), Value: []byte(v)}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		if r.Length > 63 { // takes more than one byte itself
			r.Length = 0
			r.Length = int32(len(r.AppendTo(nil)) - 1)
		}
		b.Records = r.AppendTo(b.Records)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	if b.before != nil {
		raw = b.before(raw)
	}
	sum(raw)
	if b.skew != nil {
		raw = b.skew(raw)
	}
	return raw
}

// secondWithoutKey is a batch of three records of which the second one has no key.
func secondWithoutKey(codec byte) *batch {
	b := newBatch("a", "b", "c").with(func(b *batch) { b.Attributes = int16(codec) })
	b.before = func(raw []byte) []byte {
		var records []byte
		for i, key := range [][]byte{[]byte("k"), nil, []byte("k")} {
			r := kmsg.Record{OffsetDelta: int32(i), Key: key, Value: []byte("v")}
			r.Length = int32(len(r.AppendTo(nil)) - 1)
			records = r.AppendTo(records)
		}
		raw = append(raw[:61], compress(codec, 2, records)...)
		binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
		return raw
	}
	return b
}

func sum(raw []byte) {
	if len(raw) > 21 {
		binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	}
}

// produceTo is a request with one partition.
func produceTo(topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10000
	addProduce(req, topic, partition, records)
	return req
}

func addProduce(req *kmsg.ProduceRequest, topic string, partition int32, records []byte) {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == topic {
		req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
		return
	}
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
}

// fill produces batches of two records, offsets from 0 on.
func (c *conversation) fill(topic string, partition int32, batches int) {
	c.t.Helper()
	for i := range batches {
		b := newBatch(fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i))
		b.FirstTimestamp += int64(i) * 10_000
		b.MaxTimestamp += int64(i) * 10_000
		resp := c.quietly(produceTo(topic, partition, b.bytes())).(*kmsg.ProduceResponse)
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			c.t.Fatalf("%s: cannot produce: error code %d", c.target.name, code)
		}
	}
}

func (c *conversation) producerID() int64 {
	for deadline := time.Now().Add(patience); ; wait() { // the first block takes a while
		resp := c.quietly(kmsg.NewPtrInitProducerIDRequest()).(*kmsg.InitProducerIDResponse)
		if resp.ErrorCode == 0 {
			return resp.ProducerID
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: no producer id: error code %d", c.target.name, resp.ErrorCode)
		}
	}
}

// wait lets time pass that a broker may use.
func wait() { time.Sleep(50 * time.Millisecond) }
