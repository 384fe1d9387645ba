package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

type deleteRecords struct {
	view     *cluster.View
	replicas *replica.Replicas
	codes    codes
}

func (h *deleteRecords) handle(_ context.Context, _ *server.Request, req *kmsg.DeleteRecordsRequest) (*kmsg.DeleteRecordsResponse, error) {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	s := h.view.Snapshot()
	for _, t := range req.Topics {
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.Topic
		for _, q := range t.Partitions {
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition = q.Partition
			low, err := h.delete(s, protocol.TopicPartition{Topic: t.Topic, Partition: q.Partition}, q.Offset)
			if p.LowWatermark = low; err != nil {
				p.LowWatermark = -1
				p.ErrorCode = h.codes.of(err)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// delete returns the lowest start offset of all replicas. With one replica that
// is this broker's, and there is nothing to wait for.
func (h *deleteRecords) delete(s *cluster.Snapshot, tp protocol.TopicPartition, offset int64) (int64, error) {
	p, err := hostedPartition(s, h.replicas, tp)
	if err != nil {
		return -1, err
	}
	_, low, err := p.DeleteRecords(offset)
	return low, err
}
