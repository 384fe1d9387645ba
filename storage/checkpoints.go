package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// checkpointKind names one of the four checkpoint files of a log directory.
type checkpointKind int

const (
	recoveryPoints checkpointKind = iota // first offset not known to be on disk
	logStarts                            // where DeleteRecords moved the log start offset inside a segment
	highWatermarks
	cleanerOffsets // where the next compaction begins
	checkpointKinds
)

var checkpointFiles = [checkpointKinds]string{recoveryPointFile, logStartFile, highWatermarkFile, cleanerFile}

// maxCheckpointBytes bounds what is read of a checkpoint file: more than a
// million lines with the longest topic names.
const maxCheckpointBytes = 512 << 20

// noLine stands in the place of an offset for "has no line in the file". Logs that
// were never compacted say so of their cleaned offset.
const noLine = -1

// checkpoints writes the checkpoint files of one directory.
//
// A pass over one of them reads one number per hosted log and compares it with
// what the file says; only if something differs the file is written anew, as a
// whole, which is what its format demands. An idle directory costs a few
// microseconds per thousand partitions and no I/O.
//
// What the files say about partitions that are not here any more is remembered,
// because it must be gone before a partition of the same name is created: its
// records would be taken for those that the lines speak of, and skipped by
// recovery, or even cut.
type checkpoints struct {
	dir *directory

	mu       sync.Mutex // held while a file is written; guards all below
	hosted   []*hosted  // the logs with lines
	unsorted bool       // hosted is not in the order of names
	stale    [checkpointKinds]map[protocol.TopicPartition]struct{}

	// Reused by every write.
	next []int64
	buf  []byte
}

// load reads a checkpoint file. All lines count as stale until their log is
// added. A missing file is an empty one.
func (c *checkpoints) load(kind checkpointKind) (map[protocol.TopicPartition]int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale[kind] = map[protocol.TopicPartition]struct{}{}
	data, err := vfs.ReadFile(c.dir.fs, c.dir.join(checkpointFiles[kind]), maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	offsets, err := parseCheckpoint(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", checkpointFiles[kind], err)
	}
	for tp := range offsets {
		c.stale[kind][tp] = struct{}{}
	}
	return offsets, nil
}

// add gives h lines in the files. onDisk says what the files have for it now.
func (c *checkpoints) add(h *hosted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind, offset := range h.onDisk {
		if offset != noLine {
			delete(c.stale[kind], h.tp)
		}
	}
	c.hosted = append(c.hosted, h)
	c.unsorted = true
}

// remove takes h's lines out of the files with the next write.
func (c *checkpoints) remove(gone ...*hosted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range gone {
		h.gone = true
		for kind, offset := range h.onDisk {
			if offset != noLine {
				c.stale[kind][h.tp] = struct{}{}
			}
		}
	}
	c.hosted = slices.DeleteFunc(c.hosted, func(h *hosted) bool { return h.gone })
}

// forget makes sure that no file has a line for tp.
func (c *checkpoints) forget(tp protocol.TopicPartition) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind := range checkpointKinds {
		if _, found := c.stale[kind][tp]; found {
			if err := c.write(kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// updateAll is update for all files.
func (c *checkpoints) updateAll() error {
	for kind := range checkpointKinds {
		if err := c.update(kind); err != nil {
			return err
		}
	}
	return nil
}

// update writes one file if it does not say what it should. Errors have taken
// the directory offline, unless there is no room (see vfs.NoRoom): then the file
// says what it said before.
//
// A log may call it while it holds its own lock (see commitlog's OnTruncate),
// so nothing here waits for a log's lock while holding mu: all that is read of a
// log are its offsets.
func (c *checkpoints) update(kind checkpointKind) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.dir.err(); err != nil {
		return err
	}
	if len(c.stale[kind]) == 0 && !slices.ContainsFunc(c.hosted, func(h *hosted) bool {
		return h.offset(kind) != h.onDisk[kind]
	}) {
		return nil
	}
	return c.write(kind)
}

// write writes one file. The caller holds mu.
func (c *checkpoints) write(kind checkpointKind) error {
	if c.unsorted {
		slices.SortFunc(c.hosted, func(a, b *hosted) int { return a.tp.Compare(b.tp) })
		c.unsorted = false
	}
	lines := 0
	c.next = c.next[:0]
	for _, h := range c.hosted {
		offset := h.offset(kind)
		c.next = append(c.next, offset)
		if offset != noLine {
			lines++
		}
	}
	c.buf = appendCheckpointHead(c.buf[:0], lines)
	for i, h := range c.hosted {
		if c.next[i] != noLine {
			c.buf = appendOffsetLine(c.buf, offsetLine{h.tp, c.next[i]})
		}
	}
	if err := vfs.WriteFileAtomic(c.dir.fs, c.dir.join(checkpointFiles[kind]), c.buf); err != nil {
		return fmt.Errorf("write %s: %w", checkpointFiles[kind], storageError(err))
	}
	clear(c.stale[kind])
	for i, h := range c.hosted {
		h.onDisk[kind] = c.next[i]
	}
	return nil
}
