package record

import (
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Origin says who appends, which decides what is checked.
type Origin int8

const (
	Client      Origin = iota // a Produce request
	Coordinator               // a coordinator of this broker: offsets, transaction states, markers
	Replication               // a follower that copies its leader, or recovery
)

// CompressionProducer as LeaderRules.TargetCodec keeps the producer's codec.
const CompressionProducer Codec = -1

const (
	// firstBatchProduce is the first version of Produce that carries one record
	// batch (KIP-98); those before it carry message sets.
	firstBatchProduce = 3
	// firstZstdProduce is the first version of Produce that may carry zstd
	// (KIP-110).
	firstZstdProduce = 7
)

// LeaderRules is what a leader demands of a batch before it appends it.
type LeaderRules struct {
	Origin          Origin
	ProduceVersion  int16                   // of the request; only for Client
	Partition       protocol.TopicPartition // for texts
	MaxMessageBytes int32                   // max.message.bytes
	SegmentBytes    int32                   // segment.bytes
	Compacted       bool                    // cleanup.policy has compact: records need keys

	TimestampType TimestampType // message.timestamp.type
	// BeforeMaxMS and AfterMaxMS bound how far CreateTime timestamps may be from
	// NowMS; math.MaxInt64 means unbounded.
	BeforeMaxMS, AfterMaxMS int64
	NowMS                   int64

	// TargetCodec is compression.type, CompressionProducer for "producer".
	TargetCodec Codec
	TargetLevel int // DefaultLevel for the codec's own

	// Full opens every compressed batch and walks its records, as Kafka does.
	// Without it a compressed batch is opened only where the outcome depends on
	// its records.
	Full            bool
	MaxDecompressed int // bytes; 0 means what MaxDecompressed gives
}

// ValidateForLeader checks records, the bytes of one partition in a Produce
// request, and returns the batch to append. It is records itself, patched in
// place and without the partial batch that may follow it, unless the codec or
// the records' offsets must change: then it is a new one. Offset and leader
// epoch are left to the log. logAppendTimeMS is NowMS on a LogAppendTime topic,
// else NoTimestamp.
//
// Before Produce 3 records may be a message set, of which one new batch is made.
// If it holds no whole message there is nothing to append, and b is nil.
//
// Errors wrap kerr.InvalidRecord, InvalidTimestamp, CorruptMessage,
// MessageTooLarge, RecordListTooLarge or UnsupportedCompressionType; faults of
// single records come as *InvalidRecordError.
//
// The checks come in Kafka's order, so that a batch with several faults gets the
// same error.
func ValidateForLeader(records []byte, r LeaderRules) (b Batch, logAppendTimeMS int64, err error) {
	if r.Origin == Client && r.ProduceVersion < firstBatchProduce {
		b, err = r.checkSet(records)
	} else {
		b, err = r.checkBatch(records)
	}
	if err != nil || b == nil {
		return nil, NoTimestamp, err
	}
	if len(b) > int(r.SegmentBytes) {
		return nil, 0, fmt.Errorf("batch of %d bytes, segments have at most %d: %w", len(b), r.SegmentBytes, kerr.RecordListTooLarge)
	}
	if r.TimestampType == LogAppendTime {
		return b, r.NowMS, nil
	}
	return b, NoTimestamp, nil
}

// checkBatch checks what Produce carries since version 3.
func (r *LeaderRules) checkBatch(records []byte) (Batch, error) {
	b, err := theOnlyBatch(records)
	if err != nil {
		return nil, err
	}
	if r.Origin == Client && b.Codec() == Zstd && r.ProduceVersion < firstZstdProduce {
		return nil, fmt.Errorf("zstd in Produce version %d: %w", r.ProduceVersion, kerr.UnsupportedCompressionType)
	}
	if err := r.checkBytes(b); err != nil {
		return nil, err
	}
	if err := r.checkHeader(b); err != nil {
		return nil, err
	}
	return r.checkRecords(b)
}

// theOnlyBatch cuts off a partial batch at the end, as Kafka does, but tolerates
// nothing else beside the one batch that Produce carries since version 3.
func theOnlyBatch(records []byte) (Batch, error) {
	b, rest, err := Next(records)
	switch {
	case errors.Is(err, ErrTruncated):
		return nil, fmt.Errorf("%d bytes hold no whole record batch: %w", len(records), kerr.InvalidRecord)
	case errors.Is(err, ErrUnsupportedMagic):
		return nil, fmt.Errorf("message format %d, only 2 is accepted: %w", b.Magic(), kerr.InvalidRecord)
	case err != nil:
		return nil, err
	}
	switch _, _, err := Next(rest); {
	case errors.Is(err, ErrTruncated):
		return b, nil
	case err != nil && !errors.Is(err, ErrUnsupportedMagic):
		return nil, err
	}
	return nil, fmt.Errorf("more than one record batch for a partition: %w", kerr.InvalidRecord)
}

// checkBytes is what Kafka checks outside of the log's lock.
func (r *LeaderRules) checkBytes(b Batch) error {
	if r.Origin == Client && b.BaseOffset() != 0 {
		return fmt.Errorf("producer sent a batch with base offset %d instead of 0: %w", b.BaseOffset(), kerr.InvalidRecord)
	}
	if err := r.checkSize(b); err != nil {
		return err
	}
	if err := b.CheckCRC(); err != nil {
		return err
	}
	if b.Codec() > Zstd {
		return fmt.Errorf("%v: %w", b.Codec(), kerr.UnsupportedCompressionType)
	}
	return nil
}

func (r *LeaderRules) checkSize(b Batch) error {
	if len(b) > int(r.MaxMessageBytes) {
		return fmt.Errorf("batch of %d bytes, at most %d are allowed: %w", len(b), r.MaxMessageBytes, kerr.MessageTooLarge)
	}
	return nil
}

// checkHeader holds the rules of a client's batch; a coordinator may write
// control records and sets no sequence numbers.
func (r *LeaderRules) checkHeader(b Batch) error {
	if r.Origin != Client {
		return nil
	}
	span := int64(b.LastOffsetDelta()) + 1
	switch count := int64(b.Count()); {
	case span <= 0:
		return fmt.Errorf("batch with a last offset delta of %d: %w", b.LastOffsetDelta(), kerr.InvalidRecord)
	case count <= 0:
		return fmt.Errorf("batch of %d records: %w", count, kerr.InvalidRecord)
	case count != span:
		return fmt.Errorf("batch of %d records takes %d offsets: %w", count, span, kerr.InvalidRecord)
	case b.IsControl():
		return fmt.Errorf("clients may not write control records: %w", kerr.InvalidRecord)
	case b.HasProducerID() && b.BaseSequence() < 0:
		return fmt.Errorf("batch of producer %d with sequence number %d: %w", b.ProducerID(), b.BaseSequence(), kerr.InvalidRecord)
	}
	return nil
}

// checkRecords walks the records where that is needed, and settles the batch's
// timestamp and codec.
func (r *LeaderRules) checkRecords(b Batch) (Batch, error) {
	target := r.TargetCodec
	if target == CompressionProducer || b.IsControl() {
		target = b.Codec()
	}
	maxTimestamp := b.MaxTimestamp()
	if r.mustOpen(b, target) {
		rebuilt := Batch(nil)
		err := r.open(b, target, func(payload []byte) error {
			seen, err := r.survey(b, payload)
			if err != nil {
				return err
			}
			if target != b.Codec() || !seen.offsetsInOrder {
				rebuilt, err = r.rebuild(b, payload, target)
			}
			maxTimestamp = seen.maxTimestamp
			return err
		})
		if err != nil || rebuilt != nil {
			return rebuilt, err
		}
	}
	if r.TimestampType == LogAppendTime {
		maxTimestamp = r.NowMS
	}
	b.SetMaxTimestamp(maxTimestamp, r.TimestampType)
	return b, nil
}

// mustOpen decides whether the records must be looked at. Walking uncompressed
// ones is cheap, so that they always are; decompressing is most of the work that
// a broker can have with a batch, so that it is done only where the header cannot
// answer for the records.
func (r *LeaderRules) mustOpen(b Batch, target Codec) bool {
	switch {
	case b.Codec() == None, r.Full:
		return true
	case target != b.Codec():
		return true // the records must be compressed anew
	case r.Compacted:
		return true // each record needs a key
	case b.TimestampType() == LogAppendTime:
		return true // refused, record by record
	case r.TimestampType == LogAppendTime:
		return false
	}
	return r.BeforeMaxMS != math.MaxInt64 || r.AfterMaxMS != math.MaxInt64 || b.MaxTimestamp() == NoTimestamp
}

// open calls use with the uncompressed payload.
func (r *LeaderRules) open(b Batch, target Codec, use func(payload []byte) error) error {
	if b.Codec() == None {
		return use(b.Payload())
	}
	limit := r.maxDecompressed()
	if target != b.Codec() {
		limit /= 2 // the batch that is built of it takes as much again
	}
	buf := getScratch()
	defer putScratch(buf)
	err := openPayload(buf, b.Payload(), b.Codec(), limit, use)
	if errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: %w", kerr.MessageTooLarge, err)
	}
	return err
}

func (r *LeaderRules) maxDecompressed() int {
	if r.MaxDecompressed == 0 {
		return MaxDecompressed(r.MaxMessageBytes)
	}
	return r.MaxDecompressed
}

// survey goes over the records and refuses the batch if there are faulty ones.
func (r *LeaderRules) survey(b Batch, payload []byte) (survey, error) {
	seen, err := surveyRecords(payload, b.Count(), b.BaseTimestamp())
	if b.TimestampType() == LogAppendTime { // then that of the batch counts for all records
		seen.minTimestamp, seen.maxTimestamp = b.MaxTimestamp(), b.MaxTimestamp()
	}
	if err == nil && r.mayHaveFaults(b.TimestampType(), seen) {
		err = r.findFaults(b, payload)
	}
	return seen, err
}

// mayHaveFaults reports whether checkRecord can find anything wrong in a batch that
// was surveyed.
func (r *LeaderRules) mayHaveFaults(batchType TimestampType, seen survey) bool {
	return r.Compacted && !seen.keyed || batchType == LogAppendTime ||
		r.TimestampType == CreateTime && (r.outOfRange(seen.minTimestamp) || r.outOfRange(seen.maxTimestamp))
}

// findFaults says what is wrong with which records.
func (r *LeaderRules) findFaults(b Batch, payload []byte) error {
	var faults recordFaults
	w := walker{rest: payload, left: b.Count()}
	var rec Record
	for i := int32(0); w.next(&rec); i++ {
		r.checkRecord(&faults, i, rec.Key, b.Timestamp(rec), b.Offset(rec), b.TimestampType())
	}
	return faults.err() // the survey has seen that all records are there
}

// checkRecord notes what is wrong with record i of a batch or message with this
// type of timestamps.
func (r *LeaderRules) checkRecord(faults *recordFaults, i int32, key []byte, timestamp, offset int64, batchType TimestampType) {
	switch {
	case r.Compacted && key == nil:
		faults.keyMissing(i, r)
	case r.TimestampType == CreateTime && timestamp != NoTimestamp:
		if r.outOfRange(timestamp) {
			faults.timestampOutOfRange(i, timestamp, offset, r)
		}
	case batchType == LogAppendTime:
		faults.logAppendTime(i)
	}
}

func (r *LeaderRules) outOfRange(timestamp int64) bool {
	if timestamp < r.NowMS {
		return r.BeforeMaxMS != math.MaxInt64 && timestamp < r.NowMS-r.BeforeMaxMS
	}
	return timestamp-r.NowMS > r.AfterMaxMS
}

// rebuild writes the records again, with another codec or with offsets in order.
func (r *LeaderRules) rebuild(b Batch, payload []byte, target Codec) (Batch, error) {
	builder := NewBuilder().
		SetBaseOffset(b.BaseOffset()).
		SetCodec(target, r.TargetLevel).
		SetProducer(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()).
		SetTransactional(b.IsTransactional())
	if b.IsControl() {
		builder.SetControl()
	}
	if r.TimestampType == LogAppendTime {
		builder.SetLogAppendTime(r.NowMS)
	}
	w := walker{rest: payload, left: b.Count()}
	var rec Record
	for w.next(&rec) {
		builder.appendRecord(b.Timestamp(rec), &rec)
	}
	rebuilt, err := builder.Build()
	if err != nil {
		return nil, err
	}
	return rebuilt, r.checkSize(rebuilt)
}
