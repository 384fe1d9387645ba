package storage

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func TestFlushByTime(t *testing.T) {
	for _, ms := range []int64{2, 50, 3000} {
		synctest.Test(t, func(t *testing.T) {
			limit := time.Duration(ms) * time.Millisecond
			var mu sync.Mutex
			told := map[protocol.TopicPartition]int{}
			s := started(t, kafkaIntervals("/a"), vfs.NewMem(), func(s *Store) {
				s.OnFlush(func(tp protocol.TopicPartition) {
					mu.Lock()
					defer mu.Unlock()
					told[tp]++
				})
			})
			defer stop(t, s)
			cfg := smallTopic()
			cfg.SegmentBytes, cfg.FlushMS = 1<<20, ms
			log, err := s.Create(tp("flushed", 0), protocol.TopicID{1}, cfg, true)
			if err != nil {
				t.Fatal(err)
			}
			other := mustCreate(t, s, tp("not", 0))
			for range 20 {
				fill(t, log, 1)
				fill(t, other, 1)
				time.Sleep(limit + time.Microsecond)
				synctest.Wait()
				if log.SyncedOffset() != log.EndOffset() {
					t.Fatalf("after %v only %d of %d are synced", limit, log.SyncedOffset(), log.EndOffset())
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if told[tp("flushed", 0)] < 20 || told[tp("not", 0)] != 0 {
				t.Errorf("told %v", told)
			}
		})
	}
}

// flush.ms that is set later counts from then on.
func TestFlushByTimeSetLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t, kafkaIntervals("/a"), vfs.NewMem())
		defer stop(t, s)
		log := mustCreate(t, s, tp("t", 0))
		time.Sleep(time.Minute)
		cfg := smallTopic()
		cfg.FlushMS = 10
		s.SetTopicConfig("t", cfg)
		fill(t, log, 1)
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if log.SyncedOffset() != log.EndOffset() {
			t.Error("not synced")
		}
	})
}

// If it looked at every log whenever one is created, it would take as long as
// creating thousands does.
func TestFlusherIsWokenOnlyInAHurry(t *testing.T) {
	for _, c := range []struct {
		ms    int64
		hurry bool
	}{{math.MaxInt64, false}, {4000, false}, {3999, true}} {
		s := loaded(t, vfs.NewMem(), "/a") // its flusher does not run yet
		cfg := smallTopic()
		cfg.FlushMS = c.ms
		woken := func(how string) {
			t.Helper()
			select {
			case <-s.dirs[0].flushKick:
				if !c.hurry {
					t.Errorf("flush.ms=%d, %s: woken", c.ms, how)
				}
			default:
				if c.hurry {
					t.Errorf("flush.ms=%d, %s: not woken", c.ms, how)
				}
			}
		}
		if _, err := s.Create(tp("t", 0), protocol.TopicID{1}, cfg, true); err != nil {
			t.Fatal(err)
		}
		woken("created")
		s.SetTopicConfig("t", cfg)
		woken("configured")
		stop(t, s)
	}
}

// Rolled segments are synced in the background although nobody asks for it.
func TestRolledSegmentsAreSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := started(t, kafkaIntervals("/a"), vfs.NewMem())
		defer stop(t, s)
		log := mustCreate(t, s, tp("t", 0))
		synctest.Wait() // the flusher has seen the new log
		fill(t, log, 20)
		if log.RecoveryPoint() != 0 {
			t.Fatalf("recovery point %d at once", log.RecoveryPoint())
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if log.RecoveryPoint() == 0 {
			t.Errorf("recovery point %d of %d", log.RecoveryPoint(), log.EndOffset())
		}
	})
}

// Of a log that has grown much, recovery has to check little, although nobody has
// asked for a sync and no segment was rolled.
func TestGrowingLogsAreCheckpointed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s := started(t, kafkaIntervals("/a"), mem)
		defer stop(t, s)
		cfg := smallTopic()
		cfg.SegmentBytes = 1 << 30
		log, err := s.Create(tp("t", 0), protocol.TopicID{1}, cfg, true)
		if err != nil {
			t.Fatal(err)
		}
		big := func() {
			b := record.NewBuilder()
			b.Append(time.Now().UnixMilli(), nil, make([]byte, 1<<20))
			batch, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.AppendAsLeader(batch, 0, record.Client); err != nil {
				t.Fatal(err)
			}
		}
		for range 60 {
			big()
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if log.RecoveryPoint() != 0 {
			t.Errorf("recovery point %d after 60 MB", log.RecoveryPoint())
		}
		for range 10 {
			big()
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := checkpoint(t, mem, "/a", recoveryPoints); got[tp("t", 0)] != 70 {
			t.Errorf("recovery point %v after 70 MB, want 70", got)
		}
	})
}
