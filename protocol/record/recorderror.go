package record

import (
	"fmt"

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

func (f *recordFaults) keyMissing(index int32) {
	f.add(index, "Compacted topic cannot accept message without key.")
}

func (f *recordFaults) otherFormat(index int32, inner, outer int8) {
	f.add(index, fmt.Sprintf("Message of format %d inside of one of format %d.", inner, outer))
}

func (f *recordFaults) logAppendTime(index int32) {
	f.anyTimestamp = true
	f.add(index, "Producer should not set timestamp type to LogAppendTime.")
}

func (f *recordFaults) timestampOutOfRange(index int32, timestamp int64, r *LeaderRules) {
	f.anyTimestamp = true
	if f.total++; len(f.errors) < maxRecordErrors {
		f.errors = append(f.errors, RecordError{index, fmt.Sprintf(
			"Timestamp %d is out of range: it is %d ms after the broker's time, and may be at most %d ms before and %d ms after it.",
			timestamp, timestamp-r.NowMS, r.BeforeMaxMS, r.AfterMaxMS)})
	}
}

func (f *recordFaults) add(index int32, message string) {
	if f.total++; len(f.errors) < maxRecordErrors {
		f.errors = append(f.errors, RecordError{index, message})
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
