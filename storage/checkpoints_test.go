package storage

import (
	"path/filepath"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

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

// The cleaner's lines stay as they were found, except those of partitions that are gone,
// or that end before what they say.
func TestCleanerCheckpointIsPreserved(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	for i := range int32(3) {
		fill(t, mustCreate(t, s, tp("t", i)), 10)
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
	put(t, mem, "/a/"+cleanerFile, "0\n2\nt 1 17\nt 2 21\n")
	stop(t, loaded(t, mem, "/a"))
	if got := get(t, mem, "/a/"+cleanerFile); got != "0\n1\nt 1 17\n" {
		t.Errorf("t-2 ends at 20, and counts as compacted above that: %q", got)
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

// A start offset that was lowered must be lowered in its checkpoint, too, before
// anything is appended: a log that ends below its start offset is emptied by
// whoever opens it next.
func TestTruncationBelowTheStartOutlivesAKill(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	defer stop(t, s)
	log := mustCreate(t, s, tp("t", 0))
	fill(t, log, 5)
	log.AdvanceHighWatermark(10)
	if err := log.AdvanceStartOffset(7); err != nil {
		t.Fatal(err)
	}
	if err := log.Sync(log.EndOffset()); err != nil {
		t.Fatal(err)
	}
	if err := s.dirs[0].checkpoints.update(logStarts); err != nil {
		t.Fatal(err)
	}
	if err := log.TruncateTo(2); err != nil {
		t.Fatal(err)
	}
	fill(t, log, 1)
	again := loaded(t, mem.Kill(), "/a")
	defer stop(t, again)
	if log, ok := again.Log(tp("t", 0)); !ok || log.StartOffset() != 2 || log.EndOffset() != 4 {
		t.Errorf("is [%d, %d), want [2, 4)", log.StartOffset(), log.EndOffset())
	}
}
