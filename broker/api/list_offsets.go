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

const (
	// consumerID is the replica id of clients, who see committed records only.
	consumerID = -1
	// debuggingConsumer is the replica id of tools that may read from any replica.
	debuggingConsumer = -2
)

// maxRepeats is how often a request of version 0 may name one partition. Later
// versions may once. Kafka does not limit it, but then one request could ask for
// gigabytes of offsets.
const maxRepeats = 10

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
	allowed := 1
	if r.Header.Version == 0 {
		allowed = maxRepeats
	}
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, t := range req.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		for i := range t.Partitions {
			tp := protocol.TopicPartition{Topic: t.Topic, Partition: t.Partitions[i].Partition}
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = tp.Partition
			err := error(kerr.InvalidRequest)
			if times[tp] <= allowed {
				err = h.list(r.Header.Version, req, tp, &t.Partitions[i], &p)
			}
			p.ErrorCode = h.code(r.Header.Version, err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// list answers for one partition; after an error out is as it was.
func (h *listOffsets) list(version int16, req *kmsg.ListOffsetsRequest, tp protocol.TopicPartition, q *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) error {
	if !knowsTimestamp(version, q.Timestamp) {
		return kerr.UnsupportedVersion
	}
	p, err := h.replicas.Partition(tp)
	if err != nil {
		return err
	}
	wanted := replica.ListOffsetsRequest{
		Timestamp:          q.Timestamp,
		CurrentLeaderEpoch: replica.NoEpoch,
		Client:             req.ReplicaID == consumerID,
		ReadCommitted:      version >= 2 && req.IsolationLevel == 1,
		FollowerAllowed:    req.ReplicaID == debuggingConsumer,
	}
	if version == 0 {
		if q.MaxNumOffsets < 0 {
			return kerr.UnknownServerError // Kafka's answer
		}
		out.OldStyleOffsets, err = p.OffsetsBefore(wanted, int(q.MaxNumOffsets))
		return err
	}
	if version >= 4 {
		wanted.CurrentLeaderEpoch = q.CurrentLeaderEpoch
	}
	found, err := p.ListOffsets(wanted)
	if err == nil {
		out.Offset, out.Timestamp, out.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
	}
	return err
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
