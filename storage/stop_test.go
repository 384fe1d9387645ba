package storage

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// stepFS notes when logs are written, synced and written back all together.
type stepFS struct {
	vfs.FS
	steps chan string // large enough
}

type stepFile struct {
	vfs.File
	steps chan string
}

func (f stepFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return stepFile{file, f.steps}, nil
}

func (f stepFS) WriteBack(name string) error {
	f.steps <- "write back " + name
	return f.FS.WriteBack(name)
}

func (f stepFile) Truncate(size int64) error {
	if strings.HasSuffix(f.Name(), ".index") {
		f.steps <- "seal"
	}
	return f.File.Truncate(size)
}

func (f stepFile) Sync() error {
	if strings.HasSuffix(f.Name(), ".log") {
		f.steps <- "sync"
	}
	return f.File.Sync()
}

// TestStopWritesAllBeforeItWaits: of many logs all are sealed, then the file system writes
// them all, and only then are they synced one by one. A few are not worth it, nor logs to
// which nothing was appended.
func TestStopWritesAllBeforeItWaits(t *testing.T) {
	mem := vfs.NewMem()
	steps := make(chan string, 10000)
	open := func() *Store { return loaded(t, stepFS{mem, steps}, "/a") }
	stopped := func(s *Store) (seals, writeBacks, syncs int) {
		for len(steps) > 0 {
			<-steps
		}
		stop(t, s)
		for len(steps) > 0 {
			switch step := <-steps; {
			case step == "seal":
				if seals++; writeBacks > 0 {
					t.Error("a log was sealed after all were written back")
				}
			case step == "sync":
				if syncs++; writeBacks == 0 && seals > closers {
					t.Error("a log was synced before all were written back")
				}
			default:
				writeBacks++
			}
		}
		return seals, writeBacks, syncs
	}
	grow := func(s *Store, topic string, n int) {
		for i := range n {
			fill(t, mustCreate(t, s, protocol.TopicPartition{Topic: fmt.Sprintf("%s%d", topic, i)}), 1)
		}
	}

	s := open()
	grow(s, "many", closers+1)
	if seals, writeBacks, syncs := stopped(s); seals != closers+1 || writeBacks != 1 || syncs != closers+1 {
		t.Errorf("many logs: %d seals, %d times written back, %d syncs", seals, writeBacks, syncs)
	}
	if seals, writeBacks, syncs := stopped(open()); seals+writeBacks+syncs != 0 {
		t.Errorf("nothing appended: %d seals, %d times written back, %d syncs", seals, writeBacks, syncs)
	}
	s = open()
	grow(s, "few", 2)
	if _, writeBacks, syncs := stopped(s); writeBacks != 0 || syncs != 2 {
		t.Errorf("few logs: %d times written back, %d syncs", writeBacks, syncs)
	}
}
