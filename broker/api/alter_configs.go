package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/topics"
)

// alterConfigs replaces the whole configuration of a resource. Clients have
// better since KIP-339: see incrementalAlterConfigs.
type alterConfigs struct {
	view   *cluster.View
	topics Topics
	codes  codes
}

func (h *alterConfigs) handle(ctx context.Context, _ *server.Request, req *kmsg.AlterConfigsRequest) (*kmsg.AlterConfigsResponse, error) {
	changes := make([]resourceChange, len(req.Resources))
	for i, q := range req.Resources {
		changes[i] = resourceChange{kind: q.ResourceType, name: q.ResourceName}
		for _, c := range q.Configs {
			changes[i].ops = append(changes[i].ops, topics.ConfigOp{Name: c.Name, Value: c.Value, Op: kmsg.IncrementalAlterConfigOpSet})
		}
	}
	errs := makeChanges(ctx, h.view, changes, req.ValidateOnly, h.topics.ReplaceConfigs)
	resp := kmsg.NewPtrAlterConfigsResponse()
	for i, c := range changes {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = c.kind, c.name
		out.ErrorCode, out.ErrorMessage = h.codes.withMessage(errs[i])
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}
