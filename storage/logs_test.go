package storage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// smallTopic rolls a segment every few batches.
func smallTopic() *config.Topic {
	return &config.Topic{
		SegmentBytes:       400,
		SegmentMS:          math.MaxInt64,
		SegmentIndexBytes:  1200,
		IndexIntervalBytes: 100,
		FlushMessages:      math.MaxInt64,
		FlushMS:            math.MaxInt64,
		RetentionMS:        -1,
		RetentionBytes:     -1,
		Delete:             true,
		MaxMessageBytes:    1 << 20,
		CompressionType:    "producer",
	}
}

// loaded opens, identifies and loads a Store; the test stops it.
func loaded(t *testing.T, fsys vfs.FS, dirs ...string) *Store {
	t.Helper()
	s := mustOpen(t, fsys, dirs...)
	if err := s.Identify(1, "c"); err != nil {
		t.Fatal(err)
	}
	if err := load(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func load(s *Store) error {
	return s.Load(context.Background(), func(string) *config.Topic { return smallTopic() })
}

func mustCreate(t *testing.T, s *Store, name protocol.TopicPartition) *commitlog.Log {
	t.Helper()
	log, err := s.Create(name, protocol.TopicID{1, 2, 3}, smallTopic(), true)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// fill appends n batches of two records.
func fill(t *testing.T, log *commitlog.Log, n int) {
	t.Helper()
	for range n {
		if err := appendOne(log); err != nil {
			t.Fatal(err)
		}
	}
}

func appendOne(log *commitlog.Log) error {
	b := record.NewBuilder()
	now := time.Now().UnixMilli()
	b.Append(now, nil, []byte("a value that takes some room"))
	b.Append(now, []byte("key"), nil)
	batch, err := b.Build()
	if err != nil {
		return err
	}
	_, err = log.AppendAsLeader(batch, 0, record.Client)
	return err
}

// checkpoint reads a checkpoint file.
func checkpoint(t *testing.T, fsys vfs.FS, dir string, kind checkpointKind) map[protocol.TopicPartition]int64 {
	t.Helper()
	name := filepath.Join(dir, checkpointFiles[kind])
	if !exists(t, fsys, name) {
		return nil
	}
	offsets, err := parseCheckpoint([]byte(get(t, fsys, name)))
	if err != nil {
		t.Fatal(err)
	}
	return offsets
}

func TestStopAndLoad(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a", "/b")
	for i := range int32(5) {
		log := mustCreate(t, s, tp("t", i))
		fill(t, log, 3*int(i))
		log.AdvanceHighWatermark(log.EndOffset() / 2)
	}
	log, _ := s.Log(tp("t", 4))
	if err := log.AdvanceStartOffset(5); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
	for _, dir := range []string{"/a", "/b"} {
		if got := get(t, mem, dir+"/"+cleanShutdownFile); got != `{"version":0,"brokerEpoch":-1}` {
			t.Errorf("marker %q", got)
		}
	}
	want := map[protocol.TopicPartition]int64{}
	for i := range int32(5) {
		want[tp("t", i)] = 6 * int64(i)
	}
	all := map[protocol.TopicPartition]int64{}
	maps.Copy(all, checkpoint(t, mem, "/a", recoveryPoints))
	maps.Copy(all, checkpoint(t, mem, "/b", recoveryPoints))
	if !maps.Equal(all, want) {
		t.Errorf("recovery points %v, want %v", all, want)
	}

	s = loaded(t, mem, "/a", "/b")
	defer stop(t, s)
	for i := range int32(5) {
		log, ok := s.Log(tp("t", i))
		if !ok || log.EndOffset() != 6*int64(i) || log.HighWatermark() != max(3*int64(i), log.StartOffset()) {
			t.Errorf("t-%d: %v, ends at %d, high watermark %d", i, ok, log.EndOffset(), log.HighWatermark())
		}
	}
	if log, _ := s.Log(tp("t", 4)); log.StartOffset() != 5 || log.HighWatermark() != 12 {
		t.Errorf("starts at %d, high watermark %d", log.StartOffset(), log.HighWatermark())
	}
	for _, dir := range []string{"/a", "/b"} {
		if exists(t, mem, dir+"/"+cleanShutdownFile) {
			t.Errorf("%s: the marker outlived the start", dir)
		}
	}
}

func TestCreateBalancesDirectories(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a", "/b", "/c")
	defer stop(t, s)
	for i := range int32(7) {
		mustCreate(t, s, tp("t", i))
	}
	count := map[string]int{}
	for _, d := range s.Dirs() {
		count[d.Path] = len(d.Partitions)
	}
	if !maps.Equal(count, map[string]int{"/a": 3, "/b": 2, "/c": 2}) {
		t.Errorf("got %v", count)
	}
	if err := s.Delete(tp("t", 2), tp("t", 5)); err != nil { // both in /c
		t.Fatal(err)
	}
	if log := mustCreate(t, s, tp("u", 0)); filepath.Dir(log.Dir()) != "/c" {
		t.Errorf("the next one went to %s", log.Dir())
	}
}

func TestCreateIsIdempotentAndGuardsTheID(t *testing.T) {
	s := loaded(t, vfs.NewMem(), "/a")
	defer stop(t, s)
	name, id := tp("t", 0), protocol.TopicID{9}
	first, err := s.Create(name, protocol.TopicID{}, smallTopic(), true)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Create(name, id, smallTopic(), false)
	if err != nil || again != first || first.TopicID() != id {
		t.Errorf("got another log or id %v, %v", first.TopicID(), err)
	}
	if _, err := s.Create(name, protocol.TopicID{8}, smallTopic(), false); !errors.Is(err, kerr.InconsistentTopicID) {
		t.Errorf("another topic id: %v", err)
	}
	if _, err := s.Create(tp(strings.Repeat("x", 249), 123456), id, smallTopic(), true); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("a name too long: %v", err)
	}
}

func TestDeleteMovesAside(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	name := tp("t", 0)
	log := mustCreate(t, s, name)
	fill(t, log, 5)
	log.AdvanceHighWatermark(10)
	for kind := range checkpointKinds {
		if err := s.dirs[0].checkpoints.update(kind); err != nil {
			t.Fatal(err)
		}
	}
	r, err := log.Read(0, 1<<20, 10, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(name); err != nil {
		t.Fatal(err)
	}
	if data, err := r.AppendTo(nil); err != nil || len(data) == 0 {
		t.Errorf("a fetch that had begun got %d bytes, %v", len(data), err)
	}
	r.Release()
	if _, ok := s.Log(name); ok {
		t.Error("still there")
	}
	if err := appendOne(log); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("append to a deleted log: %v", err)
	}
	if err := s.Delete(name); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
	aside := deleteDirs(t, mem, "/a")
	if len(aside) != 1 || exists(t, mem, "/a/t-0") {
		t.Fatalf("aside: %v", aside)
	}
	// The new one must not inherit the old one's lines.
	again := mustCreate(t, s, name)
	if again.EndOffset() != 0 {
		t.Errorf("the new one ends at %d", again.EndOffset())
	}
	for kind := range checkpointKinds {
		if claim, found := checkpoint(t, mem, "/a", kind)[name]; found && claim != 0 {
			t.Errorf("%s still says %d", checkpointFiles[kind], claim)
		}
	}
	now := time.Now()
	if err := s.removeDeleted(s.dirs[0], now.Add(defaultDeleteDelay/2)); err != nil || len(deleteDirs(t, mem, "/a")) != 1 {
		t.Errorf("removed too early, %v", err)
	}
	stop(t, s)

	// The wait begins anew with the next start.
	s = loaded(t, mem, "/a")
	defer stop(t, s)
	if _, ok := s.Log(name); !ok {
		t.Error("the new one is gone")
	}
	if err := s.removeDeleted(s.dirs[0], time.Now().Add(2*defaultDeleteDelay)); err != nil || len(deleteDirs(t, mem, "/a")) != 0 {
		t.Errorf("not removed, %v", err)
	}
}

func deleteDirs(t *testing.T, fsys vfs.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), deleteSuffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		dirs []string
		says string
	}{
		"unknown directory":    {[]string{"/a/lost+found"}, "lost+found"},
		"embedded db as a dir": {[]string{"/a/zookeeper"}, "zookeeper"},
		"two live":             {[]string{"/a/t-0", "/b/t-0"}, "t-0 is in both /a/t-0 and /b/t-0"},
		"two futures":          {[]string{"/a/t-0.x-future", "/b/t-0.y-future"}, "both"},
		"a bad suffix":         {[]string{"/a/t-0-delete"}, "t-0-delete"},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			for _, dir := range c.dirs {
				put(t, mem, dir+"/00000000000000000000.log", "records")
			}
			put(t, mem, "/a/"+cleanShutdownFile, "")
			s := mustOpen(t, mem, "/a", "/b")
			err := load(s)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			stop(t, s)
			if !exists(t, mem, "/a/"+cleanShutdownFile) {
				t.Error("the marker is gone although nothing was opened")
			}
		})
	}
}

// What is left of a creation that a failing disk has cut short gives way to the
// partition that was then created elsewhere.
func TestLoadRemovesUnbornTwin(t *testing.T) {
	for _, dirs := range [][]string{{"/a", "/b"}, {"/b", "/a"}} {
		mem := vfs.NewMem()
		s := loaded(t, mem, "/b")
		fill(t, mustCreate(t, s, tp("t", 0)), 2)
		stop(t, s)
		put(t, mem, "/a/t-0/00000000000000000000.log", strings.Repeat("\x00", 100)) // preallocated
		put(t, mem, "/a/t-0/leader-epoch-checkpoint", "0\n0\n")
		s = loaded(t, mem, dirs...)
		if log, ok := s.Log(tp("t", 0)); !ok || log.Dir() != "/b/t-0" || log.EndOffset() != 4 {
			t.Errorf("%v: there %v", dirs, ok)
		}
		stop(t, s)
		if got := deleteDirs(t, mem, "/a"); len(got) != 1 || exists(t, mem, "/a/t-0") {
			t.Errorf("%v: in /a there is %v", dirs, got)
		}
	}
}

// A twin without records that has served is no leftover: which one counts is
// not for the broker to guess.
func TestLoadRefusesTwinThatHasServed(t *testing.T) {
	mem := vfs.NewMem()
	for _, dir := range []string{"/a", "/b"} {
		put(t, mem, dir+"/t-0/00000000000000000000.log", "")
		put(t, mem, dir+"/t-0/partition.metadata", "version: 0\ntopic_id: 29XTU895SFuQWf5mmUxilg")
	}
	s := mustOpen(t, mem, "/a", "/b")
	defer stop(t, s)
	if err := load(s); err == nil || !strings.Contains(err.Error(), "both") {
		t.Errorf("got %v", err)
	}
}

func TestLoadPassesOver(t *testing.T) {
	mem := vfs.NewMem()
	for _, dir := range []string{
		"/a/remote-log-index-cache", "/a/__cluster_metadata-0", "/a/t-0.x-stray", "/a/t-1.x-delete",
	} {
		put(t, mem, dir+"/00000000000000000000.log", "not a log")
	}
	put(t, mem, "/a/gracchus-zookeeper.db", "a plain file")
	s := loaded(t, mem, "/a")
	for name := range s.Logs() {
		t.Errorf("opened %v", name)
	}
	if n := s.dirs[0].removals.count(); n != 1 {
		t.Errorf("%d wait to be removed", n)
	}
	stop(t, s)
	if got := get(t, mem, "/a/t-0.x-stray/00000000000000000000.log"); got != "not a log" {
		t.Errorf("touched: %q", got)
	}
}

func TestFutureLogIsKeptWithItsLines(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a", "/b")
	fill(t, mustCreate(t, s, tp("t", 0)), 3)
	fill(t, mustCreate(t, s, tp("t", 1)), 3)
	stop(t, s)
	// t-1 in /b becomes the target of a move of t-0.
	if err := mem.Rename("/b/t-1", "/b/t-0.0123-future"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []checkpointKind{recoveryPoints, highWatermarks} {
		put(t, mem, "/b/"+checkpointFiles[kind], "0\n1\nt 0 4\n")
	}
	s = loaded(t, mem, "/a", "/b")
	if log, ok := s.Log(tp("t", 0)); !ok || log.Dir() != "/a/t-0" {
		t.Error("the future log is served")
	}
	var future []PartitionInfo
	for _, d := range s.Dirs() {
		for _, p := range d.Partitions {
			if p.Future {
				future = append(future, p)
			}
		}
	}
	if len(future) != 1 || future[0].Partition != tp("t", 0) || future[0].EndOffset != 6 {
		t.Errorf("described as %+v", future)
	}
	stop(t, s)
	if got := checkpoint(t, mem, "/b", highWatermarks); !maps.Equal(got, map[protocol.TopicPartition]int64{tp("t", 0): 4}) {
		t.Errorf("high watermarks %v", got)
	}
	if got := checkpoint(t, mem, "/b", recoveryPoints); !maps.Equal(got, map[protocol.TopicPartition]int64{tp("t", 0): 6}) {
		t.Errorf("recovery points %v", got)
	}
}

// The cleaner's lines stay as they were found, except those of partitions that
// are gone.
func TestCleanerCheckpointIsPreserved(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	for i := range int32(3) {
		mustCreate(t, s, tp("t", i))
	}
	stop(t, s)
	before := "0\n2\nt 1 17\nt 0 5\n"
	put(t, mem, "/a/"+cleanerFile, before)
	s = loaded(t, mem, "/a")
	stop(t, s)
	if got := get(t, mem, "/a/"+cleanerFile); got != before {
		t.Errorf("rewritten without need: %q", got)
	}
	s = loaded(t, mem, "/a")
	if err := s.Delete(tp("t", 0)); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if got := get(t, mem, "/a/"+cleanerFile); got != "0\n1\nt 1 17\n" {
		t.Errorf("after the deletion of t-0: %q", got)
	}
}

// A start offset that a power loss could leave above the log's end would have
// everything dropped by whoever opens the log next.
func TestStartOffsetWaitsForItsRecords(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	defer stop(t, s)
	log := mustCreate(t, s, tp("t", 0))
	fill(t, log, 5)
	log.AdvanceHighWatermark(10)
	if err := log.AdvanceStartOffset(3); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{0, 1} {
		if err := s.dirs[0].checkpoints.update(logStarts); err != nil {
			t.Fatal(err)
		}
		if got := checkpoint(t, mem, "/a", logStarts); len(got) != want {
			t.Errorf("synced up to %d: lines %v", log.SyncedOffset(), got)
		}
		if err := log.Sync(log.EndOffset()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckpointIsWrittenOnceForAChange(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewMem())
	s := loaded(t, faults, "/a")
	defer stop(t, s)
	for i := range int32(3) {
		fill(t, mustCreate(t, s, tp("t", i)), 1)
	}
	update := func() (operations int64) {
		before := faults.Calls()
		if err := s.dirs[0].checkpoints.update(recoveryPoints); err != nil {
			t.Fatal(err)
		}
		return faults.Calls() - before
	}
	if update() == 0 || update() != 0 {
		t.Error("after creations: want one write")
	}
	if err := s.Delete(tp("t", 1)); err != nil {
		t.Fatal(err)
	}
	if update() == 0 || update() != 0 {
		t.Error("after a deletion: want one write")
	}
}

// Without time to close the logs there is no marker, and the next start recovers.
func TestStopWithoutTime(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	fill(t, mustCreate(t, s, tp("t", 0)), 5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if exists(t, mem, "/a/"+cleanShutdownFile) {
		t.Error("there is a marker")
	}
	s = loaded(t, mem, "/a")
	defer stop(t, s)
	if log, ok := s.Log(tp("t", 0)); !ok || log.EndOffset() != 10 {
		t.Errorf("there %v", ok)
	}
}

func TestMalformedCheckpointTakesTheDirectoryOffline(t *testing.T) {
	for kind := range checkpointKinds {
		mem := vfs.NewMem()
		put(t, mem, "/a/"+checkpointFiles[kind], "1\n0\n")
		s := mustOpen(t, mem, "/a", "/b")
		if err := load(s); err != nil {
			t.Fatal(err)
		}
		infos := s.Dirs()
		if !errors.Is(infos[0].Err, kerr.KafkaStorageError) || infos[1].Err != nil {
			t.Errorf("%s: %v, %v", checkpointFiles[kind], infos[0].Err, infos[1].Err)
		}
		if !errors.Is(s.dirs[0].cause(), errCheckpoint) {
			t.Errorf("cause %v", s.dirs[0].cause())
		}
		stop(t, s)
		if exists(t, mem, "/a/"+cleanShutdownFile) {
			t.Error("a marker in a directory that failed")
		}
	}
}

// A load that is cut short leaves what it has not opened as it was.
func TestLoadThatIsCutShort(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	for i := range int32(4) {
		fill(t, mustCreate(t, s, tp("t", i)), 2)
	}
	stop(t, s)
	before := get(t, mem, "/a/"+recoveryPointFile)
	s = mustOpen(t, mem, "/a")
	s.cfg.LoadWorkers = 1
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := s.Load(ctx, func(string) *config.Topic {
		cancel()
		n++
		return smallTopic()
	})
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Fatalf("got %v after %d topics", err, n)
	}
	stop(t, s)
	if got := get(t, mem, "/a/"+recoveryPointFile); got != before {
		t.Errorf("recovery points became %q", got)
	}
	if !exists(t, mem, "/a/"+cleanShutdownFile) {
		t.Error("the marker is gone although the directory was left cleanly before and after")
	}
}

func TestLoadsLargestFirst(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	for i, n := range []int{1, 9, 4, 0} {
		fill(t, mustCreate(t, s, tp("t", int32(i))), n)
	}
	s = mustOpen(t, mem.Kill(), "/a")
	defer stop(t, s)
	all, err := s.scan()
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.dirs[0].begin()
	if err != nil {
		t.Fatal(err)
	}
	var order []int32
	for _, f := range s.sortOut(all, map[*directory]*lines{s.dirs[0]: l}) {
		order = append(order, f.tp.Partition)
	}
	if !slices.Equal(order, []int32{1, 2, 0, 3}) {
		t.Errorf("order %v", order)
	}
}

func TestLoadLogsWhatItDid(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	mustCreate(t, s, tp("t", 0))
	stop(t, s)
	var out bytes.Buffer
	s, err := Open(Config{Storage: config.Storage{Dirs: []string{"/a"}}}, mem, commitlog.NewFileCache(10), slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if err := load(s); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "loaded logs") || !strings.Contains(text, "count=1") || strings.Count(text, "\n") != 1 {
		t.Errorf("logged %s", text)
	}
}

func TestDirsDescribesSizes(t *testing.T) {
	mem := vfs.NewMem()
	mem.SetSpace(17, 42)
	s := loaded(t, mem, "/a")
	defer stop(t, s)
	log := mustCreate(t, s, tp("t", 1))
	mustCreate(t, s, tp("t", 0))
	fill(t, log, 4)
	got := s.Dirs()
	want := []DirInfo{{Path: "/a", Usable: 17, Total: 42, Partitions: []PartitionInfo{
		{Partition: tp("t", 0)}, {Partition: tp("t", 1), Size: log.Size(), EndOffset: 8},
	}}}
	if !reflect.DeepEqual(got, want) || log.Size() == 0 {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestSetTopicConfig(t *testing.T) {
	s := loaded(t, vfs.NewMem(), "/a")
	defer stop(t, s)
	a, b, other := mustCreate(t, s, tp("t", 0)), mustCreate(t, s, tp("t", 1)), mustCreate(t, s, tp("u", 0))
	cfg := smallTopic()
	s.SetTopicConfig("t", cfg)
	s.SetTopicConfig("none", cfg)
	if a.Config() != cfg || b.Config() != cfg || other.Config() == cfg {
		t.Error("the configuration went elsewhere")
	}
}

// A change that comes while logs are loaded is not lost on those that are opened
// after it with what was read before it.
func TestSetTopicConfigWhileLoading(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	mustCreate(t, s, tp("t", 0))
	stop(t, s)
	s = mustOpen(t, mem, "/a")
	defer stop(t, s)
	newer := smallTopic()
	if err := s.Load(t.Context(), func(topic string) *config.Topic {
		s.SetTopicConfig(topic, newer)
		return smallTopic()
	}); err != nil {
		t.Fatal(err)
	}
	if log, _ := s.Log(tp("t", 0)); log.Config() != newer {
		t.Error("the change is lost")
	}
}

// Many partitions share few file descriptors.
func TestFewDescriptorsForManyPartitions(t *testing.T) {
	mem := vfs.NewMem()
	s, err := Open(Config{Storage: config.Storage{Dirs: []string{"/a"}}}, mem, commitlog.NewFileCache(20), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	if err := load(s); err != nil {
		t.Fatal(err)
	}
	for i := range int32(300) {
		fill(t, mustCreate(t, s, tp("t", i)), 1)
	}
	for _, log := range s.Logs() {
		if _, err := readAll(log); err != nil {
			t.Fatal(err)
		}
	}
	if n := mem.OpenFiles(); n > 21 { // and the lock
		t.Errorf("%d files are open", n)
	}
}

// Once over the real file system: what a Store leaves on it, another one finds.
func TestRealFiles(t *testing.T) {
	dirs := []string{filepath.Join(t.TempDir(), "x", "a"), filepath.Join(t.TempDir(), "b")}
	s := started(t, kafkaIntervals(dirs...), vfs.OS())
	for i := range int32(4) {
		fill(t, mustCreate(t, s, tp("t", i)), 10)
	}
	log, _ := s.Log(tp("t", 3))
	if err := log.Sync(log.EndOffset()); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(tp("t", 0)); err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Dirs() {
		if d.Err != nil || d.Usable <= 0 || d.Total < d.Usable {
			t.Errorf("%+v", d)
		}
	}
	stop(t, s)
	s = started(t, kafkaIntervals(dirs...), vfs.OS())
	defer stop(t, s)
	for i := range int32(4) {
		log, ok := s.Log(tp("t", i))
		if ok == (i == 0) || ok && log.EndOffset() != 20 {
			t.Errorf("t-%d: there %v", i, ok)
		}
	}
}
