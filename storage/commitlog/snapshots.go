package commitlog

import (
	"errors"
	"io/fs"
	"math"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// maxSnapshotBytes bounds what is read of a snapshot. Kafka reads no more than a
// Java array can hold, which is 46 million producers.
const maxSnapshotBytes = math.MaxInt32

// takeSnapshot writes the producers' state at offset, the end of the log, unless
// there is one as new. It becomes durable with the next Sync; until then its
// checksum tells whether it can be used. mu must be held.
func (l *Log) takeSnapshot(offset int64) error {
	if offset <= l.lastSnapshot {
		return nil
	}
	name := fileName(offset, snapshotSuffix)
	if err := vfs.WriteFile(l.dir.fs, l.dir.join(name), l.producers.Encode(), false); err != nil {
		l.dir.remove(name) // what is left of it would be of no use, and would take up room
		l.dirChanged = true
		return err
	}
	l.lastSnapshot = offset
	l.newSnapshots = append(l.newSnapshots, offset)
	l.dirChanged = true
	return nil
}

// restoreSnapshot is takeSnapshot for the beginning of a segment that has lost
// its snapshot.
func (l *Log) restoreSnapshot(offset int64) error {
	_, err := l.dir.fs.Stat(l.dir.join(fileName(offset, snapshotSuffix)))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.takeSnapshotIfRoom(offset)
}

// takeSnapshotIfRoom is takeSnapshot where a snapshot only spares somebody the
// reading of the log.
func (l *Log) takeSnapshotIfRoom(offset int64) error {
	err := l.takeSnapshot(offset)
	if vfs.NoRoom(err) {
		return nil
	}
	return err
}

func (l *Log) snapshotFile(offset int64) *cachedFile {
	return newCachedFile(l.files, l.dir, offset, snapshotSuffix)
}

func (l *Log) syncSnapshot(offset int64) error {
	f := l.snapshotFile(offset)
	defer f.discard()
	if err := f.sync(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l.fail("syncing a producer snapshot", err)
	}
	return nil
}

// snapshots lists the offsets of the snapshots that there are, ascending.
func (l *Log) snapshots() ([]int64, error) {
	entries, err := l.dir.fs.ReadDir(l.dir.join(""))
	if err != nil {
		return nil, err
	}
	var offsets []int64
	for _, e := range entries {
		if n, ok := parseFileName(e.Name()); ok && n.suffix == snapshotSuffix && n.state == "" {
			offsets = append(offsets, n.base)
		}
	}
	return offsets, nil
}

// dropSnapshots removes the snapshots at the offsets that match says.
func (l *Log) dropSnapshots(match func(at int64) bool) error {
	offsets, err := l.snapshots()
	if err != nil {
		return err
	}
	l.lastSnapshot = l.start.Load()
	for _, at := range offsets {
		if !match(at) {
			l.lastSnapshot = max(l.lastSnapshot, at)
			continue
		}
		if err := l.dropSnapshot(at); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) dropSnapshot(at int64) error {
	err := l.dir.fs.Remove(l.dir.join(fileName(at, snapshotSuffix)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.dirChanged = true
	return nil
}

// rebuildProducers makes the producers' state that of offset upTo: that of the
// newest usable snapshot, and of the batches behind it. Damaged snapshots are
// removed. mu must be held.
func (l *Log) rebuildProducers(upTo int64) error {
	from, err := l.loadSnapshot(upTo)
	if err != nil {
		return err
	}
	list := l.list()
	// A log that starts above upTo has nothing there, and maybe no whole batches.
	for i := max(0, floor(list, from)); from < upTo && i < len(list) && list[i].base < upTo; i++ {
		if err := l.replayProducers(list[i], from, upTo); err != nil {
			return err
		}
	}
	l.updateUnstable()
	return nil
}

// loadSnapshot loads the newest snapshot at upTo or below, and returns its
// offset; without one, the log's start.
func (l *Log) loadSnapshot(upTo int64) (from int64, err error) {
	offsets, err := l.snapshots()
	if err != nil {
		return 0, err
	}
	for i := len(offsets) - 1; i >= 0 && offsets[i] >= l.start.Load(); i-- {
		at := offsets[i]
		if at > upTo {
			continue
		}
		producers, err := l.readSnapshot(at)
		if err == nil {
			l.producers.Load(producers, at, time.Now().UnixMilli())
			return at, nil
		}
		if !errors.Is(err, producerstate.ErrSnapshot) {
			return 0, err
		}
		l.logger().Warn("removing a producer snapshot that cannot be used", "offset", at, "error", err)
		if err := l.dropSnapshot(at); err != nil {
			return 0, err
		}
		if at == l.lastSnapshot {
			l.lastSnapshot = l.start.Load()
		}
	}
	from = l.start.Load()
	l.producers.Reset(from)
	return from, nil
}

func (l *Log) readSnapshot(at int64) ([]producerstate.Producer, error) {
	data, err := vfs.ReadFile(l.dir.fs, l.dir.join(fileName(at, snapshotSuffix)), maxSnapshotBytes)
	if err != nil {
		return nil, err
	}
	return producerstate.Decode(data)
}

// replayProducers takes a segment's batches in [from, upTo) into account. Of data
// batches only the header is read, markers are read as a whole.
func (l *Log) replayProducers(s *segment, from, upTo int64) error {
	var start int64
	if from > s.base {
		h, found, err := s.find(from, s.size.Load())
		if err != nil || !found {
			return err
		}
		start = h.position
	}
	file, err := s.file.acquire()
	if err != nil {
		return err
	}
	defer s.file.release()
	sc := scan(file, start, s.size.Load())
	defer sc.close()
	for {
		h, more, err := sc.next()
		if err != nil || !more || h.base >= upTo {
			return err
		}
		if h.magic < 2 {
			continue
		}
		b := record.Batch(sc.header())
		if b.HasProducerID() && b.IsControl() {
			whole := make([]byte, h.size)
			if err := readFull(file, whole, h.position); err != nil {
				return err
			}
			b = whole
		}
		l.producers.Append(b)
	}
}
