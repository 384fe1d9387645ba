package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
)

type deleteTopics struct {
	controller Controller
	topics     Topics
	settings   *config.Settings
	view       *cluster.View
	from       *fromController
	codes      codes
}

func (h *deleteTopics) handle(ctx context.Context, r *server.Request, req *kmsg.DeleteTopicsRequest) (*kmsg.DeleteTopicsResponse, error) {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for _, name := range req.TopicNames { // before version 6
		resp.Topics = append(resp.Topics, kmsg.DeleteTopicsResponseTopic{Topic: stringPtr(name)})
	}
	for _, t := range req.Topics { // since
		resp.Topics = append(resp.Topics, kmsg.DeleteTopicsResponseTopic{Topic: t.Topic, TopicID: t.TopicID})
	}
	if code := h.refusal(r.Header.Version, resp.Topics); code != 0 {
		for i := range resp.Topics {
			resp.Topics[i].ErrorCode = code
		}
		return resp, nil
	}
	s := h.view.Snapshot()
	var names []string
	places := map[string][]int{}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		switch known, ok := lookUp(s, t); {
		case ok:
			t.Topic = &known.Name
			if places[known.Name] == nil {
				names = append(names, known.Name)
			}
			places[known.Name] = append(places[known.Name], i)
		case t.TopicID != [16]byte{}:
			t.ErrorCode = kerr.UnknownTopicID.Code
		case t.Topic == nil:
			t.ErrorCode = kerr.TopicAuthorizationFailed.Code // as Kafka answers, for want of a name to check
		default:
			t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
	}
	if len(names) == 0 {
		return resp, nil
	}
	for i, err := range h.topics.Delete(ctx, names, time.Duration(req.TimeoutMillis)*time.Millisecond) {
		for _, place := range places[names[i]] {
			resp.Topics[place].ErrorCode = h.codes.of(err)
		}
	}
	h.from.settle() // or a topic of the same name had the committed offsets still
	return resp, nil
}

// refusal is the code for a request that is refused as a whole.
func (h *deleteTopics) refusal(version int16, list []kmsg.DeleteTopicsResponseTopic) int16 {
	if _, active := h.controller.Active(); !active {
		return kerr.NotController.Code
	}
	if !h.settings.Broker().Topics.DeleteEnable {
		if version < 3 {
			return kerr.InvalidRequest.Code
		}
		return kerr.TopicDeletionDisabled.Code
	}
	for i := range list {
		if list[i].Topic != nil && list[i].TopicID != [16]byte{} {
			return kerr.InvalidRequest.Code
		}
	}
	return 0
}

func lookUp(s *cluster.Snapshot, t *kmsg.DeleteTopicsResponseTopic) (*cluster.Topic, bool) {
	if t.TopicID != [16]byte{} {
		return s.TopicByID(t.TopicID)
	}
	if t.Topic == nil {
		return nil, false
	}
	return s.Topic(*t.Topic)
}
