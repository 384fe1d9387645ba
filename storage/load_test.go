package storage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

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
