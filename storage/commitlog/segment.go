package commitlog

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// segment is a run of a log: one file of batches and the indexes over it.
//
// Concurrency: the log's appender (holding Log.mu) is the only one who changes
// it. Readers use the files, the indexes, and size, which grows only after the
// bytes below it are written. All other fields are the appender's.
type segment struct {
	base    int64 // no offset in it is lower
	file    *cachedFile
	offsets offsetIndex
	times   timeIndex
	txns    txnIndex

	size atomic.Int64 // bytes of whole batches
	cuts cuts

	sealed     bool  // indexes are complete and cut to size
	synced     bool  // all files are durable; never set for a segment being written
	sinceIndex int64 // bytes appended since the last index entry
	created    time.Time
	jitterMS   int64 // how much earlier than segment.ms it rolls
	first      int64 // greatest timestamp of the first batch, which starts the clock of segment.ms
	firstKnown bool

	newestMu    sync.Mutex // readers ask too
	newest      stamp
	newestKnown bool
}

// newSegment describes the segment with this base offset; it touches no file.
func (l *Log) newSegment(base int64, hasTxns bool) *segment {
	cfg := l.Config()
	s := &segment{base: base, created: time.Now(), jitterMS: jitter(cfg)}
	s.file = newCachedFile(l.files, l.dir, base, logSuffix)
	s.offsets.init(newCachedFile(l.files, l.dir, base, indexSuffix), base, cfg.SegmentIndexBytes)
	s.times.init(newCachedFile(l.files, l.dir, base, timeSuffix), base, cfg.SegmentIndexBytes)
	s.txns.init(newCachedFile(l.files, l.dir, base, txnSuffix), hasTxns)
	return s
}

func jitter(cfg *config.Topic) int64 {
	if limit := min(cfg.SegmentJitterMS, cfg.SegmentMS); limit > 0 {
		return rand.Int64N(limit)
	}
	return 0
}

// create makes the files of a new, empty segment.
func (s *segment) create(cfg *config.Topic) error {
	file, err := s.file.create()
	if err != nil {
		return err
	}
	defer s.file.release()
	// A file of this name can be left by a crash between its creation and its
	// first use; whatever is in it was never part of the log.
	if err := file.Truncate(0); err != nil {
		return err
	}
	if cfg.Preallocate {
		if err := file.Truncate(int64(cfg.SegmentBytes)); err != nil {
			return err
		}
	}
	if err := s.offsets.create(); err != nil {
		return err
	}
	if err := s.times.create(); err != nil {
		return err
	}
	s.newest, s.newestKnown = stamp{record.NoTimestamp, s.base}, true
	return s.txns.cut(0)
}

// files are the segment's files, present or not.
func (s *segment) files() []*cachedFile {
	return []*cachedFile{s.file, s.offsets.file, s.times.file, s.txns.file}
}

// discard closes the files for good; ranges that are held stay readable.
func (s *segment) discard() {
	for _, f := range s.files() {
		f.discard()
	}
}

// newestStamp is the greatest timestamp in the segment and the last offset of the
// batch that brought it. For a segment that was loaded it is the time index's
// last entry; without one, the batches tell.
func (s *segment) newestStamp() (stamp, error) {
	s.newestMu.Lock()
	defer s.newestMu.Unlock()
	if !s.newestKnown {
		last, err := s.times.last()
		if err == nil && last.timestamp < 0 {
			err = s.eachHeader(0, s.size.Load(), func(h header) {
				if h.maxTimestamp > last.timestamp {
					last = stamp{h.maxTimestamp, h.last}
				}
			})
		}
		if err != nil && !errors.Is(err, kerr.CorruptMessage) {
			return stamp{}, err
		}
		s.newest, s.newestKnown = last, true
	}
	return s.newest, nil
}

func (s *segment) setNewest(st stamp) {
	s.newestMu.Lock()
	s.newest, s.newestKnown = st, true
	s.newestMu.Unlock()
}

// account updates indexes and timestamps for a batch that is in the file.
func (s *segment) account(h header, indexInterval int32) error {
	if h.position == 0 {
		s.first, s.firstKnown = h.maxTimestamp, true
	}
	newest, err := s.newestStamp()
	if err != nil {
		return err
	}
	if h.maxTimestamp > newest.timestamp {
		newest = stamp{h.maxTimestamp, h.last}
		s.setNewest(newest)
	}
	if s.sinceIndex > int64(indexInterval) {
		if err := s.offsets.add(h.last, h.position); err != nil {
			return err
		}
		if err := s.times.add(newest); err != nil {
			return err
		}
		s.sinceIndex = 0
	}
	s.sinceIndex += h.size
	return nil
}

// firstTimestamp is the timestamp that the clock of segment.ms starts at, if the
// segment has a batch.
func (s *segment) firstTimestamp() (ts int64, ok bool, err error) {
	if s.size.Load() == 0 {
		return 0, false, nil
	}
	if !s.firstKnown {
		h, more, err := s.seek(0, 0, s.size.Load())
		if err != nil || !more {
			return 0, false, err
		}
		s.first, s.firstKnown = h.maxTimestamp, true
	}
	return s.first, true, nil
}

// seek finds the first batch at from or behind, and before end, whose last
// offset is ≥ offset. from must be the beginning of a batch.
func (s *segment) seek(offset, from, end int64) (h header, found bool, err error) {
	err = s.file.with(func(f vfs.File) error {
		sc := scan(f, from, end)
		defer sc.close()
		for {
			h, found, err = sc.next()
			if err != nil || !found || h.last >= offset {
				return err
			}
		}
	})
	return h, found, err
}

// find is seek from where the offset index says.
func (s *segment) find(offset, end int64) (h header, found bool, err error) {
	_, from, err := s.offsets.lookup(offset)
	if err != nil || from >= end {
		return header{}, false, err
	}
	return s.seek(offset, from, end)
}

// seal completes the indexes and cuts the files to size. The segment is no
// longer written to.
func (s *segment) seal() error {
	if err := s.sealOthers(); err != nil {
		return err
	}
	if err := s.offsets.seal(); err != nil {
		return err
	}
	if size, err := s.file.size(); err != nil {
		return err
	} else if size > s.size.Load() { // preallocated
		if err := s.file.truncate(s.size.Load()); err != nil {
			return err
		}
	}
	s.sealed = true
	return nil
}

// sealOthers completes the indexes but for that of offsets.
func (s *segment) sealOthers() error {
	newest, err := s.newestStamp()
	if err != nil {
		return err
	}
	if err := s.times.add(newest); err != nil {
		return err
	}
	if err := s.times.seal(); err != nil {
		return err
	}
	return s.txns.flush()
}

// syncIndexes makes the indexes of a sealed segment durable.
func (s *segment) syncIndexes() error {
	if err := s.offsets.file.sync(); err != nil {
		return err
	}
	return s.syncOthers()
}

// syncOthers makes the indexes durable but for that of offsets.
func (s *segment) syncOthers() error {
	if err := s.times.file.sync(); err != nil {
		return err
	}
	if s.txns.exists() {
		if err := s.txns.file.sync(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
