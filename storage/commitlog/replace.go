package commitlog

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// finishReplacement removes what was about to be deleted, and finishes or undoes
// the replacement of segments that compaction was at. Compaction writes .cleaned
// files, renames them to .swap from the last one backward, deletes the segments
// that they replace, and strips .swap. So .cleaned files mean that not all .swap
// names are there yet; without one, the .swap files are complete.
func (l *Log) finishReplacement(files []diskFile) (left []diskFile, err error) {
	firstCleaned := int64(math.MaxInt64)
	for _, f := range files {
		if f.state == cleanedSuffix {
			firstCleaned = min(firstCleaned, f.base)
		}
	}
	low, high := int64(math.MaxInt64), int64(math.MinInt64) // what .swap segments hold
	var swaps []diskFile
	for _, f := range files {
		switch {
		case f.state == deletedSuffix, f.state == cleanedSuffix, f.state == swapSuffix && f.base >= firstCleaned:
			if err := l.removeFile(f, "left over"); err != nil {
				return nil, err
			}
		case f.state == swapSuffix:
			swaps = append(swaps, f)
			if f.suffix != logSuffix {
				break
			}
			next, err := l.nextOffsetIn(f)
			if err != nil {
				return nil, err
			}
			low, high = min(low, f.base), max(high, next)
		default:
			left = append(left, f)
		}
	}
	if len(swaps) == 0 {
		return left, nil
	}
	left = slices.DeleteFunc(left, func(f diskFile) bool {
		if f.base < low || f.base >= high {
			return false
		}
		err = errors.Join(err, l.removeFile(f, "replaced by compaction"))
		return true
	})
	for _, f := range swaps {
		to := f
		to.state = ""
		err = errors.Join(err, l.dir.fs.Rename(l.dir.join(f.name()), l.dir.join(to.name())))
		left = append(left, to)
	}
	l.dirChanged = true
	slices.SortFunc(left, func(a, b diskFile) int { return strings.Compare(a.name(), b.name()) })
	return left, err
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
