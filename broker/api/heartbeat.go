package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
)

type heartbeat struct {
	groups *group.Coordinator
	codes  codes
}

func (h *heartbeat) handle(_ context.Context, _ *server.Request, req *kmsg.HeartbeatRequest) (*kmsg.HeartbeatResponse, error) {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.ErrorCode = h.codes.of(h.groups.Heartbeat(&group.HeartbeatRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation,
	}))
	return resp, nil
}
