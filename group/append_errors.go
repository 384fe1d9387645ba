package group

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

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
