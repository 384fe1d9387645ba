package compat

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// bareProducer is a transactional producer that is requests and nothing else: it does
// nothing by itself, and outlives the broker that it has talked to.
type bareProducer struct {
	name    string // its transactional id
	id      int64
	epoch   int16
	timeout time.Duration
	next    map[bareLine]int32 // the sequence number of the next record
	records int                // that it has sent, for their timestamps
	stamp   int64              // of its first record, in ms
}

type bareLine struct {
	topic     string
	partition int32
}

// newBareProducer makes a transactional id, or is the newcomer that aborts what another
// has begun.
func newBareProducer(t *testing.T, client *kgo.Client, name string, timeout time.Duration) *bareProducer {
	t.Helper()
	p := &bareProducer{name: name, timeout: timeout, next: map[bareLine]int32{}, stamp: harness.FirstTimestamp}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &name, int32(timeout.Milliseconds())
	const concurrentTransactions = 51
	waitUntil(t, name+" has a producer id", func() bool {
		resp, err := req.RequestWith(within(t, 30*time.Second), client)
		if err != nil || resp.ErrorCode != 0 && resp.ErrorCode != concurrentTransactions {
			t.Fatalf("%s gets no producer id: %v, %+v", name, err, resp)
		}
		p.id, p.epoch = resp.ProducerID, resp.ProducerEpoch
		return resp.ErrorCode == 0
	})
	return p
}

// add begins a transaction, or adds partitions to it.
func (p *bareProducer) add(t *testing.T, client *kgo.Client, topic string, partitions ...int32) {
	t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.name, p.id, p.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: partitions}}
	resp, err := req.RequestWith(within(t, 30*time.Second), client)
	if err != nil {
		t.Fatalf("%s adds %s-%d: %v", p.name, topic, partitions, err)
	}
	for _, one := range resp.Topics[0].Partitions {
		if one.ErrorCode != 0 {
			t.Fatalf("%s adds %s-%d: error code %d", p.name, topic, one.Partition, one.ErrorCode)
		}
	}
}

// send produces values in a partition that is in the transaction, as one batch, and
// returns its offset.
func (p *bareProducer) send(t *testing.T, client *kgo.Client, topic string, partition int32, values ...string) int64 {
	t.Helper()
	line := bareLine{topic, partition}
	code, offset := p.sendAt(t, client, topic, partition, p.next[line], values...)
	if code != 0 {
		t.Fatalf("%s sends to %s-%d: error code %d", p.name, topic, partition, code)
	}
	p.next[line] += int32(len(values))
	p.records += len(values)
	return offset
}

// sendAt is send with a sequence number that need not be the next. A value's key is what
// stands before its first colon.
func (p *bareProducer) sendAt(t *testing.T, client *kgo.Client, topic string, partition, sequence int32, values ...string) (code int16, offset int64) {
	t.Helper()
	const transactional = 1 << 4
	return p.produce(t, client, topic, partition, transactional, sequence, values...)
}

// sendOutside produces values that are in no transaction.
func (p *bareProducer) sendOutside(t *testing.T, client *kgo.Client, topic string, partition int32, values ...string) int64 {
	t.Helper()
	nobody := &bareProducer{id: -1, epoch: -1, stamp: p.stamp, records: p.records}
	code, offset := nobody.produce(t, client, topic, partition, 0, -1, values...)
	if code != 0 {
		t.Fatalf("produce to %s-%d: error code %d", topic, partition, code)
	}
	return offset
}

func (p *bareProducer) produce(t *testing.T, client *kgo.Client, topic string, partition int32, attributes int16, sequence int32, values ...string) (code int16, offset int64) {
	t.Helper()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: attributes, ProducerID: p.id, ProducerEpoch: p.epoch, FirstSequence: sequence,
		NumRecords: int32(len(values)), LastOffsetDelta: int32(len(values) - 1),
		FirstTimestamp: p.stamp + int64(p.records), MaxTimestamp: p.stamp + int64(p.records+len(values)-1),
	}
	for i, v := range values {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Value: []byte(v)}
		if key, _, ok := strings.Cut(v, ":"); ok {
			r.Key = []byte(key)
		}
		b.Records = appendRecord(b.Records, r)
	}
	one := kmsg.NewProduceRequestTopicPartition()
	one.Partition, one.Records = partition, sealed(b)
	of := kmsg.NewProduceRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, one)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.Topics = -1, 10_000, append(req.Topics, of)
	if attributes != 0 {
		req.TransactionID = &p.name
	}
	resp, err := req.RequestWith(within(t, 30*time.Second), client)
	if err != nil {
		t.Fatalf("%s sends to %s-%d: %v", p.name, topic, partition, err)
	}
	answer := resp.Topics[0].Partitions[0]
	return answer.ErrorCode, answer.BaseOffset
}

// commitOffset adds a group to the transaction and commits an offset of it, in partition 0
// of a topic.
func (p *bareProducer) commitOffset(t *testing.T, client *kgo.Client, group, topic string, offset int64) {
	t.Helper()
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = p.name, p.id, p.epoch, group
	if resp, err := add.RequestWith(within(t, 30*time.Second), client); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%s adds the group %s: %v, %+v", p.name, group, err, resp)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.name, p.id, p.epoch, group
	one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	one.Offset = offset
	of := kmsg.NewTxnOffsetCommitRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, one)
	req.Topics = append(req.Topics, of)
	if resp, err := req.RequestWith(within(t, 30*time.Second), client); err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%s commits an offset of %s: %v, %+v", p.name, group, err, resp)
	}
}

// tryEnd asks for the end of the transaction and returns the error code.
func (p *bareProducer) tryEnd(t *testing.T, client *kgo.Client, commit bool) int16 {
	t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.name, p.id, p.epoch, commit
	resp, err := req.RequestWith(within(t, 30*time.Second), client)
	if err != nil {
		t.Fatalf("%s ends its transaction: %v", p.name, err)
	}
	return resp.ErrorCode
}

// end ends the transaction and waits until every partition and group knows.
func (p *bareProducer) end(t *testing.T, client *kgo.Client, commit bool) {
	t.Helper()
	if code := p.tryEnd(t, client, commit); code != 0 {
		t.Fatalf("%s ends its transaction: error code %d", p.name, code)
	}
	state := "CompleteAbort"
	if commit {
		state = "CompleteCommit"
	}
	awaitTransaction(t, client, p.name, state)
}

// awaitTransaction waits until the transaction of an id is in a state.
func awaitTransaction(t *testing.T, client *kgo.Client, name, state string) {
	t.Helper()
	waitUntil(t, fmt.Sprintf("the transaction of %s is in %s", name, state), func() bool { return describeTransaction(t, client, name).State == state })
}

func describeTransaction(t *testing.T, client *kgo.Client, name string) kmsg.DescribeTransactionsResponseTransactionState {
	t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{name}
	resp, err := req.RequestWith(within(t, 20*time.Second), client)
	if err != nil {
		t.Fatal(err)
	}
	return resp.TransactionStates[0]
}
