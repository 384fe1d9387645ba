package statelog

import (
	"context"
	"fmt"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Log is what a coordinator needs of its topic on this broker.
type Log interface {
	// Append appends one batch, which it may patch and does not keep, to a partition,
	// and calls done once: with the batch's base offset when the batch is
	// acknowledged, or with an error. It may do so before it returns, holds no locks
	// then, and need not do so at all once the partition is led by another broker.
	//
	// A broker that does not lead the partition, or has not led it without a break
	// since epoch, appends nothing. The error wraps kerr.NotLeaderForPartition, or
	// what else a produce request would be refused with.
	Append(partition, epoch int32, batch record.Batch, acks int16, done func(base int64, err error))
	// MaxBatchBytes is the largest batch that the partition takes.
	MaxBatchBytes(partition int32) int
	// Bounds returns the offset at which a partition's log begins, and the one that
	// its next record will have.
	Bounds(partition int32) (start, end int64, err error)
	// Read appends to dst whole batches of a partition: from the one on that has the
	// first record at or after from, at least one, about maxBytes, and none from end
	// on. At the end it appends nothing.
	Read(dst []byte, partition int32, from, end int64, maxBytes int32) ([]byte, error)
	// NotifyCommitted calls done once, when all in-sync replicas have what the partition
	// has now, and as many as it asks for, or with an error: always if this broker, which
	// leads the partition since epoch, ceases to. It may do so before it returns, and holds
	// no locks then.
	NotifyCommitted(partition, epoch int32, done func(error))
	// ConfirmLeader returns nil when no other broker has led a partition since before the
	// call, and this one has since epoch. It may ask other brokers. The error wraps
	// kerr.NotLeaderForPartition, also if that is not known when ctx ends.
	ConfirmLeader(ctx context.Context, partition, epoch int32) error
}

// ReadAll has add see every entry that a partition has now, in order: a batch or, of the
// formats before 2, a message. An entry is not to be kept. It reads about bufferBytes at
// a time. Errors are the log's, add's, those of bytes that are no entry, and ctx's.
func ReadAll(ctx context.Context, log Log, partition, bufferBytes int32, add func(entry record.Batch) error) error {
	at, end, err := log.Bounds(partition)
	if err != nil {
		return err
	}
	var buf []byte
	for at < end && ctx.Err() == nil {
		if buf, err = log.Read(buf[:0], partition, at, end, bufferBytes); err != nil {
			return err
		}
		if len(buf) == 0 {
			break // compaction has removed the last records
		}
		for rest := buf; len(rest) > 0; {
			var entry record.Batch
			if entry, rest, err = record.NextEntry(rest); err != nil {
				return fmt.Errorf("after offset %d: %w", at, err)
			}
			if entry.BaseOffset() >= end {
				return nil
			}
			if err := add(entry); err != nil {
				return err
			}
			at = record.EntryEnd(entry)
		}
	}
	return ctx.Err()
}
