package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/topics"
)

// incrementalAlterConfigs sets, deletes, appends to and subtracts from single
// configurations (KIP-339).
type incrementalAlterConfigs struct {
	view   *cluster.View
	topics Topics
	codes  codes
}

func (h *incrementalAlterConfigs) handle(ctx context.Context, _ *server.Request, req *kmsg.IncrementalAlterConfigsRequest) (*kmsg.IncrementalAlterConfigsResponse, error) {
	changes := make([]resourceChange, len(req.Resources))
	for i, q := range req.Resources {
		changes[i] = resourceChange{kind: q.ResourceType, name: q.ResourceName}
		for _, c := range q.Configs {
			changes[i].ops = append(changes[i].ops, topics.ConfigOp{Name: c.Name, Value: c.Value, Op: c.Op})
		}
	}
	errs := makeChanges(ctx, h.view, changes, req.ValidateOnly, h.topics.ChangeConfigs)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i, c := range changes {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = c.kind, c.name
		out.ErrorCode, out.ErrorMessage = h.codes.withMessage(errs[i])
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}
