package config

// TimestampType says what a record's timestamp means.
type TimestampType int8

// The values of message.timestamp.type, numbered as in a batch's attributes.
const (
	CreateTime TimestampType = iota
	LogAppendTime
)

// Topic is the effective configuration of one topic, or (as [Broker.Log]) what
// a topic without values of its own gets. It is immutable.
//
// Sizes are bytes and times milliseconds, as in Kafka. −1 in RetentionMS and
// RetentionBytes means no limit; 2⁶³−1 in FlushMessages, FlushMS, the
// compaction lags and the timestamp bounds means never or no bound.
type Topic struct {
	SegmentBytes       int32 // a segment rolls before it grows past this; 14 … 2³¹−1
	SegmentMS          int64 // a segment older than this rolls at the next append
	SegmentJitterMS    int64 // at most this much is taken off SegmentMS, per segment
	SegmentIndexBytes  int32 // size of a new offset index, rounded down to whole entries
	IndexIntervalBytes int32 // bytes of log between two index entries
	Preallocate        bool
	FileDeleteDelayMS  int64 // between renaming a file to be deleted and deleting it

	RetentionMS    int64
	RetentionBytes int64
	Delete         bool // cleanup.policy contains delete
	Compact        bool // cleanup.policy contains compact

	FlushMessages int64 // fsync after so many records; 1 = before each acknowledgement
	FlushMS       int64 // fsync at the latest so long after an append

	MaxMessageBytes      int32  // of one batch, with its header
	CompressionType      string // "producer" (keep), "uncompressed", or a codec: gzip, snappy, lz4, zstd
	CompressionGzipLevel int32
	CompressionLZ4Level  int32
	CompressionZstdLevel int32
	MessageTimestampType TimestampType
	TimestampBeforeMaxMS int64 // a CreateTime may lie at most this far in the past
	TimestampAfterMaxMS  int64 // … and this far in the future
	DownConversion       bool  // old consumers get records converted to formats they know
	FullValidation       bool  // record.validation=full: open every batch and check every record

	MinInsyncReplicas     int32
	UncleanLeaderElection bool

	DeleteRetentionMS      int64 // how long tombstones outlive a cleaning
	MinCompactionLagMS     int64
	MaxCompactionLagMS     int64
	MinCleanableDirtyRatio float64

	LeaderThrottledReplicas   []string // "*" or "partition:broker", as set
	FollowerThrottledReplicas []string
}
