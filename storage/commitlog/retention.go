package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// deletedFile is a file that was renamed and waits to be removed: a reader that
// found its segment just before may still open it by its handle, and an operator
// who deleted too much has a moment to notice.
type deletedFile struct {
	name string
	at   time.Time // of the renaming
}

// AdvanceStartOffset makes the log begin at offset (DeleteRecords, KIP-107, and
// what a leader tells its followers). A lower offset changes nothing. The files
// go with the next DeleteExpired. kerr.OffsetOutOfRange (wrapped) if offset is
// above the high watermark.
func (l *Log) AdvanceStartOffset(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if hw := l.highWatermark.Load(); offset > hw {
		return fmt.Errorf("start of %s at %d, above the high watermark %d: %w", l.partition, offset, hw, kerr.OffsetOutOfRange)
	}
	return l.advanceStart(offset)
}

// advanceStart must be called with mu held.
func (l *Log) advanceStart(offset int64) error {
	if offset <= l.start.Load() {
		return nil
	}
	l.start.Store(offset)
	l.producers.TruncateBefore(offset)
	if err := l.epochsChanged(l.epochs.truncateStart(offset)); err != nil {
		return l.fail("writing the leader epochs", err)
	}
	return nil
}

// DeleteExpired drops the oldest segments, as far as they lie wholly below the
// start offset or, if the topic's policy is to delete, as retention.bytes and
// retention.ms ask; but none that reaches above the high watermark. It returns
// how many it dropped. Their files are renamed now and removed by PurgeDeleted. If
// the disk is too full to begin a new segment, the active one stays for now.
func (l *Log) DeleteExpired(now time.Time) (int, error) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return 0, err
	}
	n, err := l.expired(now)
	if err != nil {
		return 0, l.fail("applying retention", err)
	}
	if n == 0 {
		return 0, nil
	}
	list := l.list()
	if n == len(list) {
		// The active segment goes, too: the log goes on in a new one.
		if err := l.roll(l.end.Load()); vfs.NoRoom(err) && l.Err() == nil && n > 1 {
			n--
		} else if err != nil {
			return 0, err
		}
		list = l.list()
	}
	// What is left must be durable before the rest goes: the name of a segment
	// that was just begun may not be.
	if err := l.syncDir(); err != nil {
		return 0, err
	}
	l.publish(slices.Clone(list[n:]))
	if err := l.advanceStart(list[n].base); err != nil {
		return 0, err
	}
	if err := l.dropAll(slices.All(list[:n])); err != nil {
		return 0, l.fail("applying retention", err)
	}
	return n, nil
}

// expired counts the segments to drop.
func (l *Log) expired(now time.Time) (int, error) {
	cfg, list := l.Config(), l.list()
	excess := int64(-1)
	if cfg.RetentionBytes >= 0 {
		excess = l.Size() - cfg.RetentionBytes
	}
	for i, s := range list {
		next, size := l.end.Load(), s.size.Load()
		if i+1 < len(list) {
			next = list[i+1].base
		} else if size == 0 {
			return i, nil
		}
		if next > l.highWatermark.Load() {
			return i, nil
		}
		drop := i+1 < len(list) && next <= l.start.Load()
		if !drop && cfg.Delete {
			var err error
			if drop, err = l.tooOldOrMuch(s, cfg, now, excess-size); err != nil {
				return 0, err
			}
		}
		if !drop {
			return i, nil
		}
		excess -= size
	}
	return len(list), nil
}

// tooOldOrMuch: rest is by how much the log is too large without this segment.
func (l *Log) tooOldOrMuch(s *segment, cfg *config.Topic, now time.Time, rest int64) (bool, error) {
	if rest >= 0 {
		return true, nil
	}
	if cfg.RetentionMS < 0 {
		return false, nil
	}
	newest, err := s.newestStamp()
	if err != nil {
		return false, err
	}
	ms := newest.timestamp
	if ms < 0 { // its records have no timestamps
		info, err := l.dir.fs.Stat(s.file.path())
		if err != nil {
			return false, err
		}
		ms = info.ModTime().UnixMilli()
	}
	return now.UnixMilli()-ms > cfg.RetentionMS, nil
}

// dropAll drops segments that are no longer in the list, in the order given, so
// that a crash in between leaves a log without holes.
func (l *Log) dropAll(segments iter.Seq2[int, *segment]) (err error) {
	for _, s := range segments {
		if err == nil {
			err = l.drop(s)
		}
		s.discard()
	}
	return err
}

// drop renames a segment's files, and the snapshot of the producers before it, so
// that they are no longer part of the log, now and after any crash. Ranges that
// are held stay readable.
func (l *Log) drop(s *segment) error {
	set, err := l.setAside(append(s.files(), l.snapshotFile(s.base)))
	l.deleted = append(l.deleted, set...)
	if err != nil {
		return err
	}
	return l.syncDir()
}

// setAside renames files, as far as they are there, to what waits for its removal.
func (l *Log) setAside(files []*cachedFile) (set []deletedFile, err error) {
	for _, f := range files {
		name := f.name()
		err := f.setState(deletedSuffix)
		if err == nil {
			set = append(set, deletedFile{name: f.name(), at: time.Now()})
			continue
		}
		if vfs.NoRoom(err) { // a longer name may need some
			err = l.dir.remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return set, err
		}
	}
	return set, nil
}

// PurgeDeleted removes the files that were dropped file.delete.delay.ms ago or
// earlier, all that were dropped if hurry is set. It returns how many still wait.
func (l *Log) PurgeDeleted(now time.Time, hurry bool) (waiting int, err error) {
	const longest = math.MaxInt64 / time.Millisecond
	delay := min(time.Duration(l.Config().FileDeleteDelayMS), longest) * time.Millisecond
	l.mu.Lock()
	i := 0
	for i < len(l.deleted) && (hurry || now.Sub(l.deleted[i].at) >= delay) {
		i++
	}
	due := l.deleted[:i]
	l.deleted = slices.Clone(l.deleted[i:])
	waiting = len(l.deleted)
	l.mu.Unlock()
	if err := l.removeDeleted(due); err != nil {
		return waiting, storageError("removing a deleted file", l.partition, err)
	}
	return waiting, nil
}

func (l *Log) removeDeleted(files []deletedFile) error {
	for _, f := range files {
		if err := l.dir.remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
