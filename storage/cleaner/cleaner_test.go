package cleaner

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func topic(change func(*config.Topic)) *config.Topic {
	cfg := &config.Topic{
		SegmentBytes:       200,
		SegmentMS:          math.MaxInt64,
		SegmentIndexBytes:  1200,
		IndexIntervalBytes: 4096,
		FlushMessages:      math.MaxInt64,
		FlushMS:            math.MaxInt64,
		RetentionMS:        -1,
		RetentionBytes:     -1,
		MaxMessageBytes:    1 << 20,
		CompressionType:    "producer",
	}
	change(cfg)
	return cfg
}

// newLog returns a log of ten records, two in each segment, all of them below
// the high watermark.
func newLog(t *testing.T, fsys vfs.FS, name string, cfg *config.Topic) *commitlog.Log {
	t.Helper()
	log, err := commitlog.Open(commitlog.Options{
		FS: fsys, Dir: "/data/" + name + "-0", Partition: protocol.TopicPartition{Topic: name}, Config: cfg,
		Files: commitlog.NewFileCache(20), ProducerIDExpiration: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		b := record.NewBuilder()
		b.Append(time.Now().UnixMilli(), nil, []byte("a value of 30 bytes or even more"))
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.AppendAsLeader(batch, 0, record.Client); err != nil {
			t.Fatal(err)
		}
	}
	log.AdvanceHighWatermark(10)
	return log
}

func all(logs ...*commitlog.Log) func() iter.Seq[*commitlog.Log] {
	return func() iter.Seq[*commitlog.Log] {
		return func(yield func(*commitlog.Log) bool) {
			for _, log := range logs {
				if !yield(log) {
					return
				}
			}
		}
	}
}

func TestRetain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMem()
		byTime := newLog(t, fsys, "by-time", topic(func(c *config.Topic) { c.Delete, c.RetentionMS = true, 1000 }))
		bySize := newLog(t, fsys, "by-size", topic(func(c *config.Topic) { c.Delete, c.RetentionBytes = true, 300 }))
		compacted := newLog(t, fsys, "compacted", topic(func(c *config.Topic) { c.Compact, c.RetentionMS, c.RetentionBytes = true, 1000, 300 }))
		if err := compacted.AdvanceStartOffset(5); err != nil {
			t.Fatal(err)
		}
		deleted := newLog(t, fsys, "deleted", topic(func(c *config.Topic) { c.Delete, c.RetentionMS = true, 1000 }))
		deleted.Abandon()
		time.Sleep(time.Minute)

		var out bytes.Buffer
		c := New(Config{}, all(deleted, byTime, bySize, compacted), slog.New(slog.NewTextHandler(&out, nil)))
		n := c.Retain(t.Context())
		if byTime.StartOffset() != 10 {
			t.Errorf("by time: starts at %d", byTime.StartOffset())
		}
		if start := bySize.StartOffset(); start == 0 || start == 10 || bySize.Size() < 300 {
			t.Errorf("by size: starts at %d with %d bytes", start, bySize.Size())
		}
		if segments := files(t, fsys, "/data/compacted-0"); compacted.StartOffset() != 5 || strings.Contains(segments, " 00000000000000000000.log ") ||
			!strings.Contains(segments, " 00000000000000000004.log ") {
			t.Errorf("compacted: starts at %d, files%s", compacted.StartOffset(), segments)
		}
		if text := out.String(); !strings.Contains(text, fmt.Sprintf("count=%d", n)) || strings.Contains(text, "ERROR") {
			t.Errorf("logged %s", text)
		}
		if again := c.Retain(t.Context()); again != 0 {
			t.Errorf("a second pass dropped %d segments", again)
		}
	})
}

func files(t *testing.T, fsys vfs.FS, dir string) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := " "
	for _, e := range entries {
		names += e.Name() + " "
	}
	return names
}

func TestPassesComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes []time.Duration
		begun := time.Now()
		c := New(Config{InitialDelay: 30 * time.Second, CheckInterval: 5 * time.Minute}, func() iter.Seq[*commitlog.Log] {
			passes = append(passes, time.Since(begun))
			return all()()
		}, slog.New(slog.DiscardHandler))
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Minute)
		if err := c.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(passes); got != "[30s 5m30s 10m30s]" {
			t.Errorf("passes after %s", got)
		}
	})
}

func TestStopEndsAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t, vfs.NewMem(), "t", topic(func(*config.Topic) {}))
		seen := 0
		c := New(Config{CheckInterval: time.Hour}, func() iter.Seq[*commitlog.Log] {
			return func(yield func(*commitlog.Log) bool) {
				for yield(log) {
					seen++
					time.Sleep(time.Second)
				}
			}
		}, slog.New(slog.DiscardHandler))
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if err := c.Stop(context.Background()); err != nil || seen < 9 || seen > 12 {
			t.Errorf("%d logs in 10 s, %v", seen, err)
		}
	})
}

func TestWithoutAnIntervalNothingRuns(t *testing.T) {
	c := New(Config{}, func() iter.Seq[*commitlog.Log] {
		t.Error("a pass")
		return all()()
	}, slog.New(slog.DiscardHandler))
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}
