package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// debuggingConsumer is the replica id of tools that may read from any replica.
const debuggingConsumer = -2

type listOffsets struct {
	replicas *replica.Replicas
	codes    codes
}

func (h *listOffsets) handle(_ context.Context, r *server.Request, req *kmsg.ListOffsetsRequest) (*kmsg.ListOffsetsResponse, error) {
	times := map[protocol.TopicPartition]int{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			times[protocol.TopicPartition{Topic: t.Topic, Partition: p.Partition}]++
		}
	}
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, t := range req.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		for i := range t.Partitions {
			tp := protocol.TopicPartition{Topic: t.Topic, Partition: t.Partitions[i].Partition}
			var found replica.ListedOffset
			err := error(kerr.InvalidRequest)
			if times[tp] == 1 {
				found, err = h.list(r.Header.Version, req, tp, &t.Partitions[i])
			}
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = tp.Partition
			if err != nil {
				found = replica.ListedOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
				p.ErrorCode = h.code(r.Header.Version, err)
			}
			p.Offset, p.Timestamp, p.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (h *listOffsets) list(version int16, req *kmsg.ListOffsetsRequest, tp protocol.TopicPartition, q *kmsg.ListOffsetsRequestTopicPartition) (replica.ListedOffset, error) {
	if !knowsTimestamp(version, q.Timestamp) {
		return replica.ListedOffset{}, kerr.UnsupportedVersion
	}
	p, err := h.replicas.Partition(tp)
	if err != nil {
		return replica.ListedOffset{}, err
	}
	epoch := replica.NoEpoch
	if version >= 4 {
		epoch = q.CurrentLeaderEpoch
	}
	return p.ListOffsets(replica.ListOffsetsRequest{
		Timestamp:          q.Timestamp,
		CurrentLeaderEpoch: epoch,
		Client:             req.ReplicaID < 0,
		ReadCommitted:      version >= 2 && req.IsolationLevel == 1,
		FollowerAllowed:    req.ReplicaID == debuggingConsumer,
	})
}

// knowsTimestamp reports whether a timestamp with a meaning of its own has it in
// that version of the request.
func knowsTimestamp(version int16, ts int64) bool {
	switch ts {
	case replica.MaxTimestamp:
		return version >= 7
	case replica.EarliestLocal:
		return version >= 8
	case replica.LatestTiered:
		return version >= 9
	}
	return ts >= replica.Earliest
}

// code: clients before version 5 do not know OFFSET_NOT_AVAILABLE.
func (h *listOffsets) code(version int16, err error) int16 {
	if version < 5 && errors.Is(err, kerr.OffsetNotAvailable) {
		return kerr.LeaderNotAvailable.Code
	}
	return h.codes.of(err)
}
