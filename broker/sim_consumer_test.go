package broker

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// tap is a consumer of one partition. What it has read is never taken back: the bytes
// are those with which every replica's log begins.
type tap struct {
	s         *simulation
	partition int32
	rnd       *rand.Rand
	wire      wire
	epoch     int32 // the newest that it was told
	next      int64
	bytes     []byte       // all batches that were read
	read      atomic.Int64 // next, for others
}

func newTap(s *simulation, partition int32) *tap {
	return &tap{s: s, partition: partition, rnd: s.random(3000 + uint64(partition)), wire: wire{process: s.clients}}
}

func (c *tap) run(stop <-chan struct{}) {
	defer c.wire.close()
	for !closed(stop) {
		if err := c.follow(stop); err != nil {
			c.wire.close()
			time.Sleep(time.Duration(50+c.rnd.IntN(300)) * time.Millisecond)
		}
	}
}

// follow reads from one leader until something goes wrong.
func (c *tap) follow(stop <-chan struct{}) error {
	found, err := c.wire.leaders(1 + c.rnd.Int32N(3))
	if err != nil {
		return err
	}
	at := found[c.partition]
	if at.leader < 1 || at.epoch < c.epoch {
		return fmt.Errorf("no leader since epoch %d", c.epoch)
	}
	c.epoch = at.epoch
	for !closed(stop) {
		if err := c.fetch(at); err != nil {
			return err
		}
		time.Sleep(time.Duration(c.rnd.IntN(200)) * time.Millisecond)
	}
	return nil
}

func (c *tap) fetch(at placed) error {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 400, 1, 1<<20, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = simTopic
	q := kmsg.NewFetchRequestTopicPartition()
	q.Partition, q.CurrentLeaderEpoch, q.FetchOffset, q.PartitionMaxBytes = c.partition, at.epoch, c.next, 1<<20
	topic.Partitions = append(topic.Partitions, q)
	req.Topics = append(req.Topics, topic)
	answer, err := c.wire.ask(at.leader, req, wireFetch, 3*time.Second)
	if err != nil {
		return err
	}
	p := answer.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		if err == kerr.OffsetOutOfRange {
			c.s.seen.bad("broker %d in epoch %d has no offset %d of partition %d, below which a consumer has read", at.leader, at.epoch, c.next, c.partition)
		}
		return err
	}
	for rest := p.RecordBatches; len(rest) > 0; {
		var b record.Batch
		if b, rest, err = record.Next(rest); err != nil {
			return err // the response may end in the middle of a batch
		}
		if b.BaseOffset() != c.next || b.NextOffset() > p.HighWatermark {
			c.s.seen.bad("partition %d: offset %d was asked for, and broker %d with high watermark %d sent %d to %d", c.partition, c.next, at.leader, p.HighWatermark, b.BaseOffset(), b.LastOffset())
		}
		if err := b.CheckCRC(); err != nil {
			c.s.seen.bad("partition %d, offset %d: %v", c.partition, c.next, err)
		}
		c.bytes = append(c.bytes, b...)
		c.next = b.NextOffset()
		c.read.Store(c.next)
	}
	return nil
}
