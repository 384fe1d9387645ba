package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
)

type offsetDelete struct {
	view   *cluster.View
	groups *group.Coordinator
	codes  codes
}

func (h *offsetDelete) handle(_ context.Context, _ *server.Request, req *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteResponse, error) {
	s := h.view.Snapshot()
	var list []group.OffsetDeletion // of partitions that there are
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			tp := protocol.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			if _, exists := s.Partition(tp); exists {
				list = append(list, group.OffsetDeletion{TopicPartition: tp})
			}
		}
	}
	resp := kmsg.NewPtrOffsetDeleteResponse()
	if err := h.groups.DeleteOffsets(req.Group, list); err != nil {
		resp.ErrorCode = h.codes.of(err)
		return resp, nil
	}
	for _, t := range req.Topics {
		out := kmsg.NewOffsetDeleteResponseTopic()
		out.Topic = t.Topic
		for _, q := range t.Partitions {
			p := kmsg.NewOffsetDeleteResponseTopicPartition()
			p.Partition = q.Partition
			p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			// They are in the request's order, those left out that there are not.
			if len(list) > 0 && list[0].TopicPartition == (protocol.TopicPartition{Topic: t.Topic, Partition: q.Partition}) {
				p.ErrorCode = h.codes.of(list[0].Err)
				list = list[1:]
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}
