package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strconv"
	"sync"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// epochStart says that the leader of an epoch began to write at an offset.
type epochStart struct {
	epoch  int32
	offset int64
}

// epochs is the history of leaders of one log (KIP-101): by it a follower finds
// where its log and the leader's part. Epochs and offsets both ascend.
//
// The file, leader-epoch-checkpoint, is rewritten as a whole at each change, so
// that a crash leaves the old or the new history. Only the first assignment to
// an empty log waits until something is appended: without records an epoch
// proves nothing, and a broker that is given ten thousand partitions need not
// write ten thousand files for it.
//
// Concurrency: mu guards the fields; changes come from the log's appender.
type epochs struct {
	dir *logDir

	mu      sync.RWMutex
	entries []epochStart
	dirty   bool // the file does not have entries yet
}

// maxCheckpointBytes bounds what is read of the small text files.
const maxCheckpointBytes = 16 << 20

var errEpochsFile = errors.New("leader-epoch checkpoint is invalid")

// parseEpochs reads Kafka's checkpoint format: "0", the number of entries, and
// one line "epoch offset" for each. An empty file has no entries.
func parseEpochs(data []byte) ([]epochStart, error) {
	if len(data) == 0 {
		return nil, nil
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	if len(lines) < 2 || string(lines[0]) != "0" {
		return nil, fmt.Errorf("%w: no version 0", errEpochsFile)
	}
	count, err := strconv.Atoi(string(lines[1]))
	if err != nil || count != len(lines)-2 {
		return nil, fmt.Errorf("%w: %q announces another number of entries than %d", errEpochsFile, lines[1], len(lines)-2)
	}
	entries := make([]epochStart, 0, count)
	for i, line := range lines[2:] {
		a, b, ok := bytes.Cut(line, []byte(" "))
		epoch, err1 := strconv.ParseInt(string(a), 10, 32)
		offset, err2 := strconv.ParseInt(string(b), 10, 64)
		if !ok || err1 != nil || err2 != nil || epoch < 0 || offset < 0 {
			return nil, fmt.Errorf("%w: line %d is %q", errEpochsFile, i+3, line)
		}
		e := epochStart{int32(epoch), offset}
		if i > 0 && (entries[i-1].epoch >= e.epoch || entries[i-1].offset > e.offset) {
			return nil, fmt.Errorf("%w: line %d does not ascend", errEpochsFile, i+3)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func formatEpochs(entries []epochStart) []byte {
	b := fmt.Appendf(nil, "0\n%d\n", len(entries))
	for _, e := range entries {
		b = fmt.Appendf(b, "%d %d\n", e.epoch, e.offset)
	}
	return b
}

// load reads the file; fs.ErrNotExist and errEpochsFile are possible.
func (e *epochs) load() error {
	data, err := vfs.ReadFile(e.dir.fs, e.dir.join(epochsFile), maxCheckpointBytes)
	if err == nil {
		var entries []epochStart
		entries, err = parseEpochs(data)
		if err == nil {
			e.entries = entries
			return nil
		}
		err = &fs.PathError{Op: "read", Path: e.dir.join(epochsFile), Err: err}
	}
	return err
}

// latest returns the newest epoch, and where it begins.
func (e *epochs) latest() (epochStart, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if len(e.entries) == 0 {
		return epochStart{-1, -1}, false
	}
	return e.entries[len(e.entries)-1], true
}

// knows reports whether epoch needs no assignment.
func (e *epochs) knows(epoch int32) bool {
	last, _ := e.latest()
	return epoch <= last.epoch
}

// assign notes that epoch begins at offset, if it is newer than all known ones.
// Entries that the new one makes impossible, those from offset on, are dropped.
// empty says that the log holds no records. It reports whether the file changed.
func (e *epochs) assign(epoch int32, offset int64, empty bool) (wrote bool, err error) {
	if epoch < 0 || e.knows(epoch) {
		return false, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries = slices.DeleteFunc(slices.Clone(e.entries), func(s epochStart) bool { return s.offset >= offset })
	e.entries = append(e.entries, epochStart{epoch, offset})
	e.dirty = true
	if empty {
		return false, nil
	}
	return true, e.writeLocked()
}

// note is assign without the file, which is written later.
func (e *epochs) note(epoch int32, offset int64) {
	if !e.knows(epoch) {
		e.mu.Lock()
		e.entries = append(e.entries, epochStart{epoch, offset})
		e.mu.Unlock()
	}
}

// write brings the file up to date, if it is not. It reports whether it changed.
func (e *epochs) write() (wrote bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dirty {
		return false, nil
	}
	return true, e.writeLocked()
}

func (e *epochs) writeLocked() error {
	if err := vfs.ReplaceFile(e.dir.fs, e.dir.join(epochsFile), formatEpochs(e.entries)); err != nil {
		return err
	}
	e.dirty = false
	return nil
}

// endOffset answers OffsetForLeaderEpoch: the newest known epoch that is not
// above the one asked for, and where it ends: where the next one begins, for the
// newest at logEnd. (−1, −1) if epoch is above all known ones.
//
// Below all known ones the answer is the epoch asked for, ending where the first
// known one begins.
func (e *epochs) endOffset(epoch int32, logEnd int64) (int32, int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	n := len(e.entries)
	if n == 0 || epoch == -1 || epoch > e.entries[n-1].epoch {
		return -1, -1
	}
	i := sort.Search(n, func(i int) bool { return e.entries[i].epoch > epoch })
	switch i {
	case 0:
		return epoch, e.entries[0].offset
	case n:
		return e.entries[n-1].epoch, logEnd
	}
	return e.entries[i-1].epoch, e.entries[i].offset
}

// at returns the epoch in which offset was written, −1 if that is not known.
func (e *epochs) at(offset int64) int32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	i := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].offset > offset })
	if i == 0 {
		return -1
	}
	return e.entries[i-1].epoch
}

// truncateEnd drops the epochs that begin at end or above.
func (e *epochs) truncateEnd(end int64) (wrote bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].offset >= end })
	if i == len(e.entries) {
		return false, nil
	}
	e.entries = slices.Clone(e.entries[:i])
	e.dirty = true
	return true, e.writeLocked()
}

// truncateStart makes the history begin at start: of the epochs that begin there
// or below the newest remains, moved to start.
func (e *epochs) truncateStart(start int64) (wrote bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].offset > start }) - 1
	if i < 0 || i == 0 && e.entries[0].offset == start {
		return false, nil
	}
	e.entries = slices.Clone(e.entries[i:])
	e.entries[0].offset = start
	e.dirty = true
	return true, e.writeLocked()
}

// clear forgets everything.
func (e *epochs) clear() (wrote bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.entries) == 0 {
		return false, nil
	}
	e.entries = nil
	e.dirty = true
	return true, e.writeLocked()
}
