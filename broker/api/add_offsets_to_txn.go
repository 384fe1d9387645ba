package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/txn"
)

// addOffsetsToTxn has a transaction be in the partition of __consumer_offsets in which a
// group's offsets are.
type addOffsetsToTxn struct {
	txns   *txn.Coordinator
	groups *group.Coordinator
	find   *findCoordinator
	codes  codes
}

func (h *addOffsetsToTxn) handle(ctx context.Context, r *server.Request, req *kmsg.AddOffsetsToTxnRequest) (*kmsg.AddOffsetsToTxnResponse, error) {
	failed, err := h.add(ctx, r, req)
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrAddOffsetsToTxnResponse()
	resp.ErrorCode = h.codes.transactionCode(r.Header.Version, failed)
	return resp, nil
}

func (h *addOffsetsToTxn) add(ctx context.Context, r *server.Request, req *kmsg.AddOffsetsToTxnRequest) (failed, err error) {
	n, err := h.groups.PartitionFor(ctx, req.Group)
	if err != nil {
		// Producers look for the group's coordinator, which would have the topic made,
		// only after this.
		if errors.Is(err, kerr.CoordinatorNotAvailable) {
			h.find.create(ctx, protocol.ConsumerOffsetsTopic)
		}
		return err, nil
	}
	partition := []protocol.TopicPartition{{Topic: protocol.ConsumerOffsetsTopic, Partition: n}}
	return awaitError(ctx, r, func(reply func(error)) {
		h.txns.AddPartitions(req.TransactionalID, req.ProducerID, req.ProducerEpoch, partition, reply)
	})
}
