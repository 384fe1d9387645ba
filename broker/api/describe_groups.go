package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
)

type describeGroups struct {
	groups *group.Coordinator
	codes  codes
}

// maxGroupsAgain is how many bytes a response may have before a group that it has
// described is not described again. Kafka does it however often it is asked to, which
// can make gigabytes of one request.
const maxGroupsAgain = 1 << 20

func (h *describeGroups) handle(_ context.Context, r *server.Request, req *kmsg.DescribeGroupsRequest) (*kmsg.DescribeGroupsResponse, error) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, 0, len(req.Groups))
	seen := make(map[string]bool, len(req.Groups))
	size := 0
	for _, name := range req.Groups {
		out := kmsg.NewDescribeGroupsResponseGroup()
		out.Group = name
		d, err := group.Description{}, error(nil)
		if seen[name] && size > maxGroupsAgain {
			err = invalidRequest("Group %s is named too often", name)
		} else {
			d, err = h.groups.Describe(name)
		}
		seen[name] = true
		if out.ErrorCode = h.codes.of(err); err == nil {
			size += describeGroup(&out, &d)
			if req.IncludeAuthorizedOperations {
				out.AuthorizedOperations = groupOperations
			}
		}
		resp.Groups = append(resp.Groups, out)
	}
	r.Expect(smallBody + size)
	return resp, nil
}

// describeGroup puts a description into a response, and says about how many bytes it
// takes there.
func describeGroup(out *kmsg.DescribeGroupsResponseGroup, d *group.Description) (size int) {
	const perMember = 100
	out.State, out.ProtocolType, out.Protocol = d.State.String(), d.ProtocolType, d.Protocol
	out.Members = make([]kmsg.DescribeGroupsResponseGroupMember, len(d.Members))
	for i, m := range d.Members {
		out.Members[i] = kmsg.DescribeGroupsResponseGroupMember{
			MemberID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			ProtocolMetadata: m.Metadata, MemberAssignment: m.Assignment,
		}
		size += perMember + len(m.ID) + len(m.ClientID) + len(m.Metadata) + len(m.Assignment)
	}
	return perMember + size
}
