package cleaner

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// candidate is a log that could be compacted, and what of it.
type candidate struct {
	log *commitlog.Log
	// firstDirty is where compaction has not been yet; limit the base of the segment
	// before which it must end.
	firstDirty, limit int64
	clean, dirty      int64 // bytes before firstDirty, and from there to limit
	// overdue: a record that could be compacted is older than max.compaction.lag.ms.
	overdue bool
}

// ratio is how much of the log is dirty.
func (c candidate) ratio() float64 { return float64(c.dirty) / float64(max(c.clean+c.dirty, 1)) }

// worth reports whether the log should be compacted now.
func (c candidate) worth(cfg *config.Topic) bool {
	return c.dirty > 0 && (c.overdue || c.ratio() > cfg.MinCleanableDirtyRatio)
}

// examine says what there is to do in a log. It reads offsets and sizes; timestamps only
// if the topic has compaction lags.
func examine(log *commitlog.Log, now time.Time, logger *slog.Logger) (candidate, error) {
	cfg := log.Config()
	c := candidate{log: log, firstDirty: firstDirty(log, cfg, logger)}
	sealed := log.Sealed()
	if len(sealed) == 0 {
		c.limit = c.firstDirty
		return c, nil
	}
	// Neither the active segment, nor what is not stable, nor what is too young.
	c.limit = min(log.LastStableOffset(), sealed[len(sealed)-1].NextOffset)
	if cfg.MinCompactionLagMS > 0 {
		for _, s := range from(sealed, c.firstDirty) {
			newest, err := s.NewestTimestamp()
			if err != nil {
				return c, err
			}
			if newest > now.UnixMilli()-cfg.MinCompactionLagMS {
				c.limit = min(c.limit, s.BaseOffset)
				break
			}
		}
	}
	c.limit = segmentBase(sealed, max(c.limit, c.firstDirty))
	for _, s := range sealed {
		if s.BaseOffset < c.firstDirty {
			c.clean += s.Size
		}
	}
	if c.firstDirty < c.limit {
		for _, s := range from(sealed, c.firstDirty) {
			if s.BaseOffset < c.limit {
				c.dirty += s.Size
			}
		}
	}
	var err error
	c.overdue, err = overdue(from(sealed, c.firstDirty), now, cfg)
	return c, err
}

// firstDirty is the log's cleaned offset, unless that cannot be right.
func firstDirty(log *commitlog.Log, cfg *config.Topic, logger *slog.Logger) int64 {
	cleaned, start, end := log.CleanedOffset(), log.StartOffset(), log.EndOffset()
	switch {
	case cleaned < 0:
		return start
	case cleaned >= start && cleaned <= end:
		return cleaned
	case cleaned < start && cfg.Delete:
	default:
		logger.Warn("a log is compacted anew from its start, because it does not reach to where it was compacted before",
			"partition", log.Partition().String(), "cleaned", cleaned, "start", start, "end", end)
	}
	log.ResetCleanedOffset(start)
	return start
}

// overdue reports whether the first batch of a segment is older than
// max.compaction.lag.ms.
func overdue(sealed []commitlog.Sealed, now time.Time, cfg *config.Topic) (bool, error) {
	if cfg.MaxCompactionLagMS == math.MaxInt64 {
		return false, nil
	}
	for _, s := range sealed {
		first, err := s.FirstTimestamp()
		if err != nil {
			return false, err
		}
		if first > 0 && first < now.UnixMilli()-max(cfg.MaxCompactionLagMS, 0) {
			return true, nil
		}
	}
	return false, nil
}

// from returns the segments from the one that holds offset on.
func from(sealed []commitlog.Sealed, offset int64) []commitlog.Sealed {
	for len(sealed) > 0 && sealed[0].NextOffset <= offset {
		sealed = sealed[1:]
	}
	return sealed
}

// segmentBase is the base of the segment that holds offset; the active one's for
// offsets above the sealed ones.
func segmentBase(sealed []commitlog.Sealed, offset int64) int64 {
	if at := from(sealed, offset); len(at) > 0 {
		return at[0].BaseOffset
	}
	return sealed[len(sealed)-1].NextOffset
}

// group puts the segments below end into groups that become one segment each: so
// segments do not get smaller and smaller. A group keeps within segment.bytes, the size
// of an index, and what an offset relative to the first can express.
func group(sealed []commitlog.Sealed, end int64, cfg *config.Topic) ([][]commitlog.Sealed, error) {
	var groups [][]commitlog.Sealed
	var size, offsets, times int64 // of the last group
	for i, s := range sealed {
		if s.BaseOffset >= end {
			break
		}
		o, t, err := s.IndexBytes()
		if err != nil {
			return nil, err
		}
		fits := i > 0 && size+s.Size <= int64(cfg.SegmentBytes) &&
			offsets+o <= int64(cfg.SegmentIndexBytes) && times+t <= int64(cfg.SegmentIndexBytes) &&
			// An empty segment is no reason to begin another one for ever.
			(s.Size == 0 || s.NextOffset-1-groups[len(groups)-1][0].BaseOffset <= math.MaxInt32)
		if !fits {
			groups = append(groups, nil)
			size, offsets, times = 0, 0, 0
		}
		last := &groups[len(groups)-1]
		*last = append(*last, s)
		size, offsets, times = size+s.Size, offsets+o, times+t
	}
	return groups, nil
}

func (c candidate) String() string {
	return fmt.Sprintf("%v from %d to %d", c.log.Partition(), c.firstDirty, c.limit)
}
