package cleaner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

const hour = 3_600_000 // ms

func compacted(change func(*config.Topic)) *config.Topic {
	return topic(func(c *config.Topic) {
		c.Compact = true
		c.SegmentBytes = 500
		c.MinCleanableDirtyRatio = 0.5
		c.DeleteRetentionMS = 24 * hour
		c.MaxCompactionLagMS = math.MaxInt64
		if change != nil {
			change(c)
		}
	})
}

func openLog(t testing.TB, fsys vfs.FS, name string, cfg *config.Topic) *commitlog.Log {
	t.Helper()
	log, err := commitlog.Open(commitlog.Options{
		FS: fsys, Dir: "/data/" + name + "-0", Partition: protocol.TopicPartition{Topic: name}, Config: cfg,
		Files: commitlog.NewFileCache(20), ProducerIDExpiration: time.Hour, CleanedOffset: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.Abandon)
	return log
}

func put(t testing.TB, log *commitlog.Log, b record.Batch) {
	t.Helper()
	if _, err := log.AppendAsLeader(b, 0, record.Coordinator); err != nil {
		t.Fatal(err)
	}
	log.AdvanceHighWatermark(log.EndOffset())
}

// one is a batch of one record; without a value it is a tombstone.
func one(t testing.TB, key, value string) record.Batch {
	t.Helper()
	return build(t, record.NewBuilder(), key, value)
}

func build(t testing.TB, b *record.Builder, key, value string) record.Batch {
	t.Helper()
	var v []byte
	if value != "" {
		v = []byte(value)
	}
	b.Append(time.Now().UnixMilli(), []byte(key), v)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// fill begins another segment; the records it takes for that have keys of their own.
func fill(t testing.TB, log *commitlog.Log) {
	t.Helper()
	segments := len(log.Sealed())
	for len(log.Sealed()) == segments {
		put(t, log, one(t, fmt.Sprintf("fill-%d", log.EndOffset()), strings.Repeat(".", 100)))
	}
}

// shown is what is in a log, but for what fill put there.
func shown(t testing.TB, log *commitlog.Log) string {
	t.Helper()
	_, records, err := readAll(log)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, r := range records {
		if !bytes.HasPrefix(r.key, []byte("fill")) {
			text = append(text, fmt.Sprintf("%d:%s=%s", r.offset, r.key, r.value))
		}
	}
	return strings.Join(text, " ")
}

func settings(change ...func(*config.Cleaner)) func() config.Cleaner {
	c := config.Cleaner{
		Enable: true, Threads: 1, DedupeBytes: 1 << 20, DedupeLoadFactor: 0.9, IOBytes: 1 << 19,
		BytesPerSecond: math.MaxFloat64, Backoff: 15 * time.Second,
	}
	for _, f := range change {
		f(&c)
	}
	return func() config.Cleaner { return c }
}

func newCleaner(cfg Config, logger *slog.Logger, logs ...*commitlog.Log) *Cleaner {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Compaction == nil {
		cfg.Compaction = settings()
	}
	return New(cfg, all(logs...), logger)
}

func compactOnce(t testing.TB, c *Cleaner) {
	t.Helper()
	if !c.CompactNext(t.Context()) {
		t.Fatal("nothing was compacted")
	}
}

func TestCompaction(t *testing.T) {
	log := openLog(t, vfs.NewMem(), "t", compacted(nil))
	for _, kv := range []string{"a1", "b1", "a2", "c1", "b2", "a3"} {
		put(t, log, one(t, kv[:1], kv))
	}
	fill(t, log)
	put(t, log, one(t, "a", "a4")) // in the active segment
	end := log.Sealed()[len(log.Sealed())-1].NextOffset
	var told []int64
	c := newCleaner(Config{Cleaned: func(l *commitlog.Log) error { told = append(told, l.CleanedOffset()); return nil }}, nil, log)
	if got := c.LastCleaned(log); !got.IsZero() {
		t.Errorf("cleaned at %v", got)
	}
	compactOnce(t, c)
	if got, want := shown(t, log), fmt.Sprintf("3:c=c1 4:b=b2 5:a=a3 %d:a=a4", log.EndOffset()-1); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if !slices.Equal(told, []int64{end}) || log.CleanedOffset() != end {
		t.Errorf("cleaned up to %v, %d; want %d", told, log.CleanedOffset(), end)
	}
	if c.LastCleaned(log).IsZero() || c.Status().LastRun.IsZero() || c.Status().DirtiestRatio != 1 {
		t.Errorf("status %+v, cleaned at %v", c.Status(), c.LastCleaned(log))
	}
	if c.CompactNext(t.Context()) || c.Status().DirtiestRatio != 0 {
		t.Error("compacted again, with nothing to do")
	}
	// What was superseded meanwhile goes the next time; the clean part is read again.
	fill(t, log)
	compactOnce(t, c)
	if got := shown(t, log); !strings.HasPrefix(got, "3:c=c1 4:b=b2 ") || strings.Contains(got, "a3") || !strings.HasSuffix(got, "a=a4") {
		t.Errorf("%s", got)
	}
}

// Compaction keeps away from the active segment, from what is not stable, and from what
// is too young.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, vfs.NewMem(), "t", compacted(nil))
		limit := func() int64 {
			t.Helper()
			c, err := examine(log, time.Now(), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return c.limit
		}
		if limit() != 0 {
			t.Errorf("an empty log has the limit %d", limit())
		}
		for range 4 {
			fill(t, log)
			time.Sleep(time.Hour)
		}
		sealed := log.Sealed()
		if got := limit(); got != sealed[3].NextOffset {
			t.Errorf("limit %d, the active segment begins at %d", got, sealed[3].NextOffset)
		}
		log.SetConfig(compacted(func(c *config.Topic) { c.MinCompactionLagMS = 2*hour + 1 }))
		if got := limit(); got != sealed[2].BaseOffset {
			t.Errorf("limit %d with a lag, the first young segment begins at %d", got, sealed[2].BaseOffset)
		}
		log.SetConfig(compacted(nil))
		log.SetHighWatermark(sealed[1].BaseOffset + 1)
		if got := limit(); got != sealed[1].BaseOffset {
			t.Errorf("limit %d below the high watermark %d in the segment from %d on", got, log.HighWatermark(), sealed[1].BaseOffset)
		}
		log.AdvanceHighWatermark(log.EndOffset())
		open := record.NewBuilder().SetProducer(5, 0, 0).SetTransactional(true)
		put(t, log, build(t, open, "k", "v"))
		from := log.EndOffset() - 1
		fill(t, log)
		fill(t, log)
		if got := limit(); got > from {
			t.Errorf("limit %d, a transaction is open from %d on", got, from)
		}
	})
}

func TestWhenALogIsCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, vfs.NewMem(), "t", compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio = 0.5 }))
		c := newCleaner(Config{}, nil, log)
		for range 3 {
			fill(t, log)
		}
		compactOnce(t, c)
		fill(t, log)
		if c.CompactNext(t.Context()) {
			t.Errorf("compacted with a ratio of %v", c.Status().DirtiestRatio)
		}
		fill(t, log)
		fill(t, log)
		fill(t, log)
		compactOnce(t, c)

		log.SetConfig(compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio, c.MaxCompactionLagMS = 1, hour }))
		fill(t, log)
		if c.CompactNext(t.Context()) {
			t.Error("compacted before max.compaction.lag.ms")
		}
		time.Sleep(time.Hour + time.Second)
		compactOnce(t, c)

		plain := openLog(t, vfs.NewMem(), "plain", topic(func(c *config.Topic) { c.Delete = true }))
		fill(t, plain)
		fill(t, plain)
		if newCleaner(Config{}, nil, plain).CompactNext(t.Context()) {
			t.Error("compacted a log that is not to be")
		}
	})
}

func TestTheDirtiestLogComesFirst(t *testing.T) {
	logs := map[string]*commitlog.Log{}
	for name, clean := range map[string]int{"some": 3, "more": 2, "most": 1} {
		logs[name] = openLog(t, vfs.NewMem(), name, compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio = 0 }))
		for range clean {
			fill(t, logs[name])
		}
		compactOnce(t, newCleaner(Config{}, nil, logs[name]))
		fill(t, logs[name])
	}
	var order []string
	c := newCleaner(Config{Cleaned: func(l *commitlog.Log) error { order = append(order, l.Partition().Topic); return nil }}, nil, logs["some"], logs["most"], logs["more"])
	for c.CompactNext(t.Context()) {
	}
	if got := strings.Join(order, " "); got != "most more some" {
		t.Errorf("order: %s", got)
	}
}

// A tombstone stays for delete.retention.ms after the first compaction that met it, and
// a checkpoint for an offset that cannot be right begins anew.
func TestTombstones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, vfs.NewMem(), "t", compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio = 0 }))
		c := newCleaner(Config{}, nil, log)
		put(t, log, one(t, "a", "a1"))
		put(t, log, one(t, "a", ""))
		put(t, log, one(t, "b", "b1"))
		fill(t, log)
		met := time.Now().UnixMilli()
		compactOnce(t, c)
		if got := shown(t, log); got != "1:a= 2:b=b1" {
			t.Errorf("after the first compaction: %s", got)
		}
		batches, _, err := readAll(log)
		if err != nil {
			t.Fatal(err)
		}
		if ms, has := batches[0].DeleteHorizon(); !has || ms != met+24*hour || batches[0].BaseOffset() != 1 {
			t.Errorf("horizon %d, %v; want %d", ms, has, met+24*hour)
		}
		if _, has := batches[1].DeleteHorizon(); has {
			t.Error("a batch without tombstones has a horizon")
		}
		time.Sleep(23 * time.Hour)
		fill(t, log)
		compactOnce(t, c)
		if got := shown(t, log); got != "1:a= 2:b=b1" {
			t.Errorf("before the horizon: %s", got)
		}
		time.Sleep(time.Hour)
		fill(t, log)
		compactOnce(t, c)
		if got := shown(t, log); got != "2:b=b1" {
			t.Errorf("after the horizon: %s", got)
		}
	})
}

// Transactions: what was aborted goes at once, markers after their data and a horizon.
func TestTransactionsAreCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, vfs.NewMem(), "t", compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio = 0 }))
		c := newCleaner(Config{}, nil, log)
		sequence := map[int64]int32{}
		send := func(producer int64, key, value string) {
			put(t, log, build(t, record.NewBuilder().SetProducer(producer, 0, sequence[producer]).SetTransactional(true), key, value))
			sequence[producer]++
		}
		end := func(producer int64, commit bool) {
			put(t, log, record.EndTxnMarker(producer, 0, 0, commit, time.Now().UnixMilli()))
		}
		put(t, log, one(t, "a", "a1"))
		send(1, "a", "aborted") // 1
		send(2, "b", "b1")      // 2
		end(1, false)           // 3
		end(2, true)            // 4
		send(1, "c", "c1")      // 5
		send(2, "d", "d1")      // 6
		end(1, true)            // 7
		end(2, true)            // 8
		fill(t, log)
		markers := func() (offsets []int64) {
			t.Helper()
			batches, _, err := readAll(log)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range batches {
				if b.IsControl() {
					offsets = append(offsets, b.BaseOffset())
				}
			}
			return offsets
		}
		aborted := func() int {
			t.Helper()
			txns, err := log.AbortedTransactions(0, log.EndOffset())
			if err != nil {
				t.Fatal(err)
			}
			return len(txns)
		}
		compactOnce(t, c)
		if got := fmt.Sprint(markers()); strings.Contains(shown(t, log), "aborted") || !strings.HasPrefix(shown(t, log), "0:a=a1 2:b=b1") || got != "[3 4 7 8]" || aborted() != 1 {
			t.Errorf("after the first compaction: %s, markers %s, %d aborted", shown(t, log), got, aborted())
		}
		fill(t, log)
		compactOnce(t, c)
		if got := fmt.Sprint(markers()); got != "[3 4 7 8]" || aborted() != 0 {
			t.Errorf("after the second compaction: markers %s, %d aborted", got, aborted())
		}
		time.Sleep(25 * time.Hour)
		fill(t, log)
		compactOnce(t, c)
		if got := fmt.Sprint(markers()); got != "[4 7 8]" {
			t.Errorf("after the horizon: markers %s", got)
		}
		// A marker with data before it stays as long as they do.
		put(t, log, one(t, "b", "b2"))
		fill(t, log)
		compactOnce(t, c) // the data of the marker at 4 go
		fill(t, log)
		compactOnce(t, c) // it gets a horizon
		time.Sleep(25 * time.Hour)
		fill(t, log)
		compactOnce(t, c)
		if got := fmt.Sprint(markers()); got != "[7 8]" {
			t.Errorf("without its data: markers %s", got)
		}
		if log.LastStableOffset() != log.EndOffset() {
			t.Errorf("last stable offset %d of %d", log.LastStableOffset(), log.EndOffset())
		}
	})
}

// Whoever loads a log must not find a transaction open whose marker compaction has
// removed: not even with the snapshot of the producers from before the marker, when those
// behind it could not be written.
func TestNoSnapshotOutlivesAMarker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMem()
		log := openLog(t, fsys, "t", compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio, c.DeleteRetentionMS = 0, 0 }))
		producer := func(sequence int32) *record.Builder { return record.NewBuilder().SetProducer(1, 0, sequence) }
		put(t, log, build(t, producer(0).SetTransactional(true), "a", "a1"))
		fill(t, log) // where the next segment begins there is a snapshot
		before := log.Sealed()[0].NextOffset
		put(t, log, record.EndTxnMarker(1, 0, 0, true, time.Now().UnixMilli()))
		put(t, log, build(t, producer(1), "a", "a2"))
		c := newCleaner(Config{}, nil, log)
		for range 3 { // the record goes, the marker gets its horizon, and goes
			fill(t, log)
			compactOnce(t, c)
			time.Sleep(time.Second)
		}
		if batches, _, err := readAll(log); err != nil || slices.ContainsFunc(batches, record.Batch.IsControl) {
			t.Fatalf("the marker is still there, %v", err)
		}
		disk := fsys.Kill()
		entries, err := disk.ReadDir("/data/t-0")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			var at int64
			if fmt.Sscanf(e.Name(), "%d.snapshot", &at); strings.HasSuffix(e.Name(), ".snapshot") && at > before {
				if err := disk.Remove("/data/t-0/" + e.Name()); err != nil {
					t.Fatal(err)
				}
			}
		}
		again, err := commitlog.Open(commitlog.Options{
			FS: disk, Dir: "/data/t-0", Partition: log.Partition(), Config: log.Config(), Files: commitlog.NewFileCache(20),
			ProducerIDExpiration: time.Hour, RecoveryPoint: log.RecoveryPoint(), HighWatermark: log.EndOffset(), CleanedOffset: log.CleanedOffset(),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Abandon()
		if again.EndOffset() != log.EndOffset() || again.LastStableOffset() != again.EndOffset() {
			t.Errorf("the last stable offset is %d, the log ends at %d", again.LastStableOffset(), again.EndOffset())
		}
	})
}

// Memory for one key is enough, in as many passes as it takes.
func TestManyPasses(t *testing.T) {
	log := openLog(t, vfs.NewMem(), "t", compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio = 0 }))
	b := record.NewBuilder()
	for i := range 12 { // one batch has more keys than fit
		b.Append(1, fmt.Appendf(nil, "k%d", i%6), fmt.Appendf(nil, "%d", i))
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	put(t, log, batch)
	fill(t, log)
	c := newCleaner(Config{Compaction: settings(func(c *config.Cleaner) { c.DedupeBytes = slotBytes })}, nil, log)
	passes := 0
	for c.CompactNext(t.Context()) {
		if passes++; passes > 100 {
			t.Fatal("no end")
		}
	}
	if got := shown(t, log); got != "6:k0=6 7:k1=7 8:k2=8 9:k3=9 10:k4=10 11:k5=11" || passes < 6 {
		t.Errorf("after %d passes: %s", passes, got)
	}
	if at := log.Sealed(); log.CleanedOffset() != at[len(at)-1].NextOffset {
		t.Errorf("cleaned up to %d", log.CleanedOffset())
	}
}

// A batch larger than the buffer is read all the same.
func TestBatchesLargerThanTheBuffer(t *testing.T) {
	log := openLog(t, vfs.NewMem(), "t", compacted(func(c *config.Topic) { c.SegmentBytes = 1 << 20 }))
	for range 3 {
		put(t, log, one(t, "large", strings.Repeat("x", 300_000)))
	}
	fill(t, log)
	compactOnce(t, newCleaner(Config{Compaction: settings(func(c *config.Cleaner) { c.IOBytes = 0 })}, nil, log))
	if got := shown(t, log); strings.Count(got, "large") != 1 || !strings.HasPrefix(got, "2:large") {
		t.Errorf("%.100s", got)
	}
}

func TestASegmentThatLosesNothingIsLeftAlone(t *testing.T) {
	fsys := vfs.NewMem()
	log := openLog(t, fsys, "t", compacted(func(c *config.Topic) { c.MinCleanableDirtyRatio = 0 }))
	for range 3 {
		fill(t, log)
	}
	faults := func() string { return files(t, fsys, "/data/t-0") }
	before := faults()
	c := newCleaner(Config{}, nil, log)
	compactOnce(t, c)
	if after := faults(); after != before {
		t.Errorf("files%s\nwere%s", after, before)
	}
}

// One log that cannot be compacted is reported once, left alone, and keeps nobody
// waiting.
func TestUncleanable(t *testing.T) {
	fsys := vfs.NewMem()
	var logs []*commitlog.Log
	for i := range 3 {
		log := openLog(t, fsys, fmt.Sprintf("t%d", i), compacted(nil))
		put(t, log, one(t, "a", "a1"))
		put(t, log, one(t, "a", "a2"))
		fill(t, log)
		logs = append(logs, log)
	}
	f, err := fsys.OpenFile("/data/t1-0/00000000000000000000.log", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), record.HeaderSize+8); err != nil { // in the first value
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := newCleaner(Config{}, slog.New(slog.NewTextHandler(&out, nil)), logs...)
	compactions := 0
	for range 5 {
		if c.CompactNext(t.Context()) {
			compactions++
		}
	}
	if compactions != 2 || logs[0].CleanedOffset() <= 0 || logs[2].CleanedOffset() <= 0 || logs[1].CleanedOffset() != -1 {
		t.Errorf("%d compactions, up to %d, %d, %d", compactions, logs[0].CleanedOffset(), logs[1].CleanedOffset(), logs[2].CleanedOffset())
	}
	status := c.Status()
	if len(status.Uncleanable) != 1 || status.Uncleanable[0].Partition.Topic != "t1" || !strings.Contains(status.Uncleanable[0].Err.Error(), "stored checksum") || status.Uncleanable[0].Since.IsZero() {
		t.Errorf("status %+v", status)
	}
	if text := out.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "partition=t1-0") {
		t.Errorf("logged %s", text)
	}
	if got := files(t, fsys, "/data/t1-0"); strings.Contains(got, ".cleaned") {
		t.Errorf("files%s", got)
	}
	// It is forgotten with its log.
	c.logs = all(logs[0])
	c.CompactNext(t.Context())
	if n := len(c.Status().Uncleanable); n != 0 {
		t.Errorf("%d logs that are gone are uncleanable", n)
	}
}

// What has nothing to do with the log passes.
func TestAFullDiskPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMem()
		log := openLog(t, fsys, "t", compacted(nil))
		put(t, log, one(t, "a", "a1"))
		put(t, log, one(t, "a", "a2"))
		fill(t, log)
		c := newCleaner(Config{}, nil, log)
		fsys.SetCapacity(fsys.Used())
		if c.CompactNext(t.Context()) || c.CompactNext(t.Context()) {
			t.Error("compacted on a full disk")
		}
		fsys.SetCapacity(1 << 30)
		if c.CompactNext(t.Context()) {
			t.Error("tried again at once")
		}
		time.Sleep(15 * time.Second)
		compactOnce(t, c)
		if len(c.Status().Uncleanable) != 0 || !strings.HasPrefix(shown(t, log), "1:a=a2") {
			t.Errorf("%+v, %s", c.Status(), shown(t, log))
		}
	})
}

// A log whose start has passed its cleaned offset, or that ends before it, is compacted
// from its start.
func TestFirstDirty(t *testing.T) {
	log := openLog(t, vfs.NewMem(), "t", compacted(nil))
	fill(t, log)
	fill(t, log)
	first := func(cleaned int64) int64 {
		log.ResetCleanedOffset(cleaned)
		c, err := examine(log, time.Now(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return c.firstDirty
	}
	if err := log.AdvanceStartOffset(3); err != nil {
		t.Fatal(err)
	}
	for cleaned, want := range map[int64]int64{-1: 3, 0: 3, 2: 3, 3: 3, 5: 5, log.EndOffset(): log.EndOffset(), log.EndOffset() + 1: 3} {
		if got := first(cleaned); got != want || cleaned >= 0 && log.CleanedOffset() != want {
			t.Errorf("cleaned up to %d: dirty from %d on, cleaned then up to %d; want %d", cleaned, got, log.CleanedOffset(), want)
		}
	}
}

func TestThreadsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var threads atomic.Int64
		threads.Store(3)
		c := newCleaner(Config{Compaction: func() config.Cleaner {
			return settings(func(c *config.Cleaner) { c.Threads = int(threads.Load()) })()
		}}, nil)
		running := func() int {
			c.compactor.mu.Lock()
			defer c.compactor.mu.Unlock()
			return c.compactor.threads
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if running() != 2 {
			t.Errorf("%d threads beside the first", running())
		}
		threads.Store(1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if running() != 0 {
			t.Errorf("%d threads beside the only one", running())
		}
		if err := c.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNothingIsCompactedUnlessEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, vfs.NewMem(), "t", compacted(nil))
		fill(t, log)
		fill(t, log)
		c := newCleaner(Config{Compaction: settings(func(c *config.Cleaner) { c.Enable = false })}, nil, log)
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := c.Stop(context.Background()); err != nil || log.CleanedOffset() != -1 {
			t.Errorf("cleaned up to %d, %v", log.CleanedOffset(), err)
		}
	})
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		begun := time.Now()
		for range 100 {
			th.spend(t.Context(), 1000, 10_000)
		}
		if took := time.Since(begun); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("100,000 bytes at 10,000 a second took %v", took)
		}
		begun = time.Now()
		th.spend(t.Context(), 1<<30, math.MaxFloat64)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		th.spend(ctx, 1<<30, 1)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("waited %v", took)
		}
	})
}

func TestStopEndsACompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, vfs.NewMem(), "t", compacted(nil))
		put(t, log, one(t, "a", "a1"))
		put(t, log, one(t, "a", "a2"))
		fill(t, log)
		slow := settings(func(c *config.Cleaner) { c.BytesPerSecond, c.IOBytes = 1, 0 })
		begun := time.Now()
		c := newCleaner(Config{Compaction: slow}, nil, log)
		for range 100 {
			put(t, log, one(t, "a", strings.Repeat("x", 100)))
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := c.Stop(context.Background()); err != nil || time.Since(begun) > 2*time.Second {
			t.Errorf("stopped after %v, %v", time.Since(begun), err)
		}
		if len(c.Status().Uncleanable) != 0 || log.CleanedOffset() != -1 {
			t.Errorf("%+v, cleaned up to %d", c.Status(), log.CleanedOffset())
		}
	})
}

// Who takes "compact" from a topic's policy loses nothing more.
func TestAChangeOfPolicyEndsACompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, vfs.NewMem(), "t", compacted(nil))
		for range 100 {
			put(t, log, one(t, "a", strings.Repeat("x", 100)))
		}
		want := shown(t, log)
		c := newCleaner(Config{Compaction: settings(func(c *config.Cleaner) { c.BytesPerSecond, c.IOBytes = 1000, 0 })}, nil, log)
		go func() {
			time.Sleep(time.Second)
			log.SetConfig(topic(func(c *config.Topic) { c.Delete = true }))
		}()
		if c.CompactNext(t.Context()) || shown(t, log) != want || log.CleanedOffset() != -1 {
			t.Errorf("compacted up to %d", log.CleanedOffset())
		}
		log.SetConfig(compacted(nil))
		time.Sleep(15 * time.Second) // log.cleaner.backoff.ms
		compactOnce(t, c)
		if n := len(c.Status().Uncleanable); n != 0 {
			t.Errorf("%d logs are uncleanable", n)
		}
	})
}

// Status waits for no disk.
func TestNoLockIsHeldWhileALogIsRead(t *testing.T) {
	fsys := vfs.NewFaults(vfs.NewMem())
	log := openLog(t, fsys, "t", compacted(func(c *config.Topic) { c.MaxCompactionLagMS = hour }))
	put(t, log, one(t, "a", "a1"))
	put(t, log, one(t, "a", "a2"))
	fill(t, log)
	c := newCleaner(Config{}, nil, log)
	reads := 0
	fsys.Inject(func(op vfs.Call) error {
		if op.Op == vfs.OpRead {
			reads++
		}
		if !c.compactor.mu.TryLock() {
			t.Errorf("the lock is held during %s of %s", op.Op, op.Name)
			return nil
		}
		c.compactor.mu.Unlock()
		return nil
	})
	compactOnce(t, c)
	fsys.Inject(nil)
	if reads == 0 {
		t.Error("nothing was read")
	}
}

// Groups keep within segment.bytes, the size of an index, and the reach of an offset.
func TestGroups(t *testing.T) {
	log := openLog(t, vfs.NewMem(), "t", compacted(nil))
	for range 6 {
		fill(t, log)
	}
	sealed := log.Sealed()[:6]
	size := sealed[0].Size
	sizes := func(end int64, cfg *config.Topic, change func(s []commitlog.Sealed)) (n []int) {
		t.Helper()
		s := slices.Clone(sealed)
		if change != nil {
			change(s)
		}
		groups, err := group(s, end, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			n = append(n, len(g))
		}
		return n
	}
	end := sealed[5].NextOffset
	limit := func(segment, index int32) *config.Topic {
		return compacted(func(c *config.Topic) { c.SegmentBytes, c.SegmentIndexBytes = segment, index })
	}
	for _, c := range []struct {
		what   string
		end    int64
		cfg    *config.Topic
		change func([]commitlog.Sealed)
		want   []int
	}{
		{"all in one", end, limit(1<<20, 1<<20), nil, []int{6}},
		{"below the end", sealed[2].BaseOffset + 1, limit(1<<20, 1<<20), nil, []int{3}},
		{"by size", end, limit(int32(2*size+size/2), 1<<20), nil, []int{2, 2, 2}},
		{"by index", end, limit(1<<20, 0), nil, []int{1, 1, 1, 1, 1, 1}},
		{"by offset", end, limit(1<<20, 1<<20), func(s []commitlog.Sealed) { s[3].NextOffset = s[0].BaseOffset + math.MaxInt32 + 2 }, []int{3, 3}},
		{"an empty segment", end, limit(1<<20, 1<<20), func(s []commitlog.Sealed) {
			s[3].NextOffset, s[3].Size = s[0].BaseOffset+math.MaxInt32+2, 0
		}, []int{6}},
	} {
		if got := sizes(c.end, c.cfg, c.change); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v instead of %v", c.what, got, c.want)
		}
	}
}

var errTest = errors.New("for a test")

func TestACheckpointThatFails(t *testing.T) {
	log := openLog(t, vfs.NewMem(), "t", compacted(nil))
	fill(t, log)
	fill(t, log)
	c := newCleaner(Config{Begin: func(*commitlog.Log) error { return errTest }}, nil, log)
	before := len(log.Sealed())
	if c.CompactNext(t.Context()) || len(log.Sealed()) != before {
		t.Error("compacted before the recovery point was written down")
	}
}
