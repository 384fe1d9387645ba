package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// offsetForLeaderEpoch tells where the records of a leader epoch end (KIP-101),
// by which consumers and followers find out that their history was cut.
type offsetForLeaderEpoch struct {
	view     *cluster.View
	replicas *replica.Replicas
	codes    codes
}

func (h *offsetForLeaderEpoch) handle(_ context.Context, r *server.Request, req *kmsg.OffsetForLeaderEpochRequest) (*kmsg.OffsetForLeaderEpochResponse, error) {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	s := h.view.Snapshot()
	for _, t := range req.Topics {
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = t.Topic
		for _, q := range t.Partitions {
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition = q.Partition
			current := replica.NoEpoch
			if r.Header.Version >= 2 {
				current = q.CurrentLeaderEpoch
			}
			epoch, end, err := h.find(s, protocol.TopicPartition{Topic: t.Topic, Partition: q.Partition}, current, q.LeaderEpoch)
			if p.LeaderEpoch, p.EndOffset = epoch, end; err != nil {
				p.LeaderEpoch, p.EndOffset = -1, -1
				p.ErrorCode = h.codes.of(err)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (h *offsetForLeaderEpoch) find(s *cluster.Snapshot, tp protocol.TopicPartition, current, wanted int32) (epoch int32, end int64, err error) {
	p, err := hostedPartition(s, h.replicas, tp)
	if err != nil {
		return -1, -1, err
	}
	return p.EndOffsetForEpoch(current, wanted, false)
}
