package record

import "fmt"

// Origin says who appends, which decides what is checked.
type Origin int8

const (
	Client      Origin = iota // a Produce request
	Coordinator               // a coordinator of this broker: offsets, transaction states, markers
	Replication               // a follower that copies its leader, or recovery
)

// CompressionProducer as LeaderRules.TargetCodec keeps the producer's codec.
const CompressionProducer Codec = -1

// DefaultMaxDecompressed bounds what a batch may decompress to if LeaderRules
// does not say otherwise.
const DefaultMaxDecompressed = 128 << 20

// LeaderRules is what a leader demands of a batch before it appends it.
type LeaderRules struct {
	Origin          Origin
	ProduceVersion  int16 // of the request; only for Client
	MaxMessageBytes int32 // max.message.bytes
	SegmentBytes    int32 // segment.bytes
	Compacted       bool  // cleanup.policy has compact: records need keys

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
	MaxDecompressed int // bytes; 0 means DefaultMaxDecompressed
}

// RecordError says what is wrong with one record of a batch.
type RecordError struct {
	BatchIndex int32 // the record's index in the batch
	Message    string
}

// InvalidRecordError refuses a batch because of single records.
type InvalidRecordError struct {
	// Err is kerr.InvalidRecord or kerr.InvalidTimestamp.
	Err          error
	RecordErrors []RecordError
}

func (e *InvalidRecordError) Error() string {
	return fmt.Sprintf("%d records rejected: %v", len(e.RecordErrors), e.Err)
}

func (e *InvalidRecordError) Unwrap() error { return e.Err }

// ValidateForLeader checks records, the bytes of one partition in a Produce
// request, and returns the batch to append. It is records itself, patched in
// place, unless the codec or the records' offsets must change: then it is a new
// one. Offset and leader epoch are left to the log. logAppendTimeMS is NowMS on
// a LogAppendTime topic, else NoTimestamp.
//
// Errors wrap kerr.InvalidRecord, InvalidTimestamp, CorruptMessage,
// MessageTooLarge, RecordListTooLarge or UnsupportedCompressionType; faults of
// single records come as *InvalidRecordError.
func ValidateForLeader(records []byte, r LeaderRules) (b Batch, logAppendTimeMS int64, err error) {
	panic("not yet")
}
