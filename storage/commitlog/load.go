package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Open opens the log in o.Dir, or makes a new one if the directory does not exist
// or is empty. A log that was not closed cleanly is recovered: from the recovery
// point on every batch is checked, what follows the first damaged one is cut off,
// and the indexes are built anew.
//
// Errors wrap kerr.KafkaStorageError.
func Open(o Options) (*Log, error) {
	l := &Log{
		partition:  o.Partition,
		dir:        &logDir{fs: o.FS, path: o.Dir},
		files:      o.Files,
		unnamed:    o.Logger,
		onTruncate: o.OnTruncate,
		hasRoom:    o.HasRoom,
		producers:  producerstate.New(o.ProducerIDExpiration),
	}
	if l.unnamed == nil {
		l.unnamed = slog.New(slog.DiscardHandler)
	}
	l.producers.RequireVerification(o.VerifyTransactions)
	l.cfg.Store(o.Config)
	l.epochs.dir = l.dir
	l.firstUnstable.Store(none)
	l.cleaned.Store(o.CleanedOffset)
	// After a crash it is unknown which names are durable.
	l.dirChanged = !o.Clean
	if err := l.load(o); err != nil {
		l.Abandon()
		return nil, storageError("loading", o.Partition, err)
	}
	return l, nil
}

func (l *Log) load(o Options) error {
	l.publish(nil)
	names, err := l.listFiles()
	if err != nil {
		return err
	}
	if names, err = l.finishReplacement(names); err != nil {
		return err
	}
	if err := l.loadMetadata(); err != nil {
		return err
	}
	due, err := l.loadSegments(names, o)
	if err != nil {
		return err
	}
	l.start.Store(o.StartOffset)
	if list := l.list(); len(list) > 0 {
		l.start.Store(max(o.StartOffset, list[0].base))
	}
	if err := l.dropStraySnapshots(o); err != nil {
		return err
	}
	if err := l.loadEpochs(); err != nil {
		return err
	}
	if err := l.recoverSegments(o, due); err != nil {
		return err
	}
	if len(l.list()) > 0 && l.end.Load() < o.StartOffset {
		l.logger().Warn("the log ends before it starts: its files are gone; starting anew", "end", l.end.Load(), "start", o.StartOffset)
		if err := l.dropAll(slices.Backward(l.list())); err != nil {
			return err
		}
		l.publish(nil)
	}
	if len(l.list()) == 0 {
		if err := l.startEmpty(o.StartOffset); err != nil {
			return err
		}
	}
	return l.finishLoading(o, len(due) > 0)
}

// finishLoading makes everything agree with the log's end.
func (l *Log) finishLoading(o Options, recovered bool) error {
	end := l.end.Load()
	l.tail.reset(l.active(), end, l.active().size.Load())
	if err := l.epochsChanged(l.epochs.truncateEnd(end)); err != nil {
		return err
	}
	if err := l.epochsChanged(l.epochs.truncateStart(l.start.Load())); err != nil {
		return err
	}
	durable := min(o.RecoveryPoint, end)
	if o.Clean && !recovered {
		durable = end
	}
	l.synced.Store(durable)
	l.recoveryPoint.Store(durable)
	l.mu.Lock()
	if o.Clean && !recovered {
		l.checked = l.active().size.Load()
	}
	l.pristine = !recovered && end == 0
	l.advanceRecoveryPoint()
	l.mu.Unlock()
	l.highWatermark.Store(max(min(o.HighWatermark, end), l.start.Load()))
	if o.CleanedOffset > end {
		l.cleaned.Store(notCleaned) // what was there is gone: who knows what is left
	}
	if o.HighWatermark > end {
		l.committedEnd.Store(o.HighWatermark)
	}
	if err := l.dropSnapshots(func(at int64) bool { return at > end }); err != nil {
		return err
	}
	if err := l.loadProducers(o.Clean && !recovered); err != nil {
		return err
	}
	if recovered && l.dirChanged {
		return l.syncDir()
	}
	return nil
}

// loadProducers: after a clean shutdown without any snapshot there were no
// producers to remember, which spares scanning the log.
func (l *Log) loadProducers(clean bool) error {
	offsets, err := l.snapshots()
	if err != nil {
		return err
	}
	end := l.end.Load()
	if clean && len(offsets) == 0 {
		l.producers.Reset(end)
		l.lastSnapshot = end
		return nil
	}
	if l.producers.EndOffset() == end && end > 0 {
		l.updateUnstable() // recovery has built it already
	} else if err := l.rebuildProducers(end); err != nil {
		return err
	}
	if clean {
		return nil
	}
	return l.takeSnapshotIfRoom(end)
}

// listFiles lists the directory, which is created if it is missing.
func (l *Log) listFiles() ([]diskFile, error) {
	path := l.dir.join("")
	entries, err := l.dir.fs.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		l.dirChanged = true
		return nil, l.dir.fs.MkdirAll(path, 0o755)
	}
	if err != nil {
		return nil, err
	}
	var files []diskFile
	for _, e := range entries {
		f, ok := parseFileName(e.Name())
		unfinished, tmp := strings.CutSuffix(e.Name(), ".tmp")
		switch _, index := parseFileName(unfinished); {
		case ok && !e.IsDir():
			files = append(files, f)
		case tmp && (index || unfinished == epochsFile || unfinished == metadataFile):
			if err := l.dir.fs.Remove(l.dir.join(e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// diskFile is a file of a segment, or a producer snapshot, by its name.
type diskFile struct {
	base   int64
	suffix string // ".log", …
	state  string // "", ".deleted", ".cleaned" or ".swap"
}

func (f diskFile) name() string { return fileName(f.base, f.suffix) + f.state }

func parseFileName(name string) (f diskFile, ok bool) {
	for _, state := range []string{deletedSuffix, cleanedSuffix, swapSuffix} {
		if rest, found := strings.CutSuffix(name, state); found {
			name, f.state = rest, state
			break
		}
	}
	digits, suffix, _ := strings.Cut(name, ".")
	f.suffix = "." + suffix
	switch f.suffix {
	case logSuffix, indexSuffix, timeSuffix, txnSuffix, snapshotSuffix:
	default:
		return diskFile{}, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) != 20 || base < 0 {
		return diskFile{}, false
	}
	f.base = base
	return f, true
}

// loadSegments describes the segments that there are, and returns, by their base
// offsets, those that must be recovered, with true if their indexes are of no use.
func (l *Log) loadSegments(files []diskFile, o Options) (due map[int64]bool, err error) {
	present := map[string]bool{}
	for _, f := range files {
		present[f.name()] = true
	}
	due = map[int64]bool{}
	var list []*segment
	for _, f := range files {
		if f.suffix == snapshotSuffix {
			continue
		}
		if !present[fileName(f.base, logSuffix)] {
			if err := l.removeFile(f, "an index without a log"); err != nil {
				return nil, err
			}
			continue
		}
		if f.suffix != logSuffix {
			continue
		}
		s := l.newSegment(f.base, present[fileName(f.base, txnSuffix)])
		info, err := l.dir.fs.Stat(l.dir.join(f.name()))
		if err != nil {
			return nil, err
		}
		if info.Size() > math.MaxInt32 {
			return nil, fmt.Errorf("%s has %d bytes", l.dir.join(f.name()), info.Size())
		}
		s.size.Store(info.Size())
		s.sealed, s.synced = true, true
		list = append(list, s)
		if !present[fileName(f.base, indexSuffix)] {
			l.logger().Warn("a segment has no index", "file", l.dir.join(f.name()))
			due[f.base] = true
		} else if err := s.txns.check(s.base); err != nil {
			l.logger().Warn("a segment has a damaged transaction index", "file", l.dir.join(f.name()), "error", err)
			due[f.base] = true
		} else if !present[fileName(f.base, timeSuffix)] {
			if err := s.times.reset(); err != nil {
				return nil, err
			}
			l.dirChanged = true
		}
	}
	l.publish(list)
	if o.Clean || len(list) == 0 {
		return due, nil
	}
	for i := max(0, floor(list, o.RecoveryPoint)); i < len(list); i++ {
		due[list[i].base] = due[list[i].base]
	}
	return due, nil
}

func (l *Log) loadMetadata() error {
	path := l.dir.join(metadataFile)
	data, err := vfs.ReadFile(l.dir.fs, path, maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id, err := parseMetadata(data)
	if err != nil {
		return &fs.PathError{Op: "read", Path: path, Err: err}
	}
	l.topicID = id
	return nil
}

// loadEpochs reads the leader epochs or, if their file is missing or damaged,
// collects them from the batches.
func (l *Log) loadEpochs() error {
	err := l.epochs.load()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errEpochsFile):
		l.logger().Warn("collecting the leader epochs from the log", "error", err)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	l.epochs.dirty, l.unwritten = true, true
	last, torn := int64(-1), false
	for _, s := range l.list() {
		err := s.eachHeader(0, s.size.Load(), func(h header) {
			// Recovery will cut the log there: what follows says nothing about it.
			if torn = torn || checkOffsets(s.base, last, h) != nil; !torn {
				l.epochs.note(h.epoch, h.base)
				last = h.last
			}
		})
		if err != nil {
			l.logger().Warn("collecting the leader epochs ends early", "error", err)
			return nil // recovery, if it is due, says more
		}
	}
	return nil
}

// dropStraySnapshots removes snapshots that belong to no segment, as Kafka does:
// all must be at the base of one, except the newest, which a clean close wrote at
// the end of the log. After a crash that at the recovery point is kept, too, and
// those that were not known to be durable are tried: the newest always, for the end
// may have been lowered below the recovery point.
func (l *Log) dropStraySnapshots(o Options) error {
	offsets, err := l.snapshots()
	if err != nil {
		return err
	}
	list := l.list()
	for i, at := range offsets {
		j := floor(list, at)
		isBase := j >= 0 && list[j].base == at
		atEnd := i == len(offsets)-1 && len(list) > 0 && at >= list[len(list)-1].base
		atPoint := !o.Clean && at == o.RecoveryPoint
		if atPoint {
			l.checkpointed = at
		}
		usable := isBase || atEnd || atPoint
		if usable && !o.Clean && (at >= o.RecoveryPoint || atEnd) {
			_, err := l.readSnapshot(at)
			if err != nil && !errors.Is(err, producerstate.ErrSnapshot) {
				return err
			}
			usable = err == nil
			if usable {
				l.newSnapshots = append(l.newSnapshots, at)
			}
		}
		if !usable {
			if err := l.dropSnapshot(at); err != nil {
				return err
			}
		}
	}
	return nil
}
