package commitlog

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Helpers that all tests of the package use.

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testConfig rolls and indexes often, so that small logs have everything.
func testConfig() *config.Topic {
	return &config.Topic{
		SegmentBytes: 3000, SegmentMS: math.MaxInt64, SegmentIndexBytes: 10 << 20, IndexIntervalBytes: 300,
		FileDeleteDelayMS: 60000, RetentionMS: -1, RetentionBytes: -1, Delete: true,
		FlushMessages: math.MaxInt64, FlushMS: math.MaxInt64, MaxMessageBytes: 1 << 20,
		MaxCompactionLagMS: math.MaxInt64,
	}
}

var testPartition = protocol.TopicPartition{Topic: "t", Partition: 0}

func testOptions(fsys vfs.FS) Options {
	return Options{
		FS: fsys, Dir: "/logs/t-0", Partition: testPartition, Config: testConfig(),
		Files: NewFileCache(100), ProducerIDExpiration: 24 * time.Hour,
	}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	must(t, err)
	t.Cleanup(l.Abandon)
	return l
}

// reopen closes a log and opens it again, cleanly.
func reopen(t testing.TB, l *Log, o Options) *Log {
	t.Helper()
	must(t, l.Close(context.Background()))
	o.Clean, o.RecoveryPoint, o.StartOffset, o.HighWatermark = true, l.RecoveryPoint(), l.StartOffset(), l.HighWatermark()
	return mustOpen(t, o)
}

// batchOf builds a batch of n records at a time in ms.
func batchOf(t testing.TB, n int, ts int64) record.Batch {
	t.Helper()
	b := record.NewBuilder()
	for i := range n {
		b.Append(ts+int64(i), []byte("key"), fmt.Appendf(nil, "value %d of time %d", i, ts))
	}
	batch, err := b.Build()
	must(t, err)
	return batch
}

func appendTo(t testing.TB, l *Log, b record.Batch, epoch int32) AppendInfo {
	t.Helper()
	info, err := l.AppendAsLeader(b, epoch, record.Client)
	must(t, err)
	return info
}

// readAll reads the log as a consumer would, up to upTo, and returns one line per
// record: offset, leader epoch, timestamp, value.
func readAll(t testing.TB, l *Log, from, upTo int64) []string {
	t.Helper()
	var lines []string
	for from < upTo {
		r, err := l.Read(from, 1000, upTo, true)
		must(t, err)
		raw, err := r.AppendTo(nil)
		r.Release()
		must(t, err)
		if len(raw) == 0 {
			break
		}
		for len(raw) > 0 {
			b, rest, err := record.Next(raw)
			if err == record.ErrTruncated && len(lines) > 0 {
				break
			}
			must(t, err)
			must(t, b.CheckCRC())
			for rec, err := range b.Records(1 << 20) {
				must(t, err)
				if b.Offset(rec) >= from {
					lines = append(lines, fmt.Sprintf("%d e%d @%d %s", b.Offset(rec), b.LeaderEpoch(), b.Timestamp(rec), rec.Value))
				}
			}
			from = b.NextOffset()
			raw = rest
		}
	}
	return lines
}

func equalLines(t testing.TB, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %d lines, want %d\ngot:\n%s\nwant:\n%s", len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func dirNames(t testing.TB, fsys vfs.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAppendReadReopen(t *testing.T) {
	fsys := vfs.NewMem()
	o := testOptions(fsys)
	l := mustOpen(t, o)
	var want []string
	ts := int64(1700000000000)
	for i := range 100 {
		b := batchOf(t, 1+i%3, ts)
		info := appendTo(t, l, b, int32(i/40))
		for j := range 1 + i%3 {
			want = append(want, fmt.Sprintf("%d e%d @%d value %d of time %d", int(info.FirstOffset)+j, i/40, ts+int64(j), j, ts))
		}
		if int(info.LastOffset) != len(want)-1 {
			t.Fatalf("batch %d got offsets %d to %d, want %d", i, info.FirstOffset, info.LastOffset, len(want)-1)
		}
		ts += 10
	}
	if len(l.list()) < 3 {
		t.Fatalf("only %d segments", len(l.list()))
	}
	equalLines(t, readAll(t, l, 0, l.EndOffset()), want)
	for from := range int64(len(want)) {
		equalLines(t, readAll(t, l, from, l.EndOffset()), want[from:])
	}
	l = reopen(t, l, o)
	equalLines(t, readAll(t, l, 0, l.EndOffset()), want)
	appendTo(t, l, batchOf(t, 1, ts), 2)
	want = append(want, fmt.Sprintf("%d e2 @%d value 0 of time %d", len(want), ts, ts))
	o.FS = fsys.Kill()
	l = mustOpen(t, o)
	equalLines(t, readAll(t, l, 0, l.EndOffset()), want)
}
