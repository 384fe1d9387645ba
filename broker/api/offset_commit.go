package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/group"
)

// offsetCommit has offsets committed: by the coordinator, or in version 0 to ZooKeeper.
type offsetCommit struct {
	view   *cluster.View
	groups *group.Coordinator
	old    zookeeperOffsets
	codes  codes
}

// noRetention says that offsets expire as all others do. Only versions 2 to 4 can say
// something else.
const noRetention = -1

func (h *offsetCommit) handle(ctx context.Context, r *server.Request, req *kmsg.OffsetCommitRequest) (*kmsg.OffsetCommitResponse, error) {
	c := h.commit(req)
	if len(c.Offsets) > 0 {
		if r.Header.Version == 0 {
			h.old.commit(ctx, c)
		} else if err := awaitCommit(ctx, h.groups, c); err != nil {
			return nil, err
		}
	}
	return h.response(req, c), nil
}

// commit is what there is to commit: offsets of partitions that exist. Kafka looks
// whether they do before it looks at the group.
func (h *offsetCommit) commit(req *kmsg.OffsetCommitRequest) *group.Commit {
	c := &group.Commit{Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation}
	expireMS := group.NoExpiry
	if req.RetentionTimeMillis != noRetention {
		expireMS = time.Now().UnixMilli() + req.RetentionTimeMillis
	}
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	c.Offsets = make([]group.CommitOffset, 0, n)
	s := h.view.Snapshot()
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, known := s.Topic(t.Topic)
		if !known {
			continue
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			addIfExists(c, topic, p.Metadata, group.CommitOffset{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, ExpireMS: expireMS,
				CommitMS: p.Timestamp, // group.NoTime in all versions but 1
			})
		}
	}
	return c
}

// addIfExists adds the offset of a partition of a topic to a commit, if there is such a
// partition.
func addIfExists(c *group.Commit, topic *cluster.Topic, metadata *string, o group.CommitOffset) {
	if _, exists := topic.Partition(o.Partition); !exists {
		return
	}
	o.Topic = topic.Name
	if metadata != nil {
		o.Metadata = *metadata
	}
	c.Offsets = append(c.Offsets, o)
}

// awaitCommit has the coordinator commit, and waits until the offsets are in the log, which
// offsets.commit.timeout.ms bounds. Meanwhile nothing else is done for the connection,
// and the request keeps what it has reserved: so waiting commits do not fill the memory.
func awaitCommit(ctx context.Context, groups *group.Coordinator, c *group.Commit) error {
	done := make(chan struct{}, 1)
	groups.CommitOffsets(c, func() { done <- struct{}{} })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitOutcomes are the offsets of a commit that is done, whose errors are asked for
// partition by partition, in the request's order.
type commitOutcomes []group.CommitOffset

// next is what came of the next partition of the request: those that do not exist were
// left out of the commit.
func (o *commitOutcomes) next(topic string, partition int32) error {
	if len(*o) == 0 || (*o)[0].Partition != partition || (*o)[0].Topic != topic {
		return kerr.UnknownTopicOrPartition
	}
	err := (*o)[0].Err
	*o = (*o)[1:]
	return err
}

// response says for each partition of the request what came of it.
func (h *offsetCommit) response(req *kmsg.OffsetCommitRequest, c *group.Commit) *kmsg.OffsetCommitResponse {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	outcomes := commitOutcomes(c.Offsets)
	for i := range req.Topics {
		t := &req.Topics[i]
		out := &resp.Topics[i]
		out.Topic = t.Topic
		out.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &out.Partitions[j]
			p.Partition = t.Partitions[j].Partition
			p.ErrorCode = h.codes.of(outcomes.next(t.Topic, p.Partition))
		}
	}
	return resp
}
