package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/topics"
)

type createPartitions struct {
	controller Controller
	topics     Topics
	codes      codes
}

func (h *createPartitions) handle(ctx context.Context, _ *server.Request, req *kmsg.CreatePartitionsRequest) (*kmsg.CreatePartitionsResponse, error) {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	_, active := h.controller.Active()
	times := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	var wanted []topics.ExpandRequest
	var places []int
	for i := range req.Topics {
		t := &req.Topics[i]
		if times[t.Topic] == 0 {
			continue // a topic that stands twice is answered once
		}
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = t.Topic
		switch {
		case !active:
			out.ErrorCode = kerr.NotController.Code
			times[t.Topic] = 0
		case times[t.Topic] > 1:
			out.ErrorCode = kerr.InvalidRequest.Code
			out.ErrorMessage = stringPtr("Duplicate topic in request.")
			times[t.Topic] = 0
		default:
			e := topics.ExpandRequest{Name: t.Topic, Count: t.Count}
			for _, a := range t.Assignment {
				e.Assignment = append(e.Assignment, a.Replicas)
			}
			if t.Assignment != nil && e.Assignment == nil {
				e.Assignment = [][]int32{}
			}
			wanted = append(wanted, e)
			places = append(places, len(resp.Topics))
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(wanted) == 0 {
		return resp, nil
	}
	for i, err := range h.topics.Expand(ctx, wanted, time.Duration(req.TimeoutMillis)*time.Millisecond, req.ValidateOnly) {
		out := &resp.Topics[places[i]]
		out.ErrorCode, out.ErrorMessage = h.codes.withMessage(err)
	}
	return resp, nil
}
