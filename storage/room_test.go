package storage

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// reserving is kafkaIntervals with a reserve of 2 MiB.
func reserving(dirs ...string) Config {
	cfg := kafkaIntervals(dirs...)
	cfg.ReserveBytes = 2 << 20
	return cfg
}

// journal collects what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(part string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), part)
}

// startedWith is started with a logger.
func startedWith(t *testing.T, cfg Config, fsys vfs.FS, j *journal) *Store {
	t.Helper()
	s, err := Open(cfg, fsys, commitlog.NewFileCache(50), slog.New(slog.NewTextHandler(j, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Identify(1, "c"), load(s), s.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	return s
}

// fillUp appends until there is no room.
func fillUp(t *testing.T, log *commitlog.Log) {
	t.Helper()
	for range 100_000 {
		err := appendOne(log)
		if err == nil {
			continue
		}
		if !vfs.NoRoom(err) || !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("append to a full disk: %v", err)
		}
		return
	}
	t.Fatal("the disk does not become full")
}

func reserveSize(t *testing.T, mem *vfs.Mem, dir string) int64 {
	t.Helper()
	info, err := mem.Stat(dir + "/" + reserveFile)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A full directory refuses records and nothing else, and says so once; after room
// was made it goes on, and says that once.
func TestFullDirectoryGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, j := vfs.NewMem(), &journal{}
		s := startedWith(t, reserving("/a"), mem, j)
		defer stop(t, s)
		log, doomed := mustCreate(t, s, tp("t", 0)), mustCreate(t, s, tp("doomed", 0))
		fill(t, doomed, 100)
		before := mem.Used()
		mem.SetCapacity(before + 1<<20)
		fillUp(t, log)
		end := log.EndOffset()
		for range 5 {
			if err := appendOne(doomed); !vfs.NoRoom(err) {
				t.Fatalf("append to another log in a full directory: %v", err)
			}
		}
		// Reads, checkpoints, deletion of records, and their retention.
		if batches, err := readAll(log); err != nil || int64(len(batches)) != end/2 {
			t.Errorf("%d batches can be read, of %d: %v", len(batches), end/2, err)
		}
		log.AdvanceHighWatermark(end)
		time.Sleep(6 * time.Second)
		if got := checkpoint(t, mem, "/a", highWatermarks)[tp("t", 0)]; got != end {
			t.Errorf("on a full disk the high watermark %d is kept, not %d", got, end)
		}
		if err := log.Sync(end); err != nil {
			t.Errorf("sync: %v", err)
		}
		if err := log.AdvanceStartOffset(10); err != nil {
			t.Errorf("delete records: %v", err)
		}
		if log, err := s.Create(tp("new", 0), protocol.TopicID{1}, smallTopic(), true); err != nil {
			t.Errorf("create: %v", err)
		} else if err := appendOne(log); !vfs.NoRoom(err) {
			t.Errorf("append to a new log: %v", err)
		}
		if _, there := s.Log(tp("t", 0)); !there {
			t.Error("the directory is offline")
		}
		if n := j.count("is full"); n != 1 {
			t.Errorf("it is said %d times that the directory is full", n)
		}
		// Room for less than the reserve and as much again is not enough.
		mem.SetCapacity(mem.Used() + 1<<20)
		time.Sleep(5 * time.Second)
		if err := appendOne(log); !vfs.NoRoom(err) {
			t.Errorf("append with little room: %v", err)
		}
		mem.SetCapacity(mem.Used() + 5<<20)
		time.Sleep(2 * roomInterval)
		fill(t, log, 1)
		if n := j.count("has room again"); n != 1 {
			t.Errorf("it is said %d times that there is room again:\n%s", n, j.text.String())
		}
		if size := reserveSize(t, mem, "/a"); size != 2<<20 {
			t.Errorf("the reserve has %d bytes", size)
		}
		if log.EndOffset() != end+2 {
			t.Errorf("the log ends at %d, not %d", log.EndOffset(), end+2)
		}
	})
}

// What is deleted on a full disk makes room without delay.
func TestDeletionMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, free := range map[string]func(t *testing.T, s *Store, doomed *commitlog.Log){
			"topic": func(t *testing.T, s *Store, _ *commitlog.Log) {
				if err := s.Delete(tp("doomed", 0)); err != nil {
					t.Errorf("delete: %v", err)
				}
			},
			"records": func(t *testing.T, s *Store, doomed *commitlog.Log) {
				if err := doomed.AdvanceStartOffset(doomed.EndOffset()); err != nil {
					t.Errorf("delete records: %v", err)
				}
				s.cleaner.Soon() // at the latest log.retention.check.interval.ms later
			},
		} {
			mem := vfs.NewMem()
			s := started(t, reserving("/a"), mem)
			log, doomed := mustCreate(t, s, tp("t", 0)), mustCreate(t, s, tp("doomed", 0))
			mem.SetCapacity(mem.Used() + 12<<20)
			for doomed.Size() < 100_000 { // each segment takes 12 KiB of blocks
				fill(t, doomed, 1)
			}
			doomed.AdvanceHighWatermark(doomed.EndOffset())
			fillUp(t, log)
			free(t, s, doomed)
			time.Sleep(2*roomInterval + time.Millisecond)
			if err := appendOne(log); err != nil {
				t.Errorf("%s: append after the deletion: %v", name, err)
			}
			stop(t, s)
		}
	})
}

// Retention does not wait for its next pass when the disk is full.
func TestFullDiskHurriesRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s := started(t, reserving("/a"), mem)
		defer stop(t, s)
		time.Sleep(31 * time.Second) // the first pass has been
		log, doomed := mustCreate(t, s, tp("t", 0)), mustCreate(t, s, tp("doomed", 0))
		mem.SetCapacity(mem.Used() + 12<<20)
		for doomed.Size() < 100_000 {
			fill(t, doomed, 1)
		}
		doomed.AdvanceHighWatermark(doomed.EndOffset())
		cfg := smallTopic()
		cfg.RetentionBytes = 0
		doomed.SetConfig(cfg)
		fillUp(t, log)
		time.Sleep(2*roomInterval + time.Millisecond)
		if err := appendOne(log); err != nil {
			t.Errorf("append after retention: %v", err)
		}
	})
}

// A broker can stop cleanly and start on a full disk.
func TestStopAndStartOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, j := vfs.NewMem(), &journal{}
		s := started(t, reserving("/a"), mem)
		log := mustCreate(t, s, tp("t", 0))
		for i := range int32(20) {
			fill(t, mustCreate(t, s, tp("other", i)), 5)
		}
		mem.SetCapacity(mem.Used() + 100<<10)
		fillUp(t, log)
		end := log.EndOffset()
		stop(t, s)
		if !exists(t, mem, "/a/"+cleanShutdownFile) {
			t.Error("the stop was not clean")
		}
		s = startedWith(t, reserving("/a"), mem, j)
		log, _ = s.Log(tp("t", 0))
		if log.EndOffset() != end {
			t.Errorf("the log ends at %d, not %d", log.EndOffset(), end)
		}
		if n := j.count("is full"); n != 1 {
			t.Errorf("it is said %d times that the directory is full", n)
		}
		if err := appendOne(log); !vfs.NoRoom(err) {
			t.Errorf("append to a full disk: %v", err)
		}
		mem.SetCapacity(plenty)
		time.Sleep(2 * roomInterval)
		fill(t, log, 1)
		stop(t, s)
		if size := reserveSize(t, mem, "/a"); size != 2<<20 {
			t.Errorf("the reserve has %d bytes", size)
		}
		cfg := reserving("/a")
		cfg.ReserveBytes = 0
		stop(t, started(t, cfg, mem))
		if exists(t, mem, "/a/"+reserveFile) {
			t.Error("a reserve of no bytes has a file")
		}
	})
}

// Without a reserve a stop may not be clean, and nothing is lost for it.
func TestStopOnFullDiskWithoutReserve(t *testing.T) {
	mem := vfs.NewMem()
	s := loaded(t, mem, "/a")
	log := mustCreate(t, s, tp("t", 0))
	mem.SetCapacity(mem.Used() + 100<<10)
	fillUp(t, log)
	mem.SetCapacity(mem.Used())
	end := log.EndOffset()
	err := s.Stop(t.Context())
	if !vfs.NoRoom(err) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "the next start recovers it") {
		t.Errorf("stop on a full disk: %v", err)
	}
	if n := mem.OpenFiles(); n != 0 {
		t.Errorf("%d files stay open", n)
	}
	s, err = openDirs(mem, "/a")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Identify(1, "c"); err != nil {
		t.Fatal(err)
	}
	if err := load(s); err != nil && (!vfs.NoRoom(err) || !strings.Contains(err.Error(), "make some and start again")) {
		t.Errorf("start on a full disk: %v", err)
	}
	s.Stop(t.Context())
	mem.SetCapacity(plenty)
	s = loaded(t, mem, "/a")
	defer stop(t, s)
	log, _ = s.Log(tp("t", 0))
	if batches, err := readAll(log); err != nil || log.EndOffset() != end || int64(len(batches)) != end/2 {
		t.Errorf("%d batches up to %d are left, %d were written: %v", len(batches), log.EndOffset(), end/2, err)
	}
}

// New partitions go where there is room, although fewer are in the full directory.
func TestFullDirectoryGetsNoPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewMem())
		s := started(t, kafkaIntervals("/a", "/b"), faults)
		defer stop(t, s)
		log := mustCreate(t, s, tp("t", 0)) // in /a
		mustCreate(t, s, tp("t", 1))
		faults.Inject(vfs.FailOp(vfs.OpWrite, "/a/t-0/", vfs.ErrNoSpace))
		if err := appendOne(log); !vfs.NoRoom(err) {
			t.Fatalf("append to a full disk: %v", err)
		}
		for i := range int32(3) {
			if log := mustCreate(t, s, tp("new", i)); !strings.HasPrefix(log.Dir(), "/b/") {
				t.Errorf("a new partition is in %s", log.Dir())
			}
		}
		faults.Inject(nil)
	})
}

// A partition for which there was no room is heard of when there is.
func TestUncreatedPartitionsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		told := make(chan struct{}, 10)
		s := started(t, kafkaIntervals("/a"), mem, func(s *Store) { s.OnRoom(func() { told <- struct{}{} }) })
		defer stop(t, s)
		mem.SetCapacity(mem.Used())
		_, err := s.Create(tp("t", 0), protocol.TopicID{1}, smallTopic(), true)
		if !vfs.NoRoom(err) || !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("create on a full disk: %v", err)
		}
		if exists(t, mem, "/a/t-0") {
			t.Error("something is left of what could not be created")
		}
		time.Sleep(10 * time.Second)
		if len(told) != 0 {
			t.Error("told of room where there is none")
		}
		mem.SetCapacity(plenty)
		time.Sleep(2 * roomInterval)
		if len(told) != 1 {
			t.Errorf("told %d times", len(told))
		}
		fill(t, mustCreate(t, s, tp("t", 0)), 1)
	})
}
