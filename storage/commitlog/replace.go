package commitlog

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// finishReplacement removes what was about to be deleted, and finishes or undoes
// the replacement of segments that compaction was at (see Compaction.swap). Compaction
// writes .cleaned files, renames them to .swap, from the last segment backward, sets
// the segments that they replace aside, and strips .swap. So .cleaned files mean that
// not all .swap names are there yet; without one, the .swap files are complete.
//
// Each step is durable before the next one, for this can be cut short, too.
func (l *Log) finishReplacement(files []diskFile) (left []diskFile, err error) {
	var swaps, cleaned []diskFile
	firstCleaned := int64(math.MaxInt64)
	for _, f := range files {
		switch f.state {
		case deletedSuffix:
			err = errors.Join(err, l.removeFile(f, "left over"))
		case cleanedSuffix:
			firstCleaned = min(firstCleaned, f.base)
			cleaned = append(cleaned, f)
		case swapSuffix:
			swaps = append(swaps, f)
		default:
			left = append(left, f)
		}
	}
	var unfinished []diskFile
	swaps = slices.DeleteFunc(swaps, func(f diskFile) bool {
		if f.base >= firstCleaned {
			unfinished = append(unfinished, f)
		}
		return f.base >= firstCleaned
	})
	if err := errors.Join(err, l.removeFiles(unfinished, "left over"), l.removeFiles(cleaned, "left over")); err != nil {
		return nil, err
	}
	if len(swaps) == 0 {
		return left, nil
	}
	replaced, err := l.replacedBy(swaps)
	if err != nil {
		return nil, err
	}
	gone := slices.DeleteFunc(slices.Clone(left), func(f diskFile) bool { return !replaced(f) })
	if err := l.removeFiles(gone, "replaced by compaction"); err != nil {
		return nil, err
	}
	left = slices.DeleteFunc(left, replaced)
	for _, f := range swaps {
		to := f
		to.state = ""
		if err := l.dir.fs.Rename(l.dir.join(f.name()), l.dir.join(to.name())); err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(left, func(f diskFile) bool { return f == to })
		left = append(left, to)
	}
	l.dirChanged = true
	slices.SortFunc(left, func(a, b diskFile) int { return strings.Compare(a.name(), b.name()) })
	return left, nil
}

// replacedBy says of a file whether it belongs to what .swap segments replace.
func (l *Log) replacedBy(swaps []diskFile) (func(diskFile) bool, error) {
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for _, f := range swaps {
		if f.suffix != logSuffix {
			continue
		}
		next, err := l.nextOffsetIn(f)
		if err != nil {
			return nil, err
		}
		low, high = min(low, f.base), max(high, next)
	}
	return func(f diskFile) bool { return f.base >= low && f.base < high }, nil
}

// removeFiles removes files durably.
func (l *Log) removeFiles(files []diskFile, why string) error {
	if len(files) == 0 {
		return nil
	}
	for _, f := range files {
		if err := l.removeFile(f, why); err != nil {
			return err
		}
	}
	return l.dir.fs.SyncDir(l.dir.join(""))
}

func (l *Log) removeFile(f diskFile, why string) error {
	l.logger().Debug("removing a file", "file", l.dir.join(f.name()), "why", why)
	l.dirChanged = true
	return l.dir.fs.Remove(l.dir.join(f.name()))
}

// nextOffsetIn reads a whole file's headers.
func (l *Log) nextOffsetIn(f diskFile) (next int64, err error) {
	next = f.base
	c := newCachedFile(l.files, l.dir, f.base, f.suffix+f.state)
	defer c.discard()
	err = c.with(func(file vfs.File) error {
		size, err := file.Size()
		if err != nil {
			return err
		}
		sc := scan(file, 0, size)
		defer sc.close()
		for {
			h, more, err := sc.next()
			if err != nil || !more {
				return err
			}
			next = h.next()
		}
	})
	return next, err
}
