package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/gracchus-mq/gracchus/storage/producerstate"
)

// What compaction needs of a log: the cleaner reads the sealed segments, writes for
// several of them one that holds less (see Replacement), and has it take their place.
// It decides what stays; here is seen to it that, whatever happens meanwhile, readers
// find the one or the other, and so does the next start after any crash.

// notCleaned is the cleaned offset of a log that was never compacted.
const notCleaned = -1

// ErrReplaced says that a compaction is of no use any more: since it began, records
// were taken from the end of the log, or segments that it had read from its beginning.
var ErrReplaced = errors.New("the log has changed under its compaction")

// CleanedOffset is the offset below which the log has been compacted: of each key
// there is only the newest record up to there, if that. −1 if it never was.
func (l *Log) CleanedOffset() int64 { return l.cleaned.Load() }

// Compaction is one pass of compaction over a log. It belongs to one goroutine.
type Compaction struct {
	// Producers are the states of the log's producers when the pass began. What is the
	// newest batch of one of them is all that tells of it after a restart.
	Producers []producerstate.Producer

	log         *Log
	truncations int64
}

// BeginCompaction begins a pass. Everything that is in the log then is durable: neither
// a record nor a producer's batch must go for another one that a power loss can take.
//
// Errors wrap kerr.KafkaStorageError.
func (l *Log) BeginCompaction() (*Compaction, error) {
	l.mu.Lock()
	c := &Compaction{log: l, truncations: l.truncations}
	c.Producers = slices.AppendSeq(make([]producerstate.Producer, 0, l.producers.Len()), l.producers.Producers())
	end, err := l.end.Load(), l.usable()
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c, l.Sync(end)
}

// Done notes that everything below offset has been compacted. The error is ErrReplaced
// if the log was truncated meanwhile.
func (c *Compaction) Done(offset int64) error {
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := c.current(); err != nil {
		return err
	}
	l.cleaned.Store(offset)
	return nil
}

// ResetCleanedOffset sets the cleaned offset of a log for which it cannot be right.
func (l *Log) ResetCleanedOffset(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cleaned.Store(offset)
}

// current must be called with mu held.
func (c *Compaction) current() error {
	if err := c.log.usable(); err != nil {
		return err
	}
	if c.log.truncations != c.truncations {
		return fmt.Errorf("%s was truncated: %w", c.log.partition, ErrReplaced)
	}
	return nil
}

// swap puts a segment whose files are complete and durable, but have cleanedSuffix, in
// the place of others. After a crash finishReplacement undoes it, up to the first sync
// of the directory, or finishes it.
//
// Appends go on meanwhile: what is done here concerns no file that they use.
func (c *Compaction) swap(s *segment, old []*segment) error {
	l := c.log
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	list, err := c.without(old, s)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	next := list[floor(list, s.base)+1].base
	if err := l.dropSnapshotsBefore(next); err != nil {
		return l.refuse("removing producer snapshots", err)
	}
	if err := setStates(s, swapSuffix); err != nil {
		return l.refuse("replacing segments", err)
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	// Readers first: they find the new segment by whatever name it has.
	l.mu.Lock()
	if list, err = c.without(old, s); err == nil {
		l.publish(list)
	}
	l.mu.Unlock()
	if err != nil {
		return err // not reached: what takes segments waits for syncMu
	}
	if err := l.swapNames(s, old); err != nil {
		return l.fail("replacing segments", err)
	}
	for _, o := range old {
		o.discard()
	}
	l.mu.Lock()
	l.advanceRecoveryPoint()
	l.mu.Unlock()
	return nil
}

// swapNames sets the old files aside and gives the new ones their names, durably one
// after the other: else a power loss could leave a new segment beside some that it
// replaces, with nothing that tells.
func (l *Log) swapNames(s *segment, old []*segment) error {
	var files []*cachedFile
	for _, o := range old {
		files = append(files, o.files()...)
	}
	set, err := l.setAside(files)
	l.mu.Lock()
	l.deleted = append(l.deleted, set...)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	if err := setStates(s, ""); err != nil {
		return err
	}
	return l.syncDir()
}

// dropSnapshotsBefore removes the producer snapshots below an offset, durably. One of
// them may hold a transaction that was open there, and whose marker compaction is about
// to remove together with the last of its data: whoever began with it would take the
// transaction for open for ever. Without it the producers are read from the batches,
// as far back as it takes.
func (l *Log) dropSnapshotsBefore(offset int64) error {
	offsets, err := l.snapshots()
	if err != nil {
		return err
	}
	dropped := false
	for _, at := range offsets {
		if at >= offset {
			break
		}
		if err := l.dir.remove(fileName(at, snapshotSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		dropped = true
	}
	if !dropped {
		return nil
	}
	return l.syncDir()
}

// without returns the segments with s in the place of old. mu must be held.
func (c *Compaction) without(old []*segment, s *segment) ([]*segment, error) {
	if err := c.current(); err != nil {
		return nil, err
	}
	list := c.log.list()
	i := floor(list, old[0].base)
	if i < 0 || i+len(old) >= len(list) || !slices.Equal(list[i:i+len(old)], old) {
		return nil, fmt.Errorf("%s has other segments now: %w", c.log.partition, ErrReplaced)
	}
	return slices.Replace(slices.Clone(list), i, i+len(old), s), nil
}

// setStates renames the files of a segment.
func setStates(s *segment, state string) error {
	for _, f := range s.files() {
		if f == s.txns.file && !s.txns.exists() {
			continue
		}
		if err := f.setState(state); err != nil {
			return err
		}
	}
	return nil
}
