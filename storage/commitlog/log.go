package commitlog

import (
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Options say what log to open and what is known about it.
type Options struct {
	FS        vfs.FS
	Dir       string // the partition's directory; created if missing
	Partition protocol.TopicPartition
	Config    *config.Topic

	// Clean says that the log directory was shut down cleanly: then indexes and
	// snapshots are trusted and nothing is scanned.
	Clean bool
	// RecoveryPoint, StartOffset and HighWatermark are what the log directory's
	// checkpoints hold for this log, 0 if nothing. They are clamped to what the
	// log really has.
	RecoveryPoint, StartOffset, HighWatermark int64

	// Files is shared by all logs of a broker.
	Files *FileCache
	// ProducerIDExpiration is producer.id.expiration.ms.
	ProducerIDExpiration time.Duration
	// OnTruncate, if set, is called when the recovery point has gone down and
	// before anything is appended: the recovery-point checkpoint must be written
	// then, or a later crash would take offsets for durable that are not. It may
	// read this log's offsets and nothing else of it.
	OnTruncate func() error
	Logger     *slog.Logger // nil discards
}

// AppendInfo says what an append did.
type AppendInfo struct {
	// FirstOffset and LastOffset are those of the batch, or for a duplicate
	// those it got the first time.
	FirstOffset, LastOffset int64
	// MaxTimestamp is the batch's, or for a duplicate the original's, ms.
	MaxTimestamp   int64
	LogStartOffset int64
	// Duplicate: the batch was already in the log and nothing was written.
	Duplicate bool
	Bytes     int // written
}
