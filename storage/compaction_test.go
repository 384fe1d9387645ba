package storage

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// A Store compacts what is to be compacted by itself, and writes down how far it is.
func TestLogsAreCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		cfg := kafkaIntervals("/a")
		cfg.Compaction = func() config.Cleaner {
			return config.Cleaner{Enable: true, Threads: 2, DedupeBytes: 4 << 20, DedupeLoadFactor: 0.9, IOBytes: 1 << 19, BytesPerSecond: math.MaxFloat64, Backoff: 15 * time.Second}
		}
		s := started(t, cfg, mem)
		tp := protocol.TopicPartition{Topic: "t"}
		log, err := s.Create(tp, protocol.TopicID{1}, compactedTopic(), true)
		if err != nil {
			t.Fatal(err)
		}
		writeKeys(t, log, 50)
		if !s.LastCompacted(tp).IsZero() || !s.LastCompacted(protocol.TopicPartition{Topic: "u"}).IsZero() {
			t.Error("compacted before its time")
		}
		size := log.Size()
		time.Sleep(16 * time.Second)
		synctest.Wait()
		cleaned := log.CleanedOffset()
		if cleaned <= 0 || log.Size() >= size/2 || time.Since(s.LastCompacted(tp)) > 16*time.Second || s.Compaction().LastRun.IsZero() {
			t.Errorf("compacted up to %d, %d bytes of %d, at %v, %+v", cleaned, log.Size(), size, s.LastCompacted(tp), s.Compaction())
		}
		if got, want := get(t, mem, "/a/"+cleanerFile), fmt.Sprintf("0\n1\nt 0 %d\n", cleaned); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", cleanerFile, got, want)
		}
		// Nothing of it is to be recovered after a crash.
		if points, err := parseCheckpoint([]byte(get(t, mem, "/a/"+recoveryPointFile))); err != nil || points[tp] < cleaned {
			t.Errorf("recovery point %d, compacted up to %d, %v", points[tp], cleaned, err)
		}
		log.AdvanceHighWatermark(log.EndOffset())
		must(t, log.TruncateTo(cleaned-1))
		if got := get(t, mem, "/a/"+cleanerFile); !strings.Contains(got, fmt.Sprintf("t 0 %d\n", log.EndOffset())) {
			t.Errorf("after a truncation to %d:\n%s", log.EndOffset(), got)
		}
		stop(t, s)
		s = started(t, cfg, mem)
		log, _ = s.Log(tp)
		if got := log.CleanedOffset(); got != log.EndOffset() {
			t.Errorf("after a restart compacted up to %d instead of %d", got, log.EndOffset())
		}
		must(t, s.Delete(tp))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := get(t, mem, "/a/"+cleanerFile); got != "0\n0\n" {
			t.Errorf("after its deletion:\n%s", got)
		}
		stop(t, s)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func compactedTopic() *config.Topic {
	return &config.Topic{
		SegmentBytes: 500, SegmentMS: math.MaxInt64, SegmentIndexBytes: 1200, IndexIntervalBytes: 100,
		FlushMessages: math.MaxInt64, FlushMS: math.MaxInt64, RetentionMS: -1, RetentionBytes: -1, MaxMessageBytes: 1 << 20,
		CompressionType: "producer", Compact: true, MinCleanableDirtyRatio: 0.5, MaxCompactionLagMS: math.MaxInt64,
	}
}

// writeKeys writes records of three keys, all of them stable.
func writeKeys(t *testing.T, log *commitlog.Log, n int) {
	t.Helper()
	for i := range n {
		b := record.NewBuilder()
		b.Append(time.Now().UnixMilli(), fmt.Append(nil, i%3), fmt.Append(nil, i))
		batch, err := b.Build()
		must(t, err)
		_, err = log.AppendAsLeader(batch, 0, record.Client)
		must(t, err)
	}
	log.AdvanceHighWatermark(log.EndOffset())
}

// The reserve is not for what compaction writes.
func TestCompactionDoesNotTakeTheReserve(t *testing.T) {
	for name, want := range map[string]bool{
		"/a/t-0/00000000000000000000.log": true, "/a/t-0/00000000000000000000.log.cleaned": true, "/a/t-0/00000000000000000000.index.cleaned": false,
		"/a/t-0/00000000000000000000.index": false, "/a/recovery-point-offset-checkpoint": false,
	} {
		if got := holdsRecords(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
