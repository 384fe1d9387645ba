package group

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Log is what the coordinator needs of __consumer_offsets on this broker.
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
}

// commitError is what a client is told whose offsets could not be written.
func commitError(err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.NotEnoughReplicasAfterAppend):
		return kerr.CoordinatorNotAvailable
	case errors.Is(err, kerr.NotLeaderForPartition), errors.Is(err, kerr.KafkaStorageError):
		return errNotCoordinator
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge), errors.Is(err, kerr.InvalidFetchSize):
		return kerr.InvalidCommitOffsetSize
	}
	return err
}

// metadataError is what members are told whose group could not be written.
func metadataError(err error) error {
	switch err := commitError(err); {
	case errors.Is(err, kerr.RequestTimedOut):
		return errRebalancing
	case errors.Is(err, kerr.InvalidCommitOffsetSize):
		return errUnknownServerError
	default:
		return err
	}
}
