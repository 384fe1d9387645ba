package record

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// RecordError says what is wrong with one record of a batch (KIP-467).
type RecordError struct {
	BatchIndex int32 // the record's index in the batch
	Message    string
}

// InvalidRecordError refuses a batch because of single records.
type InvalidRecordError struct {
	// Err is kerr.InvalidTimestamp if one of the records has a wrong timestamp,
	// else kerr.InvalidRecord.
	Err error
	// Total counts the faulty records; RecordErrors describes the first of them.
	Total        int
	RecordErrors []RecordError
}

func (e *InvalidRecordError) Error() string {
	first := ""
	if len(e.RecordErrors) > 0 {
		first = fmt.Sprintf(" (the first, at index %d: %s)", e.RecordErrors[0].BatchIndex, e.RecordErrors[0].Message)
	}
	return fmt.Sprintf("%d records rejected%s: %v", e.Total, first, e.Err)
}

func (e *InvalidRecordError) Unwrap() error { return e.Err }

// Text is what Kafka tells the producer of the batch as a whole.
func (e *InvalidRecordError) Text() string {
	if e.Err == kerr.InvalidTimestamp {
		return "One or more records have been rejected due to invalid timestamp"
	}
	first := e.RecordErrors[:min(3, len(e.RecordErrors))]
	shown := make([]string, len(first))
	for i, r := range first {
		shown[i] = fmt.Sprintf("RecordError(batchIndex=%d, message='%s')", r.BatchIndex, r.Message)
	}
	return fmt.Sprintf("One or more records have been rejected due to %d record errors in total, and only showing the first three errors at most: [%s]",
		e.Total, strings.Join(shown, ", "))
}

// maxRecordErrors bounds how many faulty records are described, so that a batch
// of a hundred thousand keyless records does not earn an answer that is larger
// than itself.
const maxRecordErrors = 1000

// recordFaults collects the faults of a batch's records.
type recordFaults struct {
	errors       []RecordError
	total        int
	anyTimestamp bool
}

// The texts are Kafka's.

func (f *recordFaults) keyMissing(index int32, r *LeaderRules) {
	f.add(index, func() string {
		return fmt.Sprintf("Compacted topic cannot accept message without key in topic partition %v", r.Partition)
	})
}

func (f *recordFaults) otherFormat(index int32, inner, outer int8, r *LeaderRules) {
	f.add(index, func() string {
		return fmt.Sprintf("Record's magic %d does not match outer magic %d in topic partition %v", inner, outer, r.Partition)
	})
}

func (f *recordFaults) logAppendTime(index int32) {
	f.anyTimestamp = true
	f.add(index, func() string {
		return "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime."
	})
}

func (f *recordFaults) timestampOutOfRange(index int32, timestamp, offset int64, r *LeaderRules) {
	f.anyTimestamp = true
	f.add(index, func() string {
		return fmt.Sprintf("Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
			timestamp, offset, r.NowMS-r.BeforeMaxMS, r.NowMS+r.AfterMaxMS)
	})
}

// add notes a fault, and describes it unless there are too many.
func (f *recordFaults) add(index int32, describe func() string) {
	if f.total++; len(f.errors) < maxRecordErrors {
		f.errors = append(f.errors, RecordError{index, describe()})
	}
}

func (f *recordFaults) err() error {
	switch {
	case f.total == 0:
		return nil
	case f.anyTimestamp:
		return &InvalidRecordError{Err: kerr.InvalidTimestamp, Total: f.total, RecordErrors: f.errors}
	}
	return &InvalidRecordError{Err: kerr.InvalidRecord, Total: f.total, RecordErrors: f.errors}
}
