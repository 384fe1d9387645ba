package commitlog

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func idempotent(t testing.TB, n int, ts, pid int64, epoch int16, seq int32) record.Batch {
	t.Helper()
	b := record.NewBuilder().SetProducer(pid, epoch, seq)
	for range n {
		b.Append(ts, nil, []byte("v"))
	}
	batch, err := b.Build()
	must(t, err)
	return batch
}

func TestDuplicates(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	now := time.Now().UnixMilli()
	first := idempotent(t, 3, now, 7, 0, 0)
	appendTo(t, l, bytes.Clone(first), 4)
	appendTo(t, l, idempotent(t, 2, now+1, 7, 0, 3), 4)
	info := appendTo(t, l, bytes.Clone(first), 5)
	want := AppendInfo{FirstOffset: 0, LastOffset: 2, MaxTimestamp: now, Duplicate: true}
	if info != want || l.EndOffset() != 5 {
		t.Errorf("a repetition gives %+v, the end is %d; want %+v and 5", info, l.EndOffset(), want)
	}
	if e, _ := l.LatestEpoch(); e != 4 {
		t.Errorf("a repetition has brought epoch %d", e)
	}
	_, err := l.AppendAsLeader(idempotent(t, 1, now, 7, 0, 9), 4, record.Client)
	if !errors.Is(err, kerr.OutOfOrderSequenceNumber) || l.EndOffset() != 5 {
		t.Errorf("a gap in the sequence gives %v, the end is %d", err, l.EndOffset())
	}
	big := idempotent(t, 2000, now, 7, 0, 5)
	if _, err := l.AppendAsLeader(big, 4, record.Client); !errors.Is(err, kerr.RecordListTooLarge) {
		t.Errorf("a batch larger than a segment gives %v", err)
	}
}

func TestFollowerAppends(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	l := mustOpen(t, o)
	at := func(offset int64, epoch int32) record.Batch {
		b := batchOf(t, 2, 1000)
		b.SetBaseOffset(offset)
		b.SetLeaderEpoch(epoch)
		return b
	}
	join := func(bs ...record.Batch) []byte { return bytes.Join(toSlices(bs), nil) }

	// Batches of an epoch that this replica does not follow yet are left out.
	info, err := l.AppendAsFollower(join(at(0, 1), at(2, 3), at(4, 4)), 3)
	if err != nil || info.FirstOffset != 0 || info.LastOffset != 3 || l.EndOffset() != 4 {
		t.Errorf("append: %+v, %v", info, err)
	}
	if e, o := l.EndOffsetForEpoch(1); e != 1 || o != 2 {
		t.Errorf("epoch 1 ends at %d, %d", e, o)
	}
	written, err := vfs.ReadFile(mem, filepath.Join(o.Dir, epochsFile), 1000)
	if want := "0\n2\n1 0\n3 2\n"; err != nil || string(written) != want {
		t.Errorf("the file of epochs is %q (%v), want %q", written, err, want)
	}
	info, err = l.AppendAsFollower(at(4, 5), 3)
	if err != nil || info.Bytes != 0 || info.FirstOffset != 4 || info.LastOffset != 3 {
		t.Errorf("append of nothing: %+v, %v", info, err)
	}
	bad := at(4, 3)
	bad[70] ^= 1
	if _, err := l.AppendAsFollower(join(at(4, 3), bad), 3); !errors.Is(err, kerr.CorruptMessage) {
		t.Errorf("a damaged batch: %v", err)
	}
	for _, batches := range [][]byte{at(3, 3), join(at(6, 3), at(6, 3)), join(at(8, 3), at(4, 3))} {
		if _, err := l.AppendAsFollower(batches, 3); !errors.Is(err, ErrUnexpectedOffset) {
			t.Errorf("offsets that do not ascend: %v", err)
		}
	}
	if l.EndOffset() != 4 {
		t.Errorf("the end is %d after failed appends", l.EndOffset())
	}

	// An empty log takes a batch that straddles its end.
	must(t, l.TruncateFullyAndStartAt(101))
	if _, err := l.AppendAsFollower(at(100, 3), 3); err != nil || l.StartOffset() != 100 || l.EndOffset() != 102 {
		t.Errorf("straddling: %d to %d, %v", l.StartOffset(), l.EndOffset(), err)
	}
}

// A segment of Kafka's may still hold messages of old formats.
func TestOldFormats(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	v1 := func(offset int64, ts int64) []byte {
		b := make([]byte, 12+22+3)
		copy(b[34:], "old")
		put := func(at int, n int, v uint64) {
			for i := range n {
				b[at+n-1-i] = byte(v >> (8 * i))
			}
		}
		put(0, 8, uint64(offset))
		put(8, 4, uint64(len(b)-12))
		b[16] = 1
		put(18, 8, uint64(ts))
		put(26, 4, math.MaxUint32) // no key
		put(30, 4, 3)
		put(12, 4, uint64(crc32IEEE(b[16:])))
		return b
	}
	old := append(v1(0, 1000), v1(1, 1001)...)
	if _, err := l.AppendAsFollower(old, 0); err != nil {
		t.Fatal(err)
	}
	if offset, ts, epoch, err := l.OffsetForTimestamp(1001, 2); offset != 1 || ts != 1001 || epoch != -1 || err != nil {
		t.Errorf("time 1001 is at %d, %d, %d, %v", offset, ts, epoch, err)
	}
	damaged := v1(2, 1002)
	damaged[35] ^= 1
	if _, err := l.AppendAsFollower(damaged, 0); !errors.Is(err, kerr.CorruptMessage) {
		t.Errorf("a damaged message: %v", err)
	}
	l = reopen(t, l, testOptions(l.dir.fs))
	if got := contentOf(t, l); !bytes.Equal(got, old) {
		t.Errorf("content is %x, want %x", got, old)
	}
}

func TestRollRules(t *testing.T) {
	now := time.Now().UnixMilli()
	for _, c := range []struct {
		name  string
		set   func(o *Options)
		write func(l *Log)
		bases []int64
	}{
		{"by size, exactly", func(o *Options) { o.Config.SegmentBytes = int32(3 * len(batchOf(t, 1, now))) }, func(l *Log) {
			for range 7 {
				appendTo(t, l, batchOf(t, 1, now), 0)
			}
		}, []int64{0, 3, 6}},
		{"by time of the records", func(o *Options) { o.Config.SegmentMS = 1000 }, func(l *Log) {
			for _, ts := range []int64{0, 1000, 1001, 1500, 2001, 2002, 500} {
				appendTo(t, l, batchOf(t, 1, now+ts), 0)
			}
		}, []int64{0, 2, 5}},
		{"full offset index", func(o *Options) { o.Config.IndexIntervalBytes, o.Config.SegmentIndexBytes = 0, 39 }, func(l *Log) {
			for range 9 {
				appendTo(t, l, batchOf(t, 1, now), 0)
			}
		}, []int64{0, 5}},
		{"full time index", func(o *Options) { o.Config.IndexIntervalBytes, o.Config.SegmentIndexBytes = 0, 39 }, func(l *Log) {
			for i := range int64(9) {
				appendTo(t, l, batchOf(t, 1, now+i), 0)
			}
		}, []int64{0, 3, 6}},
		{"offset too far from the base", nil, func(l *Log) {
			appendTo(t, l, batchOf(t, 1, now), 0)
			for _, offset := range []int64{math.MaxInt32, math.MaxInt32 + 1, math.MaxInt32 + 2, 3 << 31} {
				b := batchOf(t, 1, now)
				b.SetBaseOffset(offset)
				_, err := l.AppendAsFollower(b, 0)
				must(t, err)
			}
		}, []int64{0, math.MaxInt32 + 1, 3 << 31}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(vfs.NewMem())
			if c.set != nil {
				c.set(&o)
			}
			l := mustOpen(t, o)
			c.write(l)
			var bases []int64
			for _, s := range l.list() {
				bases = append(bases, s.base)
			}
			if !slices.Equal(bases, c.bases) {
				t.Errorf("segments begin at %v, want %v", bases, c.bases)
			}
			want := readAll(t, l, 0, l.EndOffset())
			l = reopen(t, l, o)
			equalLines(t, readAll(t, l, 0, l.EndOffset()), want)
		})
	}
}

func TestLastStableOffset(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	now := time.Now().UnixMilli()
	txn := func(pid int64, seq int32) {
		b := record.NewBuilder().SetProducer(pid, 0, seq).SetTransactional(true)
		b.Append(now, nil, []byte("v"))
		batch, err := b.Build()
		must(t, err)
		appendTo(t, l, batch, 0)
	}
	end := func(pid int64, commit bool) {
		_, err := l.AppendAsLeader(record.EndTxnMarker(pid, 0, 0, commit, now), 0, record.Coordinator)
		must(t, err)
	}
	check := func(hw, want int64) {
		t.Helper()
		l.AdvanceHighWatermark(hw)
		if got := l.LastStableOffset(); got != want {
			t.Errorf("with high watermark %d the last stable offset is %d, want %d", l.HighWatermark(), got, want)
		}
	}
	appendTo(t, l, batchOf(t, 1, now), 0) // 0
	txn(1, 0)                             // 1
	txn(2, 0)                             // 2
	check(1, 1)
	check(3, 1)
	end(1, false) // 3
	check(3, 1)   // the marker is not replicated
	check(4, 2)
	end(2, true) // 4
	check(4, 2)
	check(5, 5)
	txns, err := l.AbortedTransactions(0, 5)
	must(t, err)
	if want := []AbortedTxn{{ProducerID: 1, FirstOffset: 1, LastOffset: 3, LastStableOffset: 2}}; !slices.Equal(txns, want) {
		t.Errorf("aborted: %+v, want %+v", txns, want)
	}
	if l.HasOpenTransaction(1) {
		t.Error("the aborted transaction is still open")
	}
}

func TestReadErrors(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	for range 5 {
		appendTo(t, l, batchOf(t, 2, 1), 0)
	}
	l.AdvanceHighWatermark(10)
	must(t, l.AdvanceStartOffset(3))
	for _, from := range []int64{-1, 2, 11} {
		if _, err := l.Read(from, 100, 10, true); !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Errorf("a read at %d gives %v", from, err)
		}
	}
	for _, c := range []struct {
		from, upTo int64
		max        int32
		minOne     bool
		empty      bool
	}{
		{10, 10, 100, true, true}, {5, 5, 100, true, true}, {8, 5, 100, true, true}, {4, 5, 100, true, true},
		{3, 10, 0, false, true}, {3, 10, 0, true, false}, {4, 6, 1, false, true}, {4, 6, 1000, false, false},
	} {
		r, err := l.Read(c.from, c.max, c.upTo, c.minOne)
		must(t, err)
		if (r.Len == 0) != c.empty || (r.File == nil) != c.empty {
			t.Errorf("%+v: %d bytes", c, r.Len)
		}
		if !c.minOne && r.Len > int(c.max) {
			t.Errorf("%+v: %d bytes are more than %d", c, r.Len, c.max)
		}
		r.Release()
		r.Release()
	}
	if err := l.AdvanceStartOffset(11); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("a start above the high watermark gives %v", err)
	}
}
