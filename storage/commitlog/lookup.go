package commitlog

import (
	"errors"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// OffsetForTimestamp finds the first record between the start offset and upTo
// (exclusive) whose timestamp is ts, in ms, or greater, and returns its offset,
// timestamp and leader epoch. The offset is −1 if there is none.
func (l *Log) OffsetForTimestamp(ts, upTo int64) (offset, timestamp int64, leaderEpoch int32, err error) {
	r := notFound
	err = l.search(func(list []*segment) (err error) {
		start := l.start.Load()
		for i := max(0, floor(list, start)); i < len(list) && list[i].base < upTo && r.offset < 0; i++ {
			newest, err := list[i].newestStamp()
			if err == nil && newest.timestamp >= ts {
				r, err = list[i].findTime(ts, start, upTo)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return -1, -1, -1, storageError("looking up a timestamp", l.partition, err)
	}
	return r.offset, r.timestamp, r.epoch, nil
}

// dropped reports whether retention, truncation or compaction has taken a segment,
// see search.
func (l *Log) dropped(s *segment) bool { return !slices.Contains(l.list(), s) }

// found is a record that was looked for.
type found struct {
	offset, timestamp int64
	epoch             int32
}

var notFound = found{-1, -1, -1}

// findTime finds the first record in [start, upTo) with timestamp ≥ ts.
func (s *segment) findTime(ts, start, upTo int64) (found, error) {
	from, err := s.times.lookup(ts)
	if err != nil {
		return notFound, err
	}
	return s.findRecord(max(from.offset, start), upTo, func(h header) bool { return h.maxTimestamp >= ts },
		func(offset, timestamp int64) bool { return timestamp >= ts && offset >= start && offset < upTo })
}

// MaxTimestampOffset finds the record with the greatest timestamp, the first one
// if there are several (KIP-734). The offset is −1 if no record has a timestamp.
func (l *Log) MaxTimestampOffset() (offset, timestamp int64, leaderEpoch int32, err error) {
	best, top, err := l.newest()
	if err == nil && top.offset >= l.end.Load() {
		// An append that has not ended brought it; wait until it has.
		l.mu.Lock()
		best, top, err = l.newest()
		l.mu.Unlock()
	}
	if err != nil {
		return -1, -1, -1, storageError("looking up the newest timestamp", l.partition, err)
	}
	if best == nil {
		return -1, -1, -1, nil
	}
	r, err := best.findRecord(top.offset, l.end.Load(), func(h header) bool { return h.maxTimestamp == top.timestamp },
		func(_, timestamp int64) bool { return timestamp == top.timestamp })
	if err != nil && l.dropped(best) {
		return l.MaxTimestampOffset()
	}
	if err != nil {
		return -1, -1, -1, storageError("looking up the newest timestamp", l.partition, err)
	}
	return r.offset, r.timestamp, r.epoch, nil
}

// newest finds the greatest timestamp of the log, and the segment that has it,
// nil if no record has a timestamp.
func (l *Log) newest() (best *segment, top stamp, err error) {
	err = l.search(func(list []*segment) error {
		best, top = nil, stamp{timestamp: record.NoTimestamp}
		for i := max(0, floor(list, l.start.Load())); i < len(list); i++ {
			newest, err := list[i].newestStamp()
			if err != nil {
				return err
			}
			if newest.timestamp > top.timestamp {
				best, top = list[i], newest
			}
		}
		return nil
	})
	return best, top, err
}

// findRecord finds the first record that match accepts, in the batches from
// offset from on, of which it opens those that open accepts.
func (s *segment) findRecord(from, upTo int64, open func(header) bool, match func(offset, timestamp int64) bool) (found, error) {
	size := s.size.Load()
	_, position, err := s.offsets.lookup(from)
	if err != nil {
		return notFound, err
	}
	file, err := s.file.acquire()
	if err != nil {
		return notFound, err
	}
	defer s.file.release()
	sc := scan(file, position, size)
	defer sc.close()
	for {
		h, more, err := sc.next()
		if err != nil || !more || h.base >= upTo {
			return notFound, err
		}
		if h.last < from || !open(h) {
			continue
		}
		b := make([]byte, h.size)
		if err := readFull(file, b, h.position); err != nil {
			return notFound, err
		}
		offset, timestamp, err := firstMatch(h.magic, b, match)
		if err != nil {
			return notFound, err
		}
		if offset >= 0 {
			return found{offset, timestamp, h.epoch}, nil
		}
	}
}

// firstMatch finds the first record that match accepts in a batch of any format;
// its offset is −1 if there is none.
func firstMatch(magic int8, b []byte, match func(offset, timestamp int64) bool) (offset, timestamp int64, err error) {
	limit := record.MaxDecompressed(int32(min(len(b), math.MaxInt32)))
	if magic < 2 {
		for r, err := range record.Message(b).Records(limit) {
			if err != nil || match(r.Offset, r.Timestamp) {
				return r.Offset, r.Timestamp, err
			}
		}
		return -1, -1, nil
	}
	batch := record.Batch(b)
	for r, err := range batch.Records(limit) {
		if err != nil {
			return -1, -1, err
		}
		if match(batch.Offset(r), batch.Timestamp(r)) {
			return batch.Offset(r), batch.Timestamp(r), nil
		}
	}
	return -1, -1, nil
}

// OffsetsBefore lists the offsets that the log is known to have reached by the
// time ts, in ms, newest first and at most limit: before there was an index of
// timestamps, that was how an offset was found by time (ListOffsets version 0).
// The log had reached a segment's base when the segment was last modified, and
// its end, if the last segment has data, by now.
func (l *Log) OffsetsBefore(ts int64, limit int) ([]int64, error) {
	list := l.list()
	start, end := l.start.Load(), l.end.Load()
	var offsets []int64
	reached := false // by ts; then all below it was too, whatever its time says
	if limit > 0 && list[len(list)-1].size.Load() > 0 && ts >= time.Now().UnixMilli() {
		reached = true
		offsets = append(offsets, end)
	}
	for i := len(list) - 1; i >= 0 && len(offsets) < limit; i-- {
		if !reached {
			modified, err := list[i].modified()
			if err != nil {
				return nil, storageError("looking up when a segment was modified", l.partition, err)
			}
			reached = modified <= ts
		}
		if reached {
			offsets = append(offsets, max(list[i].base, start))
		}
	}
	return offsets, nil
}

// modified is when the segment's file was last written, in ms. A file that is
// gone, as retention or truncation took it meanwhile, is as old as can be.
func (s *segment) modified() (ms int64, err error) {
	info, err := s.file.dir.fs.Stat(s.file.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return info.ModTime().UnixMilli(), nil
}
