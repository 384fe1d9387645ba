package compat

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// transaction is one that commits an offset of a group.
type transaction struct {
	id, group string
	producer  int64
	epoch     int16
}

// hasTransactions says whether offsets can be committed in transactions.
func hasTransactions(t *testing.T, b *harness.Broker) bool {
	t.Helper()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(within(t, 10*time.Second), franz(t, b))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return kmsg.Key(k.ApiKey) == kmsg.TxnOffsetCommit })
}

// begin begins a transaction and commits an offset in partition 0 of groupsTopic.
func begin(ctx context.Context, t *testing.T, client *kgo.Client, id, group string, offset int64) *transaction {
	t.Helper()
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = &id, 900_000
	resp, err := init.RequestWith(ctx, client)
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("a producer id: %v, %+v", err, resp)
	}
	x := &transaction{id, group, resp.ProducerID, resp.ProducerEpoch}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = id, x.producer, x.epoch, group
	if resp, err := add.RequestWith(ctx, client); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("begin a transaction: %v, %+v", err, resp)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = id, x.producer, x.epoch, group
	one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	one.Offset = offset
	of := kmsg.NewTxnOffsetCommitRequestTopic()
	of.Topic, of.Partitions = groupsTopic, append(of.Partitions, one)
	req.Topics = append(req.Topics, of)
	if resp, err := req.RequestWith(ctx, client); err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("commit an offset in a transaction: %v, %+v", err, resp)
	}
	return x
}

// end ends a transaction and waits until the group's coordinator knows.
func (x *transaction) end(ctx context.Context, t *testing.T, client *kgo.Client, committed bool) {
	t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = x.id, x.producer, x.epoch, committed
	if resp, err := req.RequestWith(ctx, client); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("end a transaction: %v, %+v", err, resp)
	}
	waitUntil(t, "the transaction "+x.id+" has ended", func() bool {
		fetch := kmsg.NewPtrOffsetFetchRequest()
		fetch.RequireStable = true
		fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: x.group, MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: groupsTopic, Partitions: []int32{0}}}}}
		resp, err := fetch.RequestWith(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Groups[0].Topics[0].Partitions[0].ErrorCode == 0
	})
}
