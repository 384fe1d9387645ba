package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
)

type leaveGroup struct {
	groups *group.Coordinator
	codes  codes
}

func (h *leaveGroup) handle(_ context.Context, r *server.Request, req *kmsg.LeaveGroupRequest) (*kmsg.LeaveGroupResponse, error) {
	resp := kmsg.NewPtrLeaveGroupResponse()
	batched := r.Header.Version >= 3
	leaving := []group.Leaving{{MemberID: req.MemberID}}
	if batched {
		leaving = make([]group.Leaving, len(req.Members))
		for i, m := range req.Members {
			leaving[i] = group.Leaving{MemberID: m.MemberID, InstanceID: m.InstanceID}
		}
	}
	err := h.groups.Leave(req.Group, leaving)
	switch {
	case err != nil:
		resp.ErrorCode = h.codes.of(err)
	case !batched:
		resp.ErrorCode = h.codes.of(leaving[0].Err)
	default:
		resp.Members = make([]kmsg.LeaveGroupResponseMember, len(leaving))
		for i, l := range leaving {
			resp.Members[i] = kmsg.LeaveGroupResponseMember{MemberID: l.MemberID, InstanceID: l.InstanceID, ErrorCode: h.codes.of(l.Err)}
		}
	}
	return resp, nil
}
