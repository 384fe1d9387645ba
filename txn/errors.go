package txn

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// What producers are told every day, and no text would help with: these are the plain
// errors of Kafka.
var (
	errConcurrent     error = kerr.ConcurrentTransactions
	errFenced         error = kerr.ProducerFenced
	errIDMapping      error = kerr.InvalidProducerIDMapping
	errLoading        error = kerr.CoordinatorLoadInProgress
	errNotAvailable   error = kerr.CoordinatorNotAvailable
	errNotCoordinator error = kerr.NotCoordinator
	errTxnState       error = kerr.InvalidTxnState
)

// refusals are errors of an append after which its records are surely not in the log.
var refusals = []error{
	kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize,
}

// maybeWritten reports whether the records of an append that failed may be in the log.
func maybeWritten(err error) bool {
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return false
		}
	}
	return true
}

// appendError is what a client is told whose change could not be written.
func appendError(err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.NotEnoughReplicasAfterAppend), errors.Is(err, kerr.RequestTimedOut):
		return errNotAvailable
	case errors.Is(err, kerr.NotLeaderForPartition), errors.Is(err, kerr.KafkaStorageError):
		return errNotCoordinator
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge), errors.Is(err, kerr.InvalidFetchSize):
		return kerr.UnknownServerError
	}
	return err
}
