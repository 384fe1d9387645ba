package storage

import (
	"context"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"testing"
	"time"

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

// Committed records that a crash has taken are remembered as missing until a leader
// has been followed, over however many crashes.
func TestLostRecordsAreRemembered(t *testing.T) {
	mem := vfs.NewMem()
	put(t, mem, "/a/t-0/00000000000000000000.log", "")
	put(t, mem, "/a/"+highWatermarkFile, "0\n1\nt 0 8\n")
	for range 2 {
		s := loaded(t, mem, "/a")
		log, ok := s.Log(tp("t", 0))
		if !ok || log.LostBelow() != 8 || log.HighWatermark() != 0 {
			t.Fatalf("%v, lost below %d, high watermark %d", ok, log.LostBelow(), log.HighWatermark())
		}
		stop(t, s)
	}
}
