package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
)

type deleteGroups struct {
	groups *group.Coordinator
	codes  codes
}

func (h *deleteGroups) handle(_ context.Context, _ *server.Request, req *kmsg.DeleteGroupsRequest) (*kmsg.DeleteGroupsResponse, error) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	seen := make(map[string]bool, len(req.Groups))
	for _, name := range req.Groups {
		if seen[name] {
			continue // one that is named twice is deleted and answered for once
		}
		seen[name] = true
		resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: name, ErrorCode: h.codes.of(h.groups.DeleteGroup(name))})
	}
	return resp, nil
}
