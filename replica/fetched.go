package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// This is what a fetcher does with the answers.

// apply takes over a response, partition by partition, and sees to flush.messages
// before the leader hears of it.
func (f *fetcher) apply(ctx context.Context) error {
	for i := range f.response.Topics {
		t := &f.response.Topics[i]
		target := fetchTarget{topicKey: topicKey{id: t.TopicID, topic: t.Topic}}
		for j := range t.Partitions {
			q := &t.Partitions[j]
			target.partition = q.Partition
			c := f.byTarget[target]
			if c == nil || !c.inSession {
				continue
			}
			f.applyOne(c, q)
		}
	}
	clear(f.response.Topics) // or they would keep a large buffer for as long as nothing comes
	f.sync()
	return f.bringBack(ctx)
}

// applyOne takes over what is said about one partition.
func (f *fetcher) applyOne(c *copied, q *kmsg.FetchResponseTopicPartition) {
	switch err := kerr.ErrorForCode(q.ErrorCode); err {
	case nil:
		f.applyData(c, q)
	case kerr.OffsetOutOfRange:
		f.outside = append(f.outside, c)
	default:
		// A leader that is not one yet or not any more, or a topic that one of both
		// does not know yet: the controller is about to say so.
		f.logger.Debug("a partition is not fetched", "partition", c.p.tp.String(), "epoch", c.at.leaderEpoch, "err", err)
		f.delay(c)
	}
}

func (f *fetcher) applyData(c *copied, q *kmsg.FetchResponseTopicPartition) {
	if d := q.DivergingEpoch; d.Epoch >= 0 {
		f.logger.Info("a log parts from the leader's and is cut", "partition", c.p.tp.String(), "from", c.at.offset, "lastEpoch", c.at.lastEpoch, "leaderEpoch", d.Epoch, "leaderEnd", d.EndOffset)
		f.applied(c, c.mustMove(c.p.applyDivergence(c.role, Divergence{d.Epoch, d.EndOffset})))
		return
	}
	err := c.p.applyFetched(c.role, c.at.offset, fetchedData{records: q.RecordBatches, highWatermark: q.HighWatermark, logStart: q.LogStartOffset})
	if len(q.RecordBatches) > 0 {
		err = c.mustMove(err)
	}
	f.applied(c, err)
}

// mustMove makes an error of an answer that has left the follower where it was: it
// would ask the same again at once, and be answered the same.
func (c *copied) mustMove(err error) error {
	if err == nil && c.role.position() == c.at {
		err = fmt.Errorf("the leader's answer does not lead on from %+v", c.at)
	}
	return err
}

// bringBack has the partitions whose logs end outside of the leader's begin where
// that allows it. It asks the leader, and hence comes when the response, whose place
// in memory the next one takes, is in the logs. An error is one of the connection.
func (f *fetcher) bringBack(ctx context.Context) error {
	defer func() {
		clear(f.outside)
		f.outside = f.outside[:0]
	}()
	for _, c := range f.outside {
		if err := f.bringBackOne(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (f *fetcher) bringBackOne(ctx context.Context, c *copied) error {
	end, err := f.leaderOffset(ctx, c, Latest)
	start := int64(0)
	if err == nil && end >= c.at.offset {
		start, err = f.leaderOffset(ctx, c, Earliest)
	}
	if err != nil {
		if f.line.conn == nil {
			return err
		}
		f.applied(c, err)
		return nil
	}
	f.logger.Info("a log ends outside of the leader's", "partition", c.p.tp.String(), "end", c.at.offset, "leaderStart", start, "leaderEnd", end)
	f.applied(c, c.mustMove(c.p.applyRestart(c.role, start, end)))
	return nil
}

// leaderOffset asks the leader where its log starts or ends.
func (f *fetcher) leaderOffset(ctx context.Context, c *copied, timestamp int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version = lastListOffsets
	req.ReplicaID = f.broker
	q := kmsg.NewListOffsetsRequestTopicPartition()
	q.Partition, q.CurrentLeaderEpoch, q.Timestamp = c.p.tp.Partition, c.role.leaderEpoch, timestamp
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: c.p.tp.Topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{q}}}
	resp := kmsg.NewPtrListOffsetsResponse()
	resp.Version = req.Version
	if err := f.line.ask(ctx, req, resp, 0); err != nil {
		f.line.close()
		return -1, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return -1, errors.New("the answer to ListOffsets is not about the partition")
	}
	answer := resp.Topics[0].Partitions[0]
	return answer.Offset, kerr.ErrorForCode(answer.ErrorCode)
}

// applied decides how a partition goes on.
func (f *fetcher) applied(c *copied, err error) {
	switch {
	case err == nil:
		c.failures = 0
		if c.role.unsynced() {
			f.unsynced = append(f.unsynced, c)
		}
		if c.role.position() != c.at {
			f.session.want(c)
		}
	case errors.Is(err, errNotFollowing):
		f.session.want(c) // if the role is another, a change is on its way here
	default:
		level := slog.LevelDebug
		if c.failures == 0 { // it may go on like this for long
			level = slog.LevelWarn
		}
		f.logger.Log(context.Background(), level, "a partition cannot be copied for now", "partition", c.p.tp.String(), "err", err)
		f.delay(c)
	}
}

// sync makes durable what flush.messages asks for. Partitions wait for the disk
// side by side.
func (f *fetcher) sync() {
	if len(f.unsynced) == 0 {
		return
	}
	errs := make([]error, len(f.unsynced))
	forEach(len(f.unsynced), func(i int) {
		log := f.unsynced[i].role.log
		errs[i] = log.Sync(log.EndOffset())
	})
	for i, c := range f.unsynced {
		if errs[i] != nil {
			f.applied(c, errs[i])
		}
	}
	clear(f.unsynced)
	f.unsynced = f.unsynced[:0]
}
