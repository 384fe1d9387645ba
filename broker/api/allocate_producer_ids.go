package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
)

// allocateProducerIDs is what the controller answers brokers (KIP-730).
type allocateProducerIDs struct {
	controller Controller
	codes      codes
}

func (h *allocateProducerIDs) handle(ctx context.Context, _ *server.Request, req *kmsg.AllocateProducerIDsRequest) (*kmsg.AllocateProducerIDsResponse, error) {
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	first, n, err := h.controller.AllocateProducerIDs(ctx, req.BrokerID, req.BrokerEpoch)
	if err != nil {
		resp.ErrorCode = h.codes.of(err)
		return resp, nil
	}
	resp.ProducerIDStart, resp.ProducerIDLen = first, n
	return resp, nil
}
