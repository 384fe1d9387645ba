package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/txn"
)

// initProducerID gives producers their ids and epochs: the coordinator of transactions
// those with a transactional id.
type initProducerID struct {
	ids   ProducerIDs
	txns  *txn.Coordinator
	codes codes
	turns chan struct{} // has room for as many requests as may wait for the controller at a time
}

// newInitProducerID bounds what waits for the controller itself. The route has no slots,
// since those who wait for a transaction to end would have them.
func newInitProducerID(ids ProducerIDs, txns *txn.Coordinator, codes codes, turns int) *initProducerID {
	return &initProducerID{ids: ids, txns: txns, codes: codes, turns: make(chan struct{}, turns)}
}

func (h *initProducerID) handle(ctx context.Context, r *server.Request, req *kmsg.InitProducerIDRequest) (*kmsg.InitProducerIDResponse, error) {
	var result txn.InitResult
	var err error
	switch {
	case (req.ProducerID == txn.NoProducerID) != (req.ProducerEpoch == txn.NoEpoch): // both are before version 3
		result = txn.InitResult{ProducerID: txn.NoProducerID, Epoch: txn.NoEpoch, Err: kerr.InvalidRequest}
	case req.TransactionalID == nil:
		result, err = h.idempotent(ctx)
	default:
		result, err = h.transactional(ctx, r, req)
	}
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = result.ProducerID, result.Epoch
	if resp.ErrorCode = h.codes.of(result.Err); r.Header.Version < 4 {
		resp.ErrorCode = olderFenced(resp.ErrorCode)
	}
	return resp, nil
}

// idempotent gives a new id to a producer without transactions. One that gives its old id
// (KIP-360) gets a new one, too: its sequences start over, and nothing fences it.
func (h *initProducerID) idempotent(ctx context.Context) (txn.InitResult, error) {
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-ctx.Done():
		return txn.InitResult{}, ctx.Err()
	}
	id, err := h.ids.Next(ctx)
	if err != nil {
		return txn.InitResult{ProducerID: txn.NoProducerID, Epoch: txn.NoEpoch, Err: err}, nil
	}
	return txn.InitResult{ProducerID: id}, nil
}

func (h *initProducerID) transactional(ctx context.Context, r *server.Request, req *kmsg.InitProducerIDRequest) (txn.InitResult, error) {
	q := txn.InitRequest{ID: *req.TransactionalID, TimeoutMS: req.TransactionTimeoutMillis, ProducerID: req.ProducerID, Epoch: req.ProducerEpoch}
	stopped := txn.InitResult{ProducerID: txn.NoProducerID, Epoch: txn.NoEpoch, Err: kerr.NotCoordinator}
	return await(ctx, r, stopped, func(reply func(txn.InitResult)) { h.txns.InitProducerID(q, reply) })
}
