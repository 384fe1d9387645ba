package storage

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func TestDirectoryFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewMem())
		type failure struct {
			dir        string
			partitions []protocol.TopicPartition
		}
		failures := make(chan failure, 10)
		fatal := make(chan error, 10)
		s := started(t, kafkaIntervals("/a", "/b"), faults, func(s *Store) {
			s.OnDirFailure(func(dir string, partitions []protocol.TopicPartition) { failures <- failure{dir, partitions} })
			s.OnAllFailed(func(err error) { fatal <- err })
		})
		defer stop(t, s)
		var logs []*commitlog.Log
		for i := range int32(4) { // 0 and 2 in /a
			log := mustCreate(t, s, tp("t", i))
			fill(t, log, 2)
			logs = append(logs, log)
		}
		faults.Inject(vfs.FailOp(vfs.OpSync, "/a/t-2", vfs.ErrInjected))
		if err := logs[2].Sync(logs[2].EndOffset()); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("sync on a failing disk: %v", err)
		}
		synctest.Wait()
		got := <-failures
		slices.SortFunc(got.partitions, protocol.TopicPartition.Compare)
		if got.dir != "/a" || !slices.Equal(got.partitions, []protocol.TopicPartition{tp("t", 0), tp("t", 2)}) {
			t.Errorf("told %+v", got)
		}
		for i, log := range logs {
			_, there := s.Log(tp("t", int32(i)))
			err := appendOne(log)
			if inA := i%2 == 0; inA == there || inA != (err != nil) || inA && !errors.Is(err, kerr.KafkaStorageError) {
				t.Errorf("t-%d: there %v, append: %v", i, there, err)
			}
		}
		if _, err := s.Create(tp("t", 0), protocol.TopicID{1}, smallTopic(), false); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("created what may be in the failed directory: %v", err)
		}
		if err := s.Delete(tp("t", 0)); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("deleted what may be in the failed directory: %v", err)
		}
		if log, err := s.Create(tp("new", 0), protocol.TopicID{1}, smallTopic(), true); err != nil || log.Dir() != "/b/new-0" {
			t.Errorf("create elsewhere: %v", err)
		}
		if l, err := faults.Lock("/a/" + lockFile); err != nil {
			t.Errorf("the failed directory is still locked: %v", err)
		} else {
			l.Close()
		}
		if err := appendOne(logs[0]); !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("the logs of the failed directory keep their files: %v", err)
		}
		if len(fatal) != 0 {
			t.Errorf("fatal: %v", <-fatal)
		}

		faults.Inject(vfs.FailOp(vfs.OpWrite, "/b/t-1", vfs.ErrInjected))
		if err := appendOne(logs[1]); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("append to a failing disk: %v", err)
		}
		synctest.Wait()
		if err := <-fatal; !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("the last directory failed: %v", err)
		}
		if _, err := s.Create(tp("new", 1), protocol.TopicID{1}, smallTopic(), true); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("create without a directory: %v", err)
		}
	})
}

// A directory that fails while logs are loaded is told of after Start.
func TestDirectoryFailsAtLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s := loaded(t, mem, "/a", "/b")
		for i := range int32(4) {
			fill(t, mustCreate(t, s, tp("t", i)), 2)
		}
		stop(t, s)
		faults := vfs.NewFaults(mem)
		told := make(chan string, 10)
		s, err := Open(kafkaIntervals("/a", "/b"), faults, commitlog.NewFileCache(50), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.OnDirFailure(func(dir string, partitions []protocol.TopicPartition) { told <- dir })
		faults.Inject(vfs.FailOp(vfs.OpOpen, "/b/t-3", vfs.ErrInjected))
		faults.Inject(func(c vfs.Call) error {
			if len(c.Name) >= 6 && c.Name[:6] == "/b/t-3" {
				return vfs.ErrInjected
			}
			return nil
		})
		if err := load(s); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Log(tp("t", 1)); ok {
			t.Error("serves from the failed directory")
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if dir := <-told; dir != "/b" {
			t.Errorf("told of %s", dir)
		}
		stop(t, s)
		if exists(t, mem, "/b/"+cleanShutdownFile) || !exists(t, mem, "/a/"+cleanShutdownFile) {
			t.Error("marker: want one in /a alone")
		}
	})
}
