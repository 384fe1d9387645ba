package commitlog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Options say what log to open and what is known about it.
type Options struct {
	FS vfs.FS
	// Dir is the partition's directory. If it is missing it is created; making
	// its name durable in the directory above is left to the caller.
	Dir       string
	Partition protocol.TopicPartition
	Config    *config.Topic

	// Clean says that the log directory was shut down cleanly: then indexes and
	// snapshots are trusted and nothing is scanned.
	Clean bool
	// RecoveryPoint, StartOffset and HighWatermark are what the log directory's
	// checkpoints hold for this log, 0 if nothing. They are clamped to what the
	// log really has.
	RecoveryPoint, StartOffset, HighWatermark int64
	// CleanedOffset is what the cleaner's checkpoint holds, −1 if nothing; see
	// [Log.CleanedOffset].
	CleanedOffset int64

	// Files is shared by all logs of a broker.
	Files *FileCache
	// ProducerIDExpiration is producer.id.expiration.ms.
	ProducerIDExpiration time.Duration
	// VerifyTransactions is transaction.partition.verification.enable as it is now; nil
	// verifies nothing.
	VerifyTransactions func() bool
	// OnTruncate, if set, is called when the recovery point, the start offset, or the
	// cleaned offset may have gone down, and before anything is appended. Their checkpoints must
	// be written then, or after a later crash a recovery point would pass for
	// durable that is not, or a log that ends below its start for lost. It is
	// called with the log's locks held: of the log it may read offsets only.
	OnTruncate func() error
	// HasRoom, if set, is asked before every append. Its error, which says that
	// the disk is full, refuses the append before anything is touched.
	HasRoom func() error
	Logger  *slog.Logger // nil discards
}

// ErrClosed is returned by everything that is asked of a log after Close or
// Abandon. As with Kafka, that is a storage error to a client.
var ErrClosed = fmt.Errorf("log is closed: %w", kerr.KafkaStorageError)

// none as first unstable offset: no transaction holds the last stable offset
// back.
const none = math.MaxInt64

// Log is one partition's log.
//
// Concurrency: all methods may be called by any goroutine. Two mutexes, taken in
// this order, serialise what changes the log:
//
//   - syncMu is held by whoever fsyncs, so that those who wait for it find that
//     their offset was synced along with others (group commit), and by everything
//     that removes bytes: truncation, retention, compaction, Close.
//   - mu is held by the appender, and by all of the above while they change
//     fields. It is never held during an fsync of log data, except where a
//     segment that is being replaced must first be durable.
//
// Readers take neither. They load the end offset, then the list of segments,
// which is never changed but replaced, and read the segment's file, whose size
// was raised before the end offset was. Hence appends never wait for readers.
type Log struct {
	partition  protocol.TopicPartition
	dir        *logDir
	files      *FileCache
	unnamed    *slog.Logger // see logger
	onTruncate func() error
	hasRoom    func() error
	cfg        atomic.Pointer[config.Topic]

	syncMu sync.Mutex
	mu     sync.Mutex

	segments       atomic.Pointer[[]*segment] // ascending, never empty once open
	start, end     atomic.Int64
	highWatermark  atomic.Int64
	committedEnd   atomic.Int64 // see LostBelow
	firstUnstable  atomic.Int64 // or none
	synced         atomic.Int64
	recoveryPoint  atomic.Int64
	cleaned        atomic.Int64 // see CleanedOffset
	sealedUnsynced atomic.Bool
	failure        atomic.Pointer[error]

	tail      tail
	epochs    epochs
	producers *producerstate.State // mu

	lastSnapshot int64            // mu: nothing is gained by a producer snapshot at this offset or below
	newSnapshots []int64          // mu: offsets of the snapshots that are not durable
	indexed      int64            // mu: offset below which the active segment's indexes are durable
	checked      int64            // mu: position in the active segment up to which recovery need not check
	checkpointed int64            // mu: offset of the last Checkpoint
	truncations  int64            // mu: how often records were taken from the end of the log
	unstableHW   int64            // mu: the greatest high watermark that producers was told
	topicID      protocol.TopicID // mu
	unwritten    bool             // mu: partition.metadata or the epochs are not in their files yet
	late         bool             // mu: unwritten for want of room
	lowered      bool             // mu: onTruncate is still to be called
	dirChanged   bool             // mu: names in the directory are not durable
	deleted      []deletedFile    // mu
	closed       bool             // mu: by Finish, Close or Abandon
	pristine     bool             // mu: it was empty when it was loaded, and is as it was then
	abandoned    bool             // mu
	left         bool             // syncMu: Close has succeeded
}

func (l *Log) Partition() protocol.TopicPartition { return l.partition }

// logger says which partition it is about. It is made when there is something to say,
// since most logs never have anything.
func (l *Log) logger() *slog.Logger { return l.unnamed.With("partition", l.partition.String()) }

// Dir is the partition's directory.
func (l *Log) Dir() string { return l.dir.String() }

// BaseOffset is the first offset of the oldest segment, at or below StartOffset.
func (l *Log) BaseOffset() int64 { return l.list()[0].base }

// StartOffset is the first offset that can be read.
func (l *Log) StartOffset() int64 { return l.start.Load() }

// EndOffset is the offset that the next record gets.
func (l *Log) EndOffset() int64 { return l.end.Load() }

// HighWatermark is the offset below which everything is replicated, as far as
// this log was told.
func (l *Log) HighWatermark() int64 { return l.highWatermark.Load() }

// LastStableOffset is the high watermark or, if it is lower, the first offset of
// a transaction that is open or whose end is not below the high watermark yet.
func (l *Log) LastStableOffset() int64 {
	return max(min(l.highWatermark.Load(), l.firstUnstable.Load()), l.start.Load())
}

// SyncedOffset is the offset below which every record survives a power loss.
func (l *Log) SyncedOffset() int64 { return l.synced.Load() }

// RecoveryPoint is the offset from which the log is to be recovered after a
// crash. It never passes a segment whose indexes are not durable.
func (l *Log) RecoveryPoint() int64 { return l.recoveryPoint.Load() }

// AdvanceHighWatermark raises the high watermark, at most to the end offset, and
// returns what it is now. A lower offset changes nothing.
func (l *Log) AdvanceHighWatermark(offset int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset > l.highWatermark.Load() {
		l.setHighWatermark(offset)
	}
	return l.highWatermark.Load()
}

// SetHighWatermark sets the high watermark, clamped to the start and the end
// offset, and returns what it is now. Unlike a leader's, a follower's may go
// down.
func (l *Log) SetHighWatermark(offset int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setHighWatermark(offset)
	return l.highWatermark.Load()
}

// setHighWatermark must be called with mu held.
func (l *Log) setHighWatermark(offset int64) {
	l.highWatermark.Store(max(min(offset, l.end.Load()), l.start.Load()))
	if l.firstUnstable.Load() != none {
		l.updateUnstable()
	}
}

// updateUnstable must be called with mu held.
func (l *Log) updateUnstable() {
	l.unstableHW = max(l.unstableHW, l.highWatermark.Load())
	first, ok := l.producers.FirstUnstableOffset(l.unstableHW)
	if !ok {
		first = none
	}
	l.firstUnstable.Store(first)
}

// LostBelow is the high watermark that was known before the last start, if the
// log was found to end below it: then records that were acknowledged are missing
// here. Otherwise it is 0. It stays until Complete, across restarts, too.
func (l *Log) LostBelow() int64 { return l.committedEnd.Load() }

// Complete says that the log has been compared with its leader's, and has all
// that the leader knows to be committed.
func (l *Log) Complete() {
	if l.committedEnd.Load() != 0 { // hardly ever
		l.committedEnd.Store(0)
	}
}

// Config is the topic's configuration.
func (l *Log) Config() *config.Topic { return l.cfg.Load() }

// SetConfig replaces the configuration, from the next append on.
func (l *Log) SetConfig(c *config.Topic) { l.cfg.Store(c) }

// Size is the size of all segments, without indexes, in bytes.
func (l *Log) Size() (bytes int64) {
	for _, s := range l.list() {
		bytes += s.size.Load()
	}
	return bytes
}

// list is the segments, ascending.
func (l *Log) list() []*segment { return *l.segments.Load() }

// active is the segment that is written to. mu must be held, or the log be
// still unknown to others.
func (l *Log) active() *segment {
	list := l.list()
	return list[len(list)-1]
}

func (l *Log) publish(list []*segment) { l.segments.Store(&list) }

// floor is the number of the last segment whose base is ≤ offset, −1 if none.
func floor(list []*segment, offset int64) int {
	return sort.Search(len(list), func(i int) bool { return list[i].base > offset }) - 1
}

// Err is the failure that has stopped the log, nil if there was none. It wraps
// kerr.KafkaStorageError.
func (l *Log) Err() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// fail stops the log for good: what is on the disk is no longer known.
func (l *Log) fail(doing string, err error) error {
	if vfs.NoRoom(err) {
		err = errors.New(err.Error()) // this one does not go away when there is room
	}
	err = storageError(doing, l.partition, err)
	l.failure.CompareAndSwap(nil, &err)
	return err
}

// refuse ends an operation that has left the log as it was: a full disk keeps it
// from being done, and nothing else. Any other error stops the log.
func (l *Log) refuse(doing string, err error) error {
	if vfs.NoRoom(err) {
		return storageError(doing, l.partition, err)
	}
	return l.fail(doing, err)
}

func storageError(doing string, p protocol.TopicPartition, err error) error {
	return fmt.Errorf("%s of %s: %w: %w", doing, p, err, kerr.KafkaStorageError)
}

// usable must be called with mu held.
func (l *Log) usable() error {
	if err := l.Err(); err != nil {
		return err
	}
	if l.closed {
		return ErrClosed
	}
	return nil
}

// TopicID is the topic's id, zero if it is not known.
func (l *Log) TopicID() protocol.TopicID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.topicID
}

// SetTopicID notes the topic's id. partition.metadata is written before the next
// append or by Close, whichever comes first. If the log has another id,
// the error wraps kerr.InconsistentTopicID.
func (l *Log) SetTopicID(id protocol.TopicID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case id.IsZero() || l.topicID == id:
		return nil
	case !l.topicID.IsZero():
		return fmt.Errorf("%s has topic id %s and not %s: %w", l.partition, l.topicID, id, kerr.InconsistentTopicID)
	}
	l.topicID = id
	l.unwritten = true
	return nil
}

// writeMetadata writes the small files that wait for it, which comes before
// anything is appended or called durable. After an error they still wait. mu must
// be held.
func (l *Log) writeMetadata() error {
	if l.lowered {
		if err := l.onTruncate(); err != nil {
			return err
		}
		l.lowered = false
	}
	if !l.unwritten {
		return nil
	}
	if !l.topicID.IsZero() {
		if err := vfs.ReplaceFile(l.dir.fs, l.dir.join(metadataFile), formatMetadata(l.topicID)); err != nil {
			return err
		}
	}
	if _, err := l.epochs.write(); err != nil {
		return err
	}
	l.dirChanged = true
	if l.late {
		// A power loss must not bring a file back that names epochs of a part that
		// was truncated: their new batches would be taken for known.
		if err := l.dir.fs.SyncDir(l.dir.join("")); err != nil {
			return err
		}
	}
	l.unwritten, l.late = false, false
	return nil
}

// AssignLeaderEpoch notes that this broker leads from the end offset on, if the
// epoch is new.
func (l *Log) AssignLeaderEpoch(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.assignEpoch(epoch, l.end.Load(), l.start.Load() == l.end.Load())
}

// assignEpoch notes that epoch begins at offset, if it is new. empty says that there
// are no records, so that its file can wait for writeMetadata. mu must be held.
func (l *Log) assignEpoch(epoch int32, offset int64, empty bool) error {
	if l.epochs.knows(epoch) {
		return nil
	}
	wrote, err := l.epochs.assign(epoch, offset, empty)
	if err == nil && !wrote {
		l.unwritten = true
	}
	if err := l.epochsChanged(wrote, err); err != nil {
		return l.fail("writing the leader epochs", err)
	}
	return nil
}

// clearEpochs forgets the leader epochs, as Kafka does when a leader hands on
// messages of a format that has none: then logs are compared by the high
// watermark again. mu must be held.
func (l *Log) clearEpochs() error {
	if err := l.epochsChanged(l.epochs.clear()); err != nil {
		return l.fail("writing the leader epochs", err)
	}
	return nil
}

// epochsChanged passes on what came of a change of the leader epochs. What did
// not fit on the disk waits for writeMetadata. Until then the file may name
// epochs that the log has lost, which loading puts right, and may lack one whose
// batches recovery finds again, for nothing is called durable meanwhile. mu must
// be held.
func (l *Log) epochsChanged(wrote bool, err error) error {
	if vfs.NoRoom(err) {
		l.unwritten, l.late = true, true
		return nil
	}
	l.dirChanged = l.dirChanged || wrote
	return err
}

// LatestEpoch is the newest leader epoch that is known; ok is false if none is.
func (l *Log) LatestEpoch() (epoch int32, ok bool) {
	e, ok := l.epochs.latest()
	return e.epoch, ok
}

// EpochAt is the leader epoch in which offset was written, −1 if unknown.
func (l *Log) EpochAt(offset int64) int32 { return l.epochs.at(offset) }

// EndOffsetForEpoch answers OffsetForLeaderEpoch (KIP-101, KIP-279): the newest
// known epoch that is ≤ the one asked for, and the offset at which it ended, the
// end offset for the newest epoch. (−1, −1) if the epoch is newer than all that
// are known. If it is older than all, it is returned with the offset at which the
// first known one begins.
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) {
	return l.epochs.endOffset(epoch, l.end.Load())
}

// Producers returns copies of the states of all producers, in no order.
func (l *Log) Producers() []producerstate.Producer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.AppendSeq(make([]producerstate.Producer, 0, l.producers.Len()), l.producers.Producers())
}

// HasOpenTransaction reports whether the producer has a transaction here that no
// marker has ended.
func (l *Log) HasOpenTransaction(producerID int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.HasOpenTransaction(producerID)
}

// OldestTransaction is producerstate.State.OldestTransaction. Where no transaction is open
// it takes no lock.
func (l *Log) OldestTransaction() (t producerstate.OpenTransaction, ok bool) {
	if l.firstUnstable.Load() == none {
		return producerstate.OpenTransaction{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.OldestTransaction()
}

// BeginVerification is producerstate.State.BeginVerification.
func (l *Log) BeginVerification(producerID int64, epoch int16, sequence int32, now time.Time) *producerstate.Verification {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.BeginVerification(producerID, epoch, sequence, now.UnixMilli())
}

// EndVerification is producerstate.State.EndVerification.
func (l *Log) EndVerification(producerID int64, v *producerstate.Verification, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.EndVerification(producerID, v, open)
}

// ExpireProducers forgets the producers that have been silent for too long.
func (l *Log) ExpireProducers(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.Expire(now.UnixMilli())
}
