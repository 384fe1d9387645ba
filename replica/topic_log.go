package replica

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// TopicLog is an internal topic on this broker, as the coordinator sees it that keeps
// its state there.
type TopicLog struct {
	replicas *Replicas
	topic    string
}

// TopicLog returns the log of a topic, which need not exist yet.
func (r *Replicas) TopicLog(topic string) TopicLog { return TopicLog{r, topic} }

// Append appends a batch for a coordinator, which has coordinated the partition since
// this broker began to lead it in the given epoch; see [AppendRequest.LedSince]. It
// patches the batch and does not keep it.
//
// done is called once, with the batch's base offset when acks are satisfied, or with an
// error of Partition.Append or NotifyAt. That may be before Append returns; no lock is
// held then, and done must not block.
func (l TopicLog) Append(partition, epoch int32, batch record.Batch, acks int16, done func(base int64, err error)) {
	p, err := l.partition(partition)
	if err != nil {
		done(-1, err)
		return
	}
	r, err := p.Append(batch, AppendRequest{Origin: record.Coordinator, Acks: acks, LedSince: epoch})
	if err != nil {
		done(-1, err)
		return
	}
	if acks == AcksAll {
		_, there := p.NotifyAt(r.LastOffset+1, r.LeaderEpoch, func(err error) { done(r.BaseOffset, err) })
		if !there {
			return
		}
	}
	done(r.BaseOffset, nil)
}

// NotifyCommitted calls done once: with nil when the high watermark has reached what the
// partition has now, which it does not with fewer replicas than min.insync.replicas asks
// for, or with an error of Partition.Log or NotifyAt. That may be before NotifyCommitted
// returns; no lock is held then, and done must not block.
func (l TopicLog) NotifyCommitted(partition, epoch int32, done func(error)) {
	log, p, err := l.log(partition)
	if err != nil {
		done(err)
		return
	}
	_, there := p.NotifyAt(log.EndOffset(), epoch, func(err error) {
		if errors.Is(err, kerr.NotEnoughReplicasAfterAppend) {
			err = nil
		}
		done(err)
	})
	if there {
		done(nil)
	}
}

// ConfirmLeader is Partition.ConfirmLeader. Errors wrap those of it and of
// Replicas.Partition.
func (l TopicLog) ConfirmLeader(ctx context.Context, partition, epoch int32) error {
	p, err := l.partition(partition)
	if err != nil {
		return err
	}
	return p.ConfirmLeader(ctx, epoch)
}

// unknownMaxBatch is the largest batch of a partition that is not here: appends to it
// are refused anyway.
const unknownMaxBatch = 1 << 20

// MaxBatchBytes is the largest batch that a partition takes.
func (l TopicLog) MaxBatchBytes(partition int32) int {
	log, _, err := l.log(partition)
	if err != nil {
		return unknownMaxBatch
	}
	cfg := log.Config()
	return int(min(cfg.MaxMessageBytes, cfg.SegmentBytes))
}

// Bounds returns the offset at which a partition's log begins, and the one that its next
// record will have. Errors are those of Partition.Log.
func (l TopicLog) Bounds(partition int32) (start, end int64, err error) {
	log, _, err := l.log(partition)
	if err != nil {
		return 0, 0, err
	}
	return log.StartOffset(), log.EndOffset(), nil
}

// Read appends to dst whole batches of a partition, whether they are committed or not:
// from the one on that has the first record at or after from, at least one, about
// maxBytes, and none from end on. At the end it appends nothing. Errors are those of
// Partition.Log and commitlog.Log.Read.
func (l TopicLog) Read(dst []byte, partition int32, from, end int64, maxBytes int32) ([]byte, error) {
	log, p, err := l.log(partition)
	if err != nil {
		return dst, err
	}
	r, err := log.Read(from, maxBytes, end, true)
	if err != nil {
		return dst, p.explain(err)
	}
	defer r.Release()
	read, err := r.AppendTo(dst)
	if err != nil {
		return dst, p.explain(err)
	}
	return read[:len(dst)+wholeBatches(read[len(dst):])], nil
}

// wholeBatches is how many bytes of b are batches that do not end behind it. What is no
// batch counts, too: who reads it shall see it.
func wholeBatches(b []byte) int {
	for rest := b; ; {
		_, next, err := record.NextEntry(rest)
		switch {
		case errors.Is(err, record.ErrTruncated):
			return len(b) - len(rest)
		case err != nil:
			return len(b)
		}
		rest = next
	}
}

func (l TopicLog) partition(n int32) (*Partition, error) {
	return l.replicas.Partition(protocol.TopicPartition{Topic: l.topic, Partition: n})
}

func (l TopicLog) log(n int32) (*commitlog.Log, *Partition, error) {
	p, err := l.partition(n)
	if err != nil {
		return nil, nil, err
	}
	log, err := p.Log()
	return log, p, err
}
