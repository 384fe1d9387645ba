package api

import (
	"context"
	"time"

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

// deletedRecords is a partition whose log start has moved, or why it has not.
type deletedRecords struct {
	partition   *replica.Partition
	target, low int64 // low is the low watermark; the request is done when it has reached target
	err         error
}

func (h *deleteRecords) handle(ctx context.Context, _ *server.Request, req *kmsg.DeleteRecordsRequest) (*kmsg.DeleteRecordsResponse, error) {
	// First all, then the wait for the other replicas, which is one for all.
	var deleted []deletedRecords
	s := h.view.Snapshot()
	for _, t := range req.Topics {
		for _, q := range t.Partitions {
			deleted = append(deleted, h.delete(s, protocol.TopicPartition{Topic: t.Topic, Partition: q.Partition}, q.Offset))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(req.TimeoutMillis, 0))*time.Millisecond)
	defer cancel()
	resp := kmsg.NewPtrDeleteRecordsResponse()
	for _, t := range req.Topics {
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.Topic
		for _, q := range t.Partitions {
			d := deleted[0]
			deleted = deleted[1:]
			if d.err == nil && d.low < d.target {
				d.low, d.err = d.partition.AwaitLowWatermark(ctx, d.target)
			}
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition = q.Partition
			if p.LowWatermark = d.low; d.err != nil {
				p.LowWatermark = -1
				p.ErrorCode = h.codes.of(d.err)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (h *deleteRecords) delete(s *cluster.Snapshot, tp protocol.TopicPartition, offset int64) (d deletedRecords) {
	if d.partition, d.err = hostedPartition(s, h.replicas, tp); d.err == nil {
		d.target, d.low, d.err = d.partition.DeleteRecords(offset)
	}
	return d
}
