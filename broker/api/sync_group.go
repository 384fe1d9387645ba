package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
)

type syncGroup struct {
	groups *group.Coordinator
	codes  codes
}

func (h *syncGroup) handle(ctx context.Context, r *server.Request, req *kmsg.SyncGroupRequest) (*kmsg.SyncGroupResponse, error) {
	resp := kmsg.NewPtrSyncGroupResponse()
	if r.Header.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		resp.ErrorCode = kerr.InconsistentGroupProtocol.Code // Kafka looks at it before the group id
		return resp, nil
	}
	q := &group.SyncRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation,
		ProtocolType: req.ProtocolType, Protocol: req.Protocol,
		Assignments: make([]group.Assignment, len(req.GroupAssignment)),
	}
	for i, a := range req.GroupAssignment {
		q.Assignments[i] = group.Assignment{MemberID: a.MemberID, Assignment: a.MemberAssignment}
	}
	s, err := await(ctx, r, group.SyncResult{Err: kerr.NotCoordinator}, func(reply func(group.SyncResult)) { h.groups.Sync(q, reply) })
	if err != nil {
		return nil, err
	}
	if resp.ErrorCode = h.codes.of(s.Err); s.Err == nil {
		resp.ProtocolType, resp.Protocol = &s.ProtocolType, &s.Protocol
		resp.MemberAssignment = s.Assignment
	}
	return resp, nil
}
