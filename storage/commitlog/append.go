package commitlog

import (
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
)

// AppendInfo says what an append did.
type AppendInfo struct {
	// FirstOffset and LastOffset are those of the batch, or for a duplicate
	// those it got the first time. If nothing was appended, LastOffset is
	// FirstOffset − 1.
	FirstOffset, LastOffset int64
	// MaxTimestamp is the batch's, or for a duplicate the original's, ms.
	MaxTimestamp   int64
	LogStartOffset int64
	// Duplicate: the batch was already in the log and nothing was written.
	Duplicate bool
	Bytes     int // written
}

// ErrUnexpectedOffset says that a follower was given batches that do not continue
// its log.
var ErrUnexpectedOffset = errors.New("batches do not continue the log")

// AppendAsLeader gives the batch the next offset and the leader epoch, in place,
// and writes it. When it returns, readers see the batch, and no kill of the
// process loses it. b is not kept.
//
// The batch must have passed record.ValidateForLeader. Errors wrap those of
// producerstate.State.Check, or kerr.RecordListTooLarge, or
// kerr.KafkaStorageError if the disk refused; then nothing was appended. If the
// disk is full (see vfs.NoRoom), the same append may succeed later.
func (l *Log) AppendAsLeader(b record.Batch, leaderEpoch int32, o producerstate.Origin) (AppendInfo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return AppendInfo{}, err
	}
	if limit := l.Config().SegmentBytes; len(b) > int(limit) {
		return AppendInfo{}, fmt.Errorf("a batch of %d bytes does not fit a segment of %d: %w", len(b), limit, kerr.RecordListTooLarge)
	}
	dup, err := l.producers.Check(b, o)
	if err != nil {
		return AppendInfo{}, fmt.Errorf("append to %s: %w", l.partition, err)
	}
	if dup != nil {
		return AppendInfo{
			FirstOffset:    dup.FirstOffset(),
			LastOffset:     dup.LastOffset,
			MaxTimestamp:   dup.Timestamp,
			LogStartOffset: l.start.Load(),
			Duplicate:      true,
		}, nil
	}
	if err := l.checkRoom(); err != nil {
		return AppendInfo{}, err
	}
	b.SetBaseOffset(l.end.Load())
	b.SetLeaderEpoch(leaderEpoch)
	if err := l.assignEpoch(leaderEpoch, b.BaseOffset(), l.start.Load() == l.end.Load()); err != nil {
		return AppendInfo{}, err
	}
	return l.write(b, extent{first: b.BaseOffset(), last: b.LastOffset(), maxTimestamp: b.MaxTimestamp()})
}

// AppendAsFollower writes batches as the leader has them, offsets included. A
// batch that is cut off at the end is left out; so is everything from the first
// batch on whose leader epoch is newer than leaderEpoch, the epoch this replica
// follows, for it comes from a leader that this replica does not know yet.
//
// If the log is empty and the first batch begins before the end offset, but does
// not end there, the log starts anew with it: a leader whose log begins in the
// middle of a batch can only send it whole. The leader's start offset is then to
// be applied with AdvanceStartOffset.
//
// Errors wrap kerr.CorruptMessage, ErrUnexpectedOffset if the offsets do not
// ascend from the end offset, or kerr.KafkaStorageError; then nothing was
// appended.
func (l *Log) AppendAsFollower(batches []byte, leaderEpoch int32) (AppendInfo, error) {
	x, err := measure(batches, leaderEpoch)
	if err != nil {
		return AppendInfo{}, fmt.Errorf("append to %s: %w", l.partition, err)
	}
	if end := l.end.Load(); x.bytes > 0 && x.first < end && end <= x.firstLast && l.start.Load() == end {
		if err := l.TruncateFullyAndStartAt(x.first); err != nil {
			return AppendInfo{}, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return AppendInfo{}, err
	}
	end := l.end.Load()
	if x.bytes == 0 {
		return AppendInfo{FirstOffset: end, LastOffset: end - 1, MaxTimestamp: record.NoTimestamp, LogStartOffset: l.start.Load()}, nil
	}
	if x.first < end {
		return AppendInfo{}, fmt.Errorf("append to %s: the first batch begins at %d, the log ends at %d: %w", l.partition, x.first, end, ErrUnexpectedOffset)
	}
	if err := l.checkRoom(); err != nil {
		return AppendInfo{}, err
	}
	return l.write(batches[:x.bytes], x)
}

func (l *Log) checkRoom() error {
	if l.hasRoom == nil {
		return nil
	}
	if err := l.hasRoom(); err != nil {
		return storageError("append", l.partition, err)
	}
	return nil
}

// extent is what the batches of one append cover.
type extent struct {
	first, last  int64
	firstLast    int64 // last offset of the first batch
	maxTimestamp int64
	bytes        int
}

// measure checks a follower's batches and says what they cover.
func measure(batches []byte, leaderEpoch int32) (extent, error) {
	x := extent{maxTimestamp: record.NoTimestamp, last: -1}
	for rest := batches; len(rest) > 0; {
		h, b, next, err := splitBatch(rest)
		if errors.Is(err, record.ErrTruncated) || err == nil && h.epoch > leaderEpoch {
			break
		}
		if err == nil {
			err = checkCRC(b)
		}
		if err == nil && h.base <= x.last {
			err = fmt.Errorf("offset %d comes after %d: %w", h.base, x.last, ErrUnexpectedOffset)
		}
		if err != nil {
			return extent{}, err
		}
		if x.bytes == 0 {
			x.first, x.firstLast = h.base, h.last
		}
		x.last = h.last
		x.maxTimestamp = max(x.maxTimestamp, h.maxTimestamp)
		x.bytes += len(b)
		rest = next
	}
	return x, nil
}

// write appends whole batches, which continue the log, with one write, and makes
// them visible. Whatever needs room comes before the batches or with them, and is
// taken back if there is none; what comes behind them can wait for it in memory.
// mu must be held.
func (l *Log) write(batches []byte, x extent) (AppendInfo, error) {
	l.pristine = false
	if err := l.writeMetadata(); err != nil {
		return AppendInfo{}, l.refuse("writing the metadata", err)
	}
	if err := l.rollIfNeeded(len(batches), x); err != nil {
		return AppendInfo{}, err
	}
	s := l.active()
	position := s.size.Load()
	file, err := s.file.acquire()
	if err != nil {
		return AppendInfo{}, storageError("append", l.partition, err)
	}
	_, err = file.WriteAt(batches, position)
	if err != nil {
		// What was written of it must not stay behind the end of the log, where
		// a later and shorter write would leave a rest of it; nor may a power loss
		// bring whole batches of it back.
		if terr := errors.Join(file.Truncate(position), file.Sync()); terr != nil {
			err = l.fail("taking back a failed append", errors.Join(err, terr))
		} else {
			err = storageError("append", l.partition, err)
		}
	}
	s.file.release()
	if err != nil {
		return AppendInfo{}, err
	}
	if err := l.account(s, batches, position); err != nil {
		return AppendInfo{}, err
	}
	s.size.Store(position + int64(len(batches)))
	l.end.Store(x.last + 1)
	return AppendInfo{
		FirstOffset:    x.first,
		LastOffset:     x.last,
		MaxTimestamp:   x.maxTimestamp,
		LogStartOffset: l.start.Load(),
		Bytes:          len(batches),
	}, nil
}

// account brings indexes, epochs, producers and the memory of the log's tail up
// to date with batches that were written at position. If it fails, the log has
// failed: it cannot be told what the files hold.
func (l *Log) account(s *segment, batches []byte, position int64) error {
	cfg := l.Config()
	s.synced = false
	transactional := false
	for rest := batches; len(rest) > 0; {
		h, b, next, err := splitBatch(rest)
		if err != nil {
			return l.fail("append", err) // not reached: the batches were checked
		}
		h.position = position
		if err := s.account(h, cfg.IndexIntervalBytes); err != nil {
			return l.fail("writing an index", err)
		}
		if h.magic < 2 {
			if err := l.clearEpochs(); err != nil {
				return err
			}
		} else {
			if err := l.assignEpoch(h.epoch, h.base, false); err != nil {
				return err
			}
			batch := record.Batch(b)
			if ended := l.producers.Append(batch); ended != nil && ended.Aborted {
				l.dirChanged = l.dirChanged || !s.txns.exists()
				if err := s.txns.add(ended); err != nil {
					return l.fail("writing the transaction index", err)
				}
			}
			transactional = transactional || batch.IsTransactional()
		}
		l.tail.add(s, h)
		position += h.size
		rest = next
	}
	if transactional {
		l.updateUnstable()
	}
	return nil
}

// fits reports whether an offset can be expressed relative to a segment's base.
func fits(base, offset int64) bool { return offset >= base && offset-base <= math.MaxInt32 }
