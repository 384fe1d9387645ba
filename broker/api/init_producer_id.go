package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
)

// initProducerID gives idempotent producers their ids. A transactional id needs
// a transaction coordinator, which this broker does not have.
type initProducerID struct {
	ids   ProducerIDs
	codes codes
}

func (h *initProducerID) handle(ctx context.Context, r *server.Request, req *kmsg.InitProducerIDRequest) (*kmsg.InitProducerIDResponse, error) {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	hasID, hasEpoch := req.ProducerID != -1, req.ProducerEpoch != -1
	switch {
	case r.Header.Version >= 3 && hasID != hasEpoch:
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil:
		resp.ErrorCode = kerr.UnsupportedVersion.Code // not retriable: the producer says so at once
	default:
		// An idempotent producer that gives its old id (KIP-360) gets a new one: its
		// sequences start over, and nothing fences it.
		id, err := h.ids.Next(ctx)
		if err != nil {
			resp.ErrorCode = h.codes.of(err)
			return resp, nil
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	return resp, nil
}
