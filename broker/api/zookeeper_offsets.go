package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// zookeeperOffsets are those that version 0 of OffsetCommit writes and version 0 of
// OffsetFetch reads. As with Kafka they are no business of the coordinator's, and any
// broker answers.
type zookeeperOffsets struct {
	store  OldOffsets
	view   *cluster.View
	groups *group.Coordinator // says how long metadata may be, which is not kept
	codes  codes
}

// commit writes offsets of partitions that exist, and sets the Err of each.
func (z *zookeeperOffsets) commit(ctx context.Context, c *group.Commit) {
	list := make([]zkmeta.ConsumerOffset, 0, len(c.Offsets))
	for i := range c.Offsets {
		o := &c.Offsets[i]
		if o.Err = z.groups.CheckMetadata(o.Metadata); o.Err == nil {
			list = append(list, zkmeta.ConsumerOffset{TopicPartition: o.TopicPartition(), Offset: o.Offset})
		}
	}
	z.store.SetConsumerOffsets(ctx, c.Group, list)
	for i := range c.Offsets {
		if o := &c.Offsets[i]; o.Err == nil {
			o.Err = zookeeperError(list[0].Err)
			list = list[1:]
		}
	}
}

// fetch answers for one group. What nothing is committed for is an unknown partition.
func (z *zookeeperOffsets) fetch(ctx context.Context, q *kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	s := z.view.Snapshot()
	var list []zkmeta.ConsumerOffset // of topics that there are
	for _, tp := range partitionsOf(q) {
		if _, known := s.Topic(tp.Topic); known {
			list = append(list, zkmeta.ConsumerOffset{TopicPartition: tp})
		}
	}
	z.store.ConsumerOffsets(ctx, q.Group, list)
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Topics = namedOffsets(q, make([]group.CommittedOffset, len(partitionsOf(q))), false)
	for i := range out.Topics {
		_, known := s.Topic(out.Topics[i].Topic)
		for j := range out.Topics[i].Partitions {
			p := &out.Topics[i].Partitions[j]
			p.Offset, p.ErrorCode = -1, kerr.UnknownTopicOrPartition.Code
			if !known {
				continue
			}
			if o := &list[0]; o.Err != nil {
				p.ErrorCode = z.codes.of(zookeeperError(o.Err))
			} else if o.Exists {
				p.Offset, p.ErrorCode = o.Offset, 0
			}
			list = list[1:]
		}
	}
	return out
}

// zookeeperError has clients told what Kafka tells them, whatever ZooKeeper says, most
// often of a group that cannot be part of a path.
func zookeeperError(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", err, kerr.UnknownServerError)
	}
	return err
}
