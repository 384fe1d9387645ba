package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/txn"
)

// listTransactions lists the transactional ids that this broker coordinates.
type listTransactions struct {
	txns  *txn.Coordinator
	codes codes
}

func (h *listTransactions) handle(_ context.Context, r *server.Request, req *kmsg.ListTransactionsRequest) (*kmsg.ListTransactionsResponse, error) {
	resp := kmsg.NewPtrListTransactionsResponse()
	filter := txn.Filter{ProducerIDs: req.ProducerIDFilters, AnyState: len(req.StateFilters) == 0, LongerMS: -1}
	if r.Header.Version >= 1 {
		filter.LongerMS = req.DurationFilterMillis
	}
	for _, name := range req.StateFilters {
		if s, known := txn.ParseState(name); known {
			filter.States = append(filter.States, s)
		} else {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, name)
		}
	}
	list, err := h.txns.List(filter)
	resp.ErrorCode = h.codes.of(err)
	for _, t := range list {
		resp.TransactionStates = append(resp.TransactionStates, kmsg.ListTransactionsResponseTransactionState{
			TransactionalID: t.ID, ProducerID: t.ProducerID, TransactionState: t.State.String(),
		})
	}
	return resp, nil
}
