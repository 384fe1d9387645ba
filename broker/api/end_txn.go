package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/txn"
)

// endTxn commits and aborts transactions. It is answered when that is decided, before
// the partitions have been told.
type endTxn struct {
	txns  *txn.Coordinator
	codes codes
}

func (h *endTxn) handle(ctx context.Context, r *server.Request, req *kmsg.EndTxnRequest) (*kmsg.EndTxnResponse, error) {
	failed, err := awaitError(ctx, r, func(reply func(error)) {
		h.txns.End(req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit, reply)
	})
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrEndTxnResponse()
	resp.ErrorCode = h.codes.transactionCode(r.Header.Version, failed)
	return resp, nil
}
