package commitlog

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// The time index of records from 1970 can consist of one entry that is all
// zeros. In a file cut to size that is an entry and not the rest of a file that
// was given its full size at once.
func TestTimestampZero(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 1, 0), 0)
	l = reopen(t, l, o)
	if offset, ts, _, err := l.OffsetForTimestamp(0, l.EndOffset()); err != nil || offset != 0 || ts != 0 {
		t.Errorf("timestamp 0 is at offset %d, timestamp %d, %v", offset, ts, err)
	}
	if offset, ts, _, err := l.MaxTimestampOffset(); err != nil || offset != 0 || ts != 0 {
		t.Errorf("the newest timestamp is at offset %d, timestamp %d, %v", offset, ts, err)
	}
}

// A large snapshot that cannot be used is no reason to give up the disk.
func TestLargeSnapshotIsTriedAndRemoved(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 3, 1000), 0)
	must(t, l.Close(t.Context()))
	name := filepath.Join(o.Dir, fileName(3, snapshotSuffix))
	f, err := mem.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	must(t, f.Truncate(65<<20))
	must(t, f.Close())
	for _, o.Clean = range []bool{true, false} {
		o.FS = mem.Kill()
		l = mustOpen(t, o)
		if l.EndOffset() != 3 {
			t.Errorf("clean %v: ends at %d", o.Clean, l.EndOffset())
		}
		l.Abandon()
	}
}

// file.delete.delay.ms may be as large as its type.
func TestLongestDeleteDelay(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Config.FileDeleteDelayMS = math.MaxInt64
	l := mustOpen(t, o)
	for range 60 {
		appendTo(t, l, batchOf(t, 3, 1000), 0)
	}
	l.AdvanceHighWatermark(l.EndOffset())
	must(t, l.AdvanceStartOffset(l.EndOffset()))
	now := time.Now()
	if n, err := l.DeleteExpired(now); n == 0 || err != nil {
		t.Fatalf("dropped %d segments, %v", n, err)
	}
	if waiting, err := l.PurgeDeleted(now.Add(time.Hour)); waiting == 0 || err != nil {
		t.Errorf("after an hour %d files wait, %v", waiting, err)
	}
}
