package commitlog

import (
	"context"
	"errors"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// This file states the exported methods while they are being written.

var errTODO = errors.New("not written yet")

// Log is one partition's log. See the methods for who may call what when; all
// are safe for concurrent use.
type Log struct{}

// Open opens the log in o.Dir, creating it if there is none, and recovers it if
// o.Clean is not set.
func Open(o Options) (*Log, error) { return nil, errTODO }

// FileCache bounds the number of open file descriptors of all logs together.
type FileCache struct{}

// NewFileCache returns a cache that keeps at most max descriptors open, except
// for those that are in use at this moment.
func NewFileCache(max int) *FileCache { return &FileCache{} }

// Range is a run of whole batches in one segment's file (the last one may be
// cut off by the byte limit). It keeps the file open and readable, whatever
// happens to the log, until Release.
type Range struct {
	File vfs.File // nil if the range is empty
	Pos  int64
	Len  int
	// BaseOffset is the base offset of the first batch, which may be lower than
	// the offset asked for.
	BaseOffset int64
}

// ReadAt reads from the range; off counts from its start.
func (r *Range) ReadAt(p []byte, off int64) (int, error) { return 0, errTODO }

// AppendTo appends the range's bytes to dst.
func (r *Range) AppendTo(dst []byte) ([]byte, error) { return nil, errTODO }

// Release gives the file back. It may be called more than once.
func (r *Range) Release() {}

// AbortedTxn is a transaction that a read_committed consumer must skip.
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64
	LastOffset       int64 // the ABORT marker's
	LastStableOffset int64
}

// AppendAsLeader gives b the next offset and leaderEpoch, in place, and writes it. b must have passed record.ValidateForLeader.
// Errors: those of producerstate.Check; kerr.RecordListTooLarge; kerr.KafkaStorageError if the disk failed.
func (l *Log) AppendAsLeader(b record.Batch, leaderEpoch int32, o producerstate.Origin) (AppendInfo, error) {
	return AppendInfo{}, errTODO
}

// AppendAsFollower writes batches as they came from the leader. A cut-off batch at the end is left out; batches of an
// epoch newer than leaderEpoch end the append. Errors: kerr.CorruptMessage, kerr.OutOfOrder… , kerr.KafkaStorageError.
func (l *Log) AppendAsFollower(batches []byte, leaderEpoch int32) (AppendInfo, error) {
	return AppendInfo{}, errTODO
}

// Read returns the batches from the one that holds offset from on, at most
// maxBytes and only offsets below upTo. With minOne the first batch is returned
// even if larger than maxBytes. kerr.OffsetOutOfRange (wrapped) if from is
// outside [StartOffset, EndOffset].
func (l *Log) Read(from int64, maxBytes int32, upTo int64, minOne bool) (Range, error) {
	return Range{}, errTODO
}

// UpperBound is an offset at or above every record in r, for AbortedTransactions.
func (l *Log) UpperBound(r Range) int64 { return 0 }

// AbortedTransactions returns the aborted transactions that overlap [from, upper).
func (l *Log) AbortedTransactions(from, upper int64) ([]AbortedTxn, error) { return nil, errTODO }

func (l *Log) Partition() protocol.TopicPartition { return protocol.TopicPartition{} }
func (l *Log) Dir() string                        { return "" }
func (l *Log) StartOffset() int64                 { return 0 }
func (l *Log) EndOffset() int64                   { return 0 }
func (l *Log) HighWatermark() int64               { return 0 }
func (l *Log) LastStableOffset() int64            { return 0 }
func (l *Log) SyncedOffset() int64                { return 0 }
func (l *Log) RecoveryPoint() int64               { return 0 }

// AdvanceHighWatermark raises the high watermark to at most the end offset, never lowers it, and returns it.
func (l *Log) AdvanceHighWatermark(o int64) int64 { return 0 }

// SetHighWatermark sets the high watermark, clamped to [StartOffset, EndOffset], and returns it: a follower's may go down.
func (l *Log) SetHighWatermark(o int64) int64 { return 0 }

// Sync returns when everything below upTo is durable. Concurrent callers share fsyncs. After one failed fsync every
// append and every Sync returns kerr.KafkaStorageError.
func (l *Log) Sync(upTo int64) error { return errTODO }

// Err is the failure that has stopped the log, nil if it works.
func (l *Log) Err() error { return nil }

// SealedUnsynced reports whether rolled segments wait for Sync (of any offset up to the active segment's base).
func (l *Log) SealedUnsynced() bool { return false }

func (l *Log) AssignLeaderEpoch(epoch int32) error          { return errTODO }
func (l *Log) LatestEpoch() (epoch int32, ok bool)          { return 0, false }
func (l *Log) EpochAt(offset int64) (epoch int32)           { return -1 }
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) { return -1, -1 }

// OffsetForTimestamp finds the first record below upTo whose timestamp is ≥ ts; offset −1 if none.
func (l *Log) OffsetForTimestamp(ts, upTo int64) (offset, timestamp int64, leaderEpoch int32, err error) {
	return 0, 0, 0, errTODO
}

// MaxTimestampOffset finds the record with the greatest timestamp; offset −1 if the log is empty.
func (l *Log) MaxTimestampOffset() (offset, timestamp int64, leaderEpoch int32, err error) {
	return 0, 0, 0, errTODO
}

func (l *Log) TruncateTo(offset int64) error              { return errTODO }
func (l *Log) TruncateFullyAndStartAt(offset int64) error { return errTODO }
func (l *Log) AdvanceStartOffset(offset int64) error      { return errTODO }

// DeleteExpired drops the oldest segments as retention asks (start offset, size, time; none that reaches above the high
// watermark), and returns how many.
func (l *Log) DeleteExpired(now time.Time) (int, error) { return 0, errTODO }

// PurgeDeleted physically removes files that were dropped file.delete.delay.ms ago; it returns how many still wait.
func (l *Log) PurgeDeleted(now time.Time) (int, error) { return 0, errTODO }

// ExpireProducers forgets producers silent for too long.
func (l *Log) ExpireProducers(now time.Time) {}

// Producers returns copies of the producers' states.
func (l *Log) Producers() []producerstate.Producer { return nil }

func (l *Log) SetConfig(c *config.Topic) {}
func (l *Log) Config() *config.Topic     { return nil }
func (l *Log) Size() int64               { return 0 }

func (l *Log) TopicID() protocol.TopicID { return protocol.TopicID{} }

// SetTopicID remembers the id; partition.metadata is written before the first append, or by Sync or Close. An id that
// differs from the one already there is kerr.InconsistentTopicID.
func (l *Log) SetTopicID(id protocol.TopicID) error { return errTODO }

// Rename moves the log's directory (to the name under which it is to be deleted, say). Reads go on.
func (l *Log) Rename(dir string) error { return errTODO }

// Close leaves the log as a clean shutdown needs it: synced, indexes cut to size, a snapshot at the end offset.
func (l *Log) Close(ctx context.Context) error { return errTODO }

// Abandon drops the descriptors and writes nothing: for a failed directory, and for logs about to be deleted.
func (l *Log) Abandon() {}
