package commitlog

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// benchLog is a log on the real file system with Kafka's defaults.
func benchLog(tb testing.TB, change func(*config.Topic)) *Log {
	tb.Helper()
	o := testOptions(vfs.OS())
	o.Dir = filepath.Join(tb.TempDir(), "t-0")
	o.Config.SegmentBytes = 1 << 30
	o.Config.IndexIntervalBytes = 4096
	if change != nil {
		change(o.Config)
	}
	return mustOpen(tb, o)
}

func batchOfSize(tb testing.TB, size int) record.Batch {
	tb.Helper()
	b := record.NewBuilder()
	b.Append(time.Now().UnixMilli(), nil, make([]byte, size-record.HeaderSize-12))
	batch, err := b.Build()
	must(tb, err)
	return batch
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprint(n>>20, "MiB")
	}
	return fmt.Sprint(n>>10, "KiB")
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(sizeName(size), func(b *testing.B) {
			// Large batches roll early, so that the page cache stays small.
			l := benchLog(b, func(c *config.Topic) { c.SegmentBytes, c.RetentionBytes, c.FileDeleteDelayMS = 128<<20, 0, 0 })
			batch := batchOfSize(b, size)
			appendTo(b, l, batch, 0) // the first one writes and syncs the leader epochs
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			segments := 1
			for b.Loop() {
				if _, err := l.AppendAsLeader(batch, 0, record.Client); err != nil {
					b.Fatal(err)
				}
				if n := len(l.list()); n > segments {
					b.StopTimer()
					l.AdvanceHighWatermark(l.EndOffset())
					if _, err := l.DeleteExpired(time.Now()); err != nil {
						b.Fatal(err)
					}
					if _, err := l.PurgeDeleted(time.Now().Add(time.Hour), false); err != nil {
						b.Fatal(err)
					}
					segments = len(l.list())
					b.StartTimer()
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l := benchLog(b, func(c *config.Topic) { c.SegmentBytes = 16 << 20 })
	batch := batchOfSize(b, 1<<10)
	const n = 64 << 10
	for range n {
		appendTo(b, l, batch, 0)
	}
	read := func(b *testing.B, from func(i int64) int64, upTo int64) {
		b.ReportAllocs()
		i := int64(0)
		for b.Loop() {
			i++
			r, err := l.Read(from(i), 1<<20, upTo, true)
			if err != nil || r.Len == 0 {
				b.Fatal(r.Len, err)
			}
			r.Release()
		}
	}
	b.Run("newest", func(b *testing.B) { read(b, func(i int64) int64 { return n - 1 - i%30 }, n) })
	b.Run("activeSegment", func(b *testing.B) { read(b, func(i int64) int64 { return n - 100 - i*7919%5000 }, n) })
	b.Run("anywhere", func(b *testing.B) { read(b, func(i int64) int64 { return i * 7919 % n }, n) })
}

func BenchmarkFollowerApply(b *testing.B) {
	l := benchLog(b, nil)
	batch := batchOfSize(b, 16<<10)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	_, err := l.AppendAsFollower(batch, 0)
	must(b, err)
	offset := int64(1)
	for b.Loop() {
		batch.SetBaseOffset(offset)
		offset++
		if _, err := l.AppendAsFollower(batch, 0); err != nil {
			b.Fatal(err)
		}
		if offset%4096 == 0 {
			b.StopTimer()
			must(b, l.TruncateFullyAndStartAt(offset))
			_, err := l.PurgeDeleted(time.Now().Add(time.Hour), false)
			must(b, err)
			b.StartTimer()
		}
	}
}

func BenchmarkRecover(b *testing.B) {
	l := benchLog(b, nil)
	batch := batchOfSize(b, 16<<10)
	for range 4096 {
		appendTo(b, l, batch, 0)
	}
	l.Abandon()
	o := testOptions(vfs.OS())
	o.Dir, o.Config = l.Dir(), l.Config()
	b.SetBytes(l.Size())
	for b.Loop() {
		l, err := Open(o)
		must(b, err)
		l.Abandon()
	}
}

// What an append and a read allocate does not depend on the batch, and is close
// to nothing.
func TestAllocations(t *testing.T) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		l := benchLog(t, nil)
		batch := batchOfSize(t, size)
		appendTo(t, l, batch, 0)
		if n := testing.AllocsPerRun(50, func() {
			if _, err := l.AppendAsLeader(batch, 0, record.Client); err != nil {
				t.Error(err)
			}
		}); n > 1 {
			t.Errorf("an append of %s allocates %v times, at most 1 is allowed", sizeName(size), n)
		}
		l.AdvanceHighWatermark(l.EndOffset())
		if n := testing.AllocsPerRun(50, func() {
			r, err := l.Read(l.EndOffset()-1, 1<<20, l.EndOffset(), true)
			if err != nil || r.Len != len(batch) {
				t.Error(r.Len, err)
			}
			r.Release()
		}); n > 0 {
			t.Errorf("a read at the end allocates %v times", n)
		}
		l.Abandon()
	}
}
