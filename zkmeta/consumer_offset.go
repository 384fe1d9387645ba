package zkmeta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// Before __consumer_offsets there was, groups kept their offsets here, and those that
// commit in version 0 still do. Nothing ever removes them.

// ConsumerOffsetPath holds what a group has committed for a partition, in decimal. As
// with Kafka the group's name is not encoded: one with a slash makes one level more,
// and one that cannot be part of a path is refused by every operation.
func ConsumerOffsetPath(group string, tp protocol.TopicPartition) string {
	return "/consumers/" + group + "/offsets/" + tp.Topic + "/" + strconv.Itoa(int(tp.Partition))
}

// ConsumerOffset is an offset that stands in ZooKeeper, or is to stand there.
type ConsumerOffset struct {
	protocol.TopicPartition
	Offset int64 // who commits -1 has committed it
	Exists bool  // set by ConsumerOffsets: something is committed
	Err    error // set by SetConsumerOffsets, and by ConsumerOffsets, then perhaps a *MalformedError
}

// inPipeline is how many offsets are read or written at a time: clients may name a
// quarter of a million, of which each takes a kilobyte while it waits, and makes whatever
// else the broker asks of ZooKeeper wait.
const inPipeline = 1000

// ConsumerOffsets reads what a group has committed for each of the partitions,
// pipelined, and sets all but the partition.
func (c *Client) ConsumerOffsets(ctx context.Context, group string, list []ConsumerOffset) {
	for some := range slices.Chunk(list, inPipeline) {
		c.consumerOffsets(ctx, group, some)
	}
}

func (c *Client) consumerOffsets(ctx context.Context, group string, list []ConsumerOffset) {
	paths := make([]string, len(list))
	for i := range list {
		paths[i] = ConsumerOffsetPath(group, list[i].TopicPartition)
	}
	for i, r := range c.gets(ctx, paths, nil) {
		o := &list[i]
		o.Offset, o.Exists, o.Err = 0, false, nil
		switch {
		case errors.Is(r.Err, session.ErrNoNode), r.Err == nil && r.Data == nil:
		case r.Err != nil:
			o.Err = fmt.Errorf("read an offset of group %s: %w", group, r.Err)
		default:
			o.Offset, o.Err = decodeConsumerOffset(paths[i], r.Data)
			o.Exists = o.Err == nil
		}
	}
}

func decodeConsumerOffset(path string, data []byte) (int64, error) {
	offset, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return 0, malformed(path, data, err)
	}
	return offset, nil
}

// SetConsumerOffsets writes offsets of a group, pipelined, the last one of a partition
// that is named again, and sets the Err of each.
func (c *Client) SetConsumerOffsets(ctx context.Context, group string, list []ConsumerOffset) {
	for some := range slices.Chunk(list, inPipeline) {
		c.setConsumerOffsets(ctx, group, some)
	}
}

func (c *Client) setConsumerOffsets(ctx context.Context, group string, list []ConsumerOffset) {
	ops := make([]session.Op, len(list))
	for i := range list {
		ops[i] = setConsumerOffset(group, &list[i])
	}
	for i, r := range c.zk.Do(ctx, c.in, ops...) {
		o := &list[i]
		if o.Err = r.Err; errors.Is(r.Err, session.ErrNoNode) {
			o.Err = c.createConsumerOffset(ctx, group, o)
		}
		if o.Err != nil {
			o.Err = fmt.Errorf("write an offset of group %s: %w", group, o.Err)
		}
	}
}

func setConsumerOffset(group string, o *ConsumerOffset) session.Op {
	return session.Set(ConsumerOffsetPath(group, o.TopicPartition), strconv.AppendInt(nil, o.Offset, 10), session.AnyVersion)
}

func (c *Client) createConsumerOffset(ctx context.Context, group string, o *ConsumerOffset) error {
	err := c.createRecursive(ctx, ConsumerOffsetPath(group, o.TopicPartition), strconv.AppendInt(nil, o.Offset, 10))
	if errors.Is(err, session.ErrNodeExists) {
		_, err = c.do1(ctx, setConsumerOffset(group, o))
	}
	return err
}
