package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/controller"
)

// controlledShutdown is how a broker says that it is about to go.
type controlledShutdown struct {
	controller Controller
	codes      codes
}

func (h *controlledShutdown) handle(ctx context.Context, r *server.Request, req *kmsg.ControlledShutdownRequest) (*kmsg.ControlledShutdownResponse, error) {
	resp := kmsg.NewPtrControlledShutdownResponse()
	epoch := req.BrokerEpoch
	if r.Header.Version < 2 {
		epoch = controller.AnyBrokerEpoch
	}
	led, err := h.controller.ControlledShutdown(ctx, req.BrokerID, epoch)
	if err != nil {
		resp.ErrorCode = h.codes.of(err)
		if errors.Is(err, kerr.NotController) {
			resp.ErrorCode = kerr.StaleControllerEpoch.Code // as Kafka answers here, and only here
		}
		return resp, nil
	}
	for _, tp := range led {
		p := kmsg.NewControlledShutdownResponsePartitionsRemaining()
		p.Topic, p.Partition = tp.Topic, tp.Partition
		resp.PartitionsRemaining = append(resp.PartitionsRemaining, p)
	}
	return resp, nil
}
