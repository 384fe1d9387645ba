package storage

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// kafkaIntervals are the defaults of Kafka 3.9.
func kafkaIntervals(dirs ...string) Config {
	return Config{
		Storage: config.Storage{
			Dirs:                       dirs,
			RetentionCheck:             5 * time.Minute,
			InitialTaskDelay:           30 * time.Second,
			RecoveryCheckpointInterval: time.Minute,
			StartCheckpointInterval:    time.Minute,
			HWCheckpointInterval:       5 * time.Second,
		},
		ProducerExpiration:      24 * time.Hour,
		ProducerExpirationCheck: 10 * time.Minute,
	}
}

// started returns a Store in service. Inside a bubble the caller must stop it.
func started(t *testing.T, cfg Config, fsys vfs.FS, prepare ...func(*Store)) *Store {
	t.Helper()
	s, err := Open(cfg, fsys, commitlog.NewFileCache(50), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Identify(1, "c"); err != nil {
		t.Fatal(err)
	}
	if err := load(s); err != nil {
		t.Fatal(err)
	}
	for _, p := range prepare {
		p(s)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckpointsAreWrittenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s := started(t, kafkaIntervals("/a"), mem)
		defer stop(t, s)
		name := tp("t", 0)
		log := mustCreate(t, s, name)
		fill(t, log, 20)
		log.AdvanceHighWatermark(30)
		if err := log.Sync(log.EndOffset()); err != nil {
			t.Fatal(err)
		}
		if err := log.AdvanceStartOffset(5); err != nil {
			t.Fatal(err)
		}
		if got := checkpoint(t, mem, "/a", highWatermarks); len(got) != 0 {
			t.Errorf("high watermarks at once: %v", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := checkpoint(t, mem, "/a", highWatermarks); got[name] != 30 {
			t.Errorf("high watermarks after 5 s: %v", got)
		}
		if got := checkpoint(t, mem, "/a", recoveryPoints); got[name] != 0 {
			t.Errorf("recovery points after 5 s: %v", got)
		}
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if got := checkpoint(t, mem, "/a", recoveryPoints); got[name] != log.RecoveryPoint() || got[name] == 0 {
			t.Errorf("recovery points after 95 s: %v, want %d", got, log.RecoveryPoint())
		}
		if got := checkpoint(t, mem, "/a", logStarts); got[name] != 5 {
			t.Errorf("start offsets after 95 s: %v", got)
		}
	})
}

// Deleted records stay deleted when the process is killed, although nobody has
// asked for an fsync of those that are left.
func TestDeletedRecordsStayDeletedAfterAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s := started(t, kafkaIntervals("/a"), mem)
		defer stop(t, s)
		log := mustCreate(t, s, tp("t", 0))
		fill(t, log, 2)
		log.AdvanceHighWatermark(4)
		if err := log.AdvanceStartOffset(3); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		again := loaded(t, mem.Kill(), "/a")
		defer stop(t, again)
		if log, ok := again.Log(tp("t", 0)); !ok || log.StartOffset() != 3 || log.EndOffset() != 4 {
			t.Errorf("is [%d, %d), want [3, 4)", log.StartOffset(), log.EndOffset())
		}
	})
}

// A minute of rest costs no file operation, whatever there is.
func TestIdlePartitionsCostNoIO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		faults := vfs.NewFaults(mem)
		cfg := kafkaIntervals("/a")
		cfg.HWCheckpointInterval = time.Second
		s := started(t, cfg, faults)
		defer stop(t, s)
		for i := range int32(100) {
			cfg := smallTopic()
			if i%2 == 0 {
				cfg.RetentionMS, cfg.RetentionBytes = (7 * 24 * time.Hour).Milliseconds(), 1<<30
			}
			log, err := s.Create(tp("t", i), protocol.TopicID{1}, cfg, true)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, log, 20)
			log.AdvanceHighWatermark(40)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		before, open := faults.Calls(), mem.OpenFiles()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := faults.Calls() - before; n != 0 {
			t.Errorf("%d file operations in an hour of rest", n)
		}
		if now := mem.OpenFiles(); now > open {
			t.Errorf("%d files open, before the rest %d", now, open)
		}
	})
}

func TestDeletedPartitionsAreRemovedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		cfg := kafkaIntervals("/a")
		delay := 20 * time.Second
		cfg.FileDeleteDelay = func() time.Duration { return delay }
		s := started(t, cfg, mem)
		defer stop(t, s)
		for i := range int32(3) {
			fill(t, mustCreate(t, s, tp("t", i)), 1)
		}
		time.Sleep(2 * time.Minute) // the checkpoints know them all
		for i := range int32(2) {
			if err := s.Delete(tp("t", i)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if got := checkpoint(t, mem, "/a", recoveryPoints); len(got) != 1 {
			t.Errorf("soon after the deletion there are lines %v", got)
		}
		time.Sleep(9 * time.Second) // 19 s and 14 s
		synctest.Wait()
		if got := deleteDirs(t, mem, "/a"); len(got) != 2 {
			t.Errorf("removed too early: %v are left", got)
		}
		time.Sleep(2 * time.Second) // 21 s and 16 s
		synctest.Wait()
		if got := deleteDirs(t, mem, "/a"); len(got) != 1 {
			t.Errorf("after the first wait: %v are left", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := deleteDirs(t, mem, "/a"); len(got) != 0 {
			t.Errorf("after the second wait: %v are left", got)
		}
	})
}

func TestRetentionRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s := started(t, kafkaIntervals("/a"), mem)
		defer stop(t, s)
		cfg := smallTopic()
		cfg.RetentionMS = int64(time.Minute / time.Millisecond)
		log, err := s.Create(tp("t", 0), protocol.TopicID{1}, cfg, true)
		if err != nil {
			t.Fatal(err)
		}
		kept := mustCreate(t, s, tp("kept", 0))
		for _, l := range []*commitlog.Log{log, kept} {
			fill(t, l, 20)
			l.AdvanceHighWatermark(l.EndOffset())
		}
		time.Sleep(31 * time.Second) // too young for the first pass
		synctest.Wait()
		if log.StartOffset() != 0 {
			t.Errorf("starts at %d", log.StartOffset())
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if log.StartOffset() != log.EndOffset() || kept.StartOffset() != 0 {
			t.Errorf("the expired one starts at %d of %d, the other one at %d", log.StartOffset(), log.EndOffset(), kept.StartOffset())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		entries, err := mem.ReadDir("/a/t-0")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".deleted") {
				t.Errorf("%s of a dropped segment is still there", e.Name())
			}
		}
	})
}

// Whatever goes on at the same time: many goroutines use a Store in service, and
// what it leaves is whole.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		cfg := kafkaIntervals("/a", "/b")
		cfg.HWCheckpointInterval, cfg.RecoveryCheckpointInterval, cfg.StartCheckpointInterval = 10*time.Millisecond, 15*time.Millisecond, 20*time.Millisecond
		cfg.RetentionCheck, cfg.InitialTaskDelay = 25*time.Millisecond, time.Millisecond
		cfg.FileDeleteDelay = func() time.Duration { return 5 * time.Millisecond }
		s := started(t, cfg, mem)
		topic := smallTopic()
		topic.RetentionBytes, topic.FlushMS = 1000, 10
		var users sync.WaitGroup
		for i := range int32(6) {
			users.Go(func() {
				for round := range 5 {
					log, err := s.Create(tp("t", i%5), protocol.TopicID{byte(i%5) + 1}, topic, true)
					if err != nil {
						t.Errorf("create: %v", err)
						return
					}
					for range 20 {
						if err := appendOne(log); err != nil && !errors.Is(err, commitlog.ErrClosed) {
							t.Errorf("append: %v", err)
						}
						log.AdvanceHighWatermark(log.EndOffset())
						time.Sleep(time.Millisecond)
					}
					if round%2 == 0 {
						if err := s.Delete(tp("t", i%5)); err != nil {
							t.Errorf("delete: %v", err)
						}
					}
				}
			})
		}
		users.Wait()
		ends := map[protocol.TopicPartition]int64{}
		for name, log := range s.Logs() {
			ends[name] = log.EndOffset()
		}
		stop(t, s)
		s = loaded(t, mem, "/a", "/b")
		defer stop(t, s)
		got := map[protocol.TopicPartition]int64{}
		for name, log := range s.Logs() {
			got[name] = log.EndOffset()
			if _, err := readAll(log); err != nil {
				t.Errorf("%v: %v", name, err)
			}
		}
		if !maps.Equal(got, ends) {
			t.Errorf("logs end at %v, before the stop at %v", got, ends)
		}
	})
}

func TestStartOnlyOnce(t *testing.T) {
	s := started(t, kafkaIntervals("/a"), vfs.NewMem())
	if err := s.Start(context.Background()); err == nil {
		t.Error("started twice")
	}
	stop(t, s)
	if err := s.Start(context.Background()); err == nil {
		t.Error("started after the stop")
	}
	if _, err := s.Create(tp("t", 0), protocol.TopicID{1}, smallTopic(), true); !errors.Is(err, errStopped) {
		t.Errorf("create after the stop: %v", err)
	}
	if err := s.Delete(tp("t", 0)); !errors.Is(err, errStopped) {
		t.Errorf("delete after the stop: %v", err)
	}
}
