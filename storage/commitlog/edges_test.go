package commitlog

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
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
	if waiting, err := l.PurgeDeleted(now.Add(time.Hour), false); waiting == 0 || err != nil {
		t.Errorf("after an hour %d files wait, %v", waiting, err)
	}
}

// Operators remove index files that they take for damaged, and a segment from
// before Kafka 0.10.1 never had a time index: its records are found all the same.
func TestMissingTimeIndex(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	o.Config.SegmentBytes = 1500
	l := mustOpen(t, o)
	for i := range 60 {
		appendTo(t, l, batchOf(t, 1, int64(1000+10*i)), 0)
	}
	if len(l.list()) < 3 {
		t.Fatalf("only %d segments", len(l.list()))
	}
	must(t, l.Close(t.Context()))
	for _, s := range l.list() {
		must(t, mem.Remove(filepath.Join(o.Dir, fileName(s.base, timeSuffix))))
	}
	o.Clean = true
	l = mustOpen(t, o)
	for i := range int64(60) {
		if offset, ts, _, err := l.OffsetForTimestamp(1000+10*i, 60); err != nil || offset != i || ts != 1000+10*i {
			t.Errorf("timestamp %d is at offset %d, timestamp %d, %v", 1000+10*i, offset, ts, err)
		}
	}
	if offset, ts, _, err := l.MaxTimestampOffset(); err != nil || offset != 59 || ts != 1590 {
		t.Errorf("the newest timestamp is at offset %d, timestamp %d, %v", offset, ts, err)
	}
}

// The newest timestamp can be asked for in the middle of an append.
func TestMaxTimestampWhileAppending(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Config.SegmentBytes = 1 << 20
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 1, 1000), 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 3000 {
			appendTo(t, l, batchOf(t, 1, int64(1001+i)), 0)
		}
	}()
	for asked := 0; ; asked++ {
		select {
		case <-done:
			return
		default:
		}
		if offset, _, _, err := l.MaxTimestampOffset(); offset < 0 || err != nil {
			t.Errorf("question %d: offset %d, %v", asked, offset, err)
			<-done
			return
		}
	}
}

// Who looks for a timestamp or for aborted transactions in a segment that
// retention drops at this moment has met no failure of a disk.
func TestLookupsWhileRetentionDrops(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Config.SegmentBytes = 400
	o.Config.FileDeleteDelayMS = 0
	l := mustOpen(t, o)
	done := make(chan struct{})
	appendTo(t, l, batchOf(t, 1, 1000), 0)
	go func() {
		defer close(done)
		for i := range int32(1000) {
			b := record.NewBuilder().SetProducer(1, 0, i).SetTransactional(true)
			b.Append(1001+int64(i), nil, []byte("value"))
			batch, err := b.Build()
			if err == nil {
				_, err = l.AppendAsLeader(batch, 0, record.Client)
			}
			if err == nil {
				_, err = l.AppendAsLeader(record.EndTxnMarker(1, 0, 0, false, 1001+int64(i)), 0, record.Coordinator)
			}
			if err != nil {
				t.Error(err)
			}
			l.AdvanceHighWatermark(l.EndOffset())
			if err := l.AdvanceStartOffset(l.EndOffset() - 1); err != nil {
				t.Error(err)
			}
			if _, err := l.DeleteExpired(time.Now()); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
		}
		if _, _, _, err := l.OffsetForTimestamp(0, math.MaxInt64); err != nil {
			t.Errorf("timestamp: %v", err)
		}
		if _, _, _, err := l.MaxTimestampOffset(); err != nil {
			t.Errorf("newest timestamp: %v", err)
		}
		if _, err := l.AbortedTransactions(0, math.MaxInt64); err != nil {
			t.Errorf("aborted transactions: %v", err)
		}
		if t.Failed() {
			<-done
			return
		}
	}
}
