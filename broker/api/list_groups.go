package api

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
)

type listGroups struct {
	groups *group.Coordinator
	codes  codes
}

// classicType is the type of all groups that there are (KIP-848 brings others).
const classicType = "classic"

func (h *listGroups) handle(_ context.Context, _ *server.Request, req *kmsg.ListGroupsRequest) (*kmsg.ListGroupsResponse, error) {
	resp := kmsg.NewPtrListGroupsResponse()
	list, err := h.groups.List()
	resp.ErrorCode = h.codes.of(err) // while some are being loaded the others are told with it
	if !passes(req.TypesFilter, classicType) {
		return resp, nil
	}
	wanted := map[group.State]bool{}
	for state := group.Empty; state <= group.Dead; state++ {
		wanted[state] = passes(req.StatesFilter, state.String())
	}
	for _, g := range list {
		if wanted[g.State] {
			resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{Group: g.Group, ProtocolType: g.ProtocolType, GroupState: g.State.String(), GroupType: classicType})
		}
	}
	return resp, nil
}

// passes reports whether a filter lets a value through; one without entries lets all.
func passes(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}
