package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/txn"
)

// describeTransactions shows transactional ids that this broker coordinates.
type describeTransactions struct {
	txns  *txn.Coordinator
	codes codes
}

func (h *describeTransactions) handle(_ context.Context, _ *server.Request, req *kmsg.DescribeTransactionsRequest) (*kmsg.DescribeTransactionsResponse, error) {
	resp := kmsg.NewPtrDescribeTransactionsResponse()
	for _, id := range req.TransactionalIDs {
		resp.TransactionStates = append(resp.TransactionStates, h.describe(id))
	}
	return resp, nil
}

func (h *describeTransactions) describe(id string) kmsg.DescribeTransactionsResponseTransactionState {
	out := kmsg.NewDescribeTransactionsResponseTransactionState()
	out.TransactionalID = id
	d, err := h.txns.Describe(id)
	if err != nil {
		out.ErrorCode = h.codes.of(err)
		return out
	}
	out.State, out.ProducerID, out.ProducerEpoch = d.State.String(), d.ProducerID, d.Epoch
	out.TimeoutMillis, out.StartTimestamp = d.TimeoutMS, d.StartMS
	for _, tp := range d.Partitions {
		if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != tp.Topic {
			out.Topics = append(out.Topics, kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: tp.Topic})
		}
		topic := &out.Topics[len(out.Topics)-1]
		topic.Partitions = append(topic.Partitions, tp.Partition)
	}
	return out
}
