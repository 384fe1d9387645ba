package storage

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

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
	if err := s.removeDeleted(s.dirs[0], now.Add(defaultDeleteDelay/2), defaultDeleteDelay); err != nil || len(deleteDirs(t, mem, "/a")) != 1 {
		t.Errorf("removed too early, %v", err)
	}
	stop(t, s)

	// The wait begins anew with the next start.
	s = loaded(t, mem, "/a")
	defer stop(t, s)
	if _, ok := s.Log(name); !ok {
		t.Error("the new one is gone")
	}
	if err := s.removeDeleted(s.dirs[0], time.Now().Add(2*defaultDeleteDelay), defaultDeleteDelay); err != nil || len(deleteDirs(t, mem, "/a")) != 0 {
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
