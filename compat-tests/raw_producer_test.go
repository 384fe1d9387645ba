package compat

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// rawProducer is an idempotent producer whose id, epoch and sequence numbers
// are in the test's hand, so that it can go on where another broker stopped.
type rawProducer struct {
	id    int64
	epoch int16
	next  int32 // sequence number of the next record
	shift int64 // added to the records' timestamps
}

// record is record i as this producer writes it. A broker that starts forgets
// producers whose last record is older than producer.id.expiration.ms by its
// timestamp, so theirs must be of today.
func (p *rawProducer) record(i int) harness.Record {
	r := harness.MakeRecord(i)
	r.Timestamp += p.shift
	return r
}

func newRawProducer(t *testing.T, client *kgo.Client) *rawProducer {
	t.Helper()
	resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(within(t, 30*time.Second), client)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("InitProducerId: %v, error code %d", err, resp.ErrorCode)
	}
	return &rawProducer{id: resp.ProducerID, epoch: resp.ProducerEpoch, shift: time.Now().Add(-time.Hour).UnixMilli() - harness.FirstTimestamp}
}

// send produces records from to to−1 as one batch that begins with sequence
// number seq, and returns the error code and base offset that are answered.
func (p *rawProducer) send(t *testing.T, client *kgo.Client, topic string, seq int32, from, to int) (code int16, offset int64) {
	t.Helper()
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = p.batch(seq, from, to)
	reqTopic := kmsg.NewProduceRequestTopic()
	reqTopic.Topic = topic
	reqTopic.Partitions = append(reqTopic.Partitions, partition)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10000
	req.Topics = append(req.Topics, reqTopic)
	resp, err := req.RequestWith(within(t, 30*time.Second), client)
	if err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
	answer := resp.Topics[0].Partitions[0]
	return answer.ErrorCode, answer.BaseOffset
}

// batch is one uncompressed record batch.
func (p *rawProducer) batch(seq int32, from, to int) []byte {
	b := kmsg.RecordBatch{
		Magic: 2, PartitionLeaderEpoch: -1, ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: seq,
		NumRecords: int32(to - from), LastOffsetDelta: int32(to - from - 1),
		FirstTimestamp: p.record(from).Timestamp, MaxTimestamp: p.record(to - 1).Timestamp,
	}
	for i := from; i < to; i++ {
		r := p.record(i)
		k := kmsg.Record{OffsetDelta: int32(i - from), TimestampDelta64: r.Timestamp - b.FirstTimestamp, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		b.Records = appendRecord(b.Records, k)
	}
	return sealed(b)
}

// appendRecord appends a record with its length.
func appendRecord(to []byte, r kmsg.Record) []byte {
	r.Length = int32(len(r.AppendTo(nil)) - 1) // a length of 0 takes one byte
	return r.AppendTo(to)
}

// sealed is a batch with its length and its checksum.
func sealed(b kmsg.RecordBatch) []byte {
	raw := b.AppendTo(nil)
	const upToLength, upToCRC = 12, 21
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-upToLength))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[upToCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}
