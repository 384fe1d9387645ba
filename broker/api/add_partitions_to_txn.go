package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/txn"
)

// addPartitionsToTxn has transactions be in more partitions: one, for its producer, or,
// since version 4 and for brokers, several, of which it may only be asked whether they
// are in the partitions (KIP-890).
type addPartitionsToTxn struct {
	txns  *txn.Coordinator
	view  *cluster.View
	codes codes
}

// firstBatched is the first version that has several transactions.
const firstBatched = 4

func (h *addPartitionsToTxn) handle(ctx context.Context, r *server.Request, req *kmsg.AddPartitionsToTxnRequest) (*kmsg.AddPartitionsToTxnResponse, error) {
	version := r.Header.Version
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	if version >= firstBatched {
		for i := range req.Transactions {
			t, err := h.transaction(ctx, r, version, &req.Transactions[i])
			if err != nil {
				return nil, err
			}
			resp.Transactions = append(resp.Transactions, t)
		}
		return resp, nil
	}
	one := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch}
	for i := range req.Topics {
		one.Topics = append(one.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic(req.Topics[i]))
	}
	t, err := h.transaction(ctx, r, version, &one)
	for i := range t.Topics {
		topic := kmsg.AddPartitionsToTxnResponseTopic{Topic: t.Topics[i].Topic}
		for _, p := range t.Topics[i].Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition(p))
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, err
}

// transaction answers for one transaction. A partition that does not exist spoils it for
// all: the others are told that nothing was done.
func (h *addPartitionsToTxn) transaction(ctx context.Context, r *server.Request, version int16, t *kmsg.AddPartitionsToTxnRequestTransaction) (out kmsg.AddPartitionsToTxnResponseTransaction, err error) {
	out.TransactionalID = t.TransactionalID
	view := h.view.Snapshot()
	var asked []txn.Verified
	missing := false
	for i := range t.Topics {
		topic := &t.Topics[i]
		for _, n := range topic.Partitions {
			v := txn.Verified{TopicPartition: protocol.TopicPartition{Topic: topic.Topic, Partition: n}, Err: kerr.OperationNotAttempted}
			if _, exists := view.Partition(v.TopicPartition); !exists {
				missing, v.Err = true, kerr.UnknownTopicOrPartition
			}
			asked = append(asked, v)
		}
	}
	if !missing {
		if err := h.ask(ctx, r, t, asked); err != nil {
			return out, err
		}
	}
	for i := range t.Topics {
		topic := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: t.Topics[i].Topic}
		for _, n := range t.Topics[i].Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{
				Partition: n, ErrorCode: h.codes.transactionCode(version, asked[0].Err),
			})
			asked = asked[1:]
		}
		out.Topics = append(out.Topics, topic)
	}
	return out, nil
}

// ask asks the coordinator about partitions that exist, and sets their errors.
func (h *addPartitionsToTxn) ask(ctx context.Context, r *server.Request, t *kmsg.AddPartitionsToTxnRequestTransaction, asked []txn.Verified) error {
	partitions := make([]protocol.TopicPartition, len(asked))
	for i := range asked {
		partitions[i], asked[i].Err = asked[i].TopicPartition, nil
	}
	var failed, err error
	if t.VerifyOnly {
		failed = h.txns.Verify(t.TransactionalID, t.ProducerID, t.ProducerEpoch, asked)
	} else {
		failed, err = awaitError(ctx, r, func(reply func(error)) {
			h.txns.AddPartitions(t.TransactionalID, t.ProducerID, t.ProducerEpoch, partitions, reply)
		})
	}
	for i := range asked {
		if failed != nil {
			asked[i].Err = failed
		}
	}
	return err
}
