package commitlog

import (
	"errors"
	"hash/crc32"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func crc32IEEE(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

// Readers, an appender, fsyncs and retention at once: every read gives whole,
// sound batches at the offsets asked for.
func TestReadersAndWriters(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Config.SegmentBytes = 2000
	o.Config.RetentionBytes = 6000
	o.Files = NewFileCache(3)
	l := mustOpen(t, o)
	const total = 3000
	var wg, readers sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for i := range total {
			if _, err := l.AppendAsLeader(batchOf(t, 1+i%3, int64(i)), 0, record.Client); err != nil {
				t.Error(err)
				return
			}
			l.AdvanceHighWatermark(l.EndOffset())
		}
	})
	background := func(f func() error) {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	background(func() error { return l.Sync(l.EndOffset()) })
	background(func() error { _, err := l.DeleteExpired(time.Now()); return err })
	var read atomic.Int64
	for g := range int64(4) {
		background(func() error {
			start, upTo := l.StartOffset(), l.HighWatermark()
			from := max(start, upTo-g*40)
			r, err := l.Read(from, 500, upTo, true)
			if errors.Is(err, kerr.OffsetOutOfRange) {
				return nil // retention was faster
			}
			if err != nil {
				return err
			}
			defer r.Release()
			raw, err := r.AppendTo(nil)
			if err != nil {
				return err
			}
			for first := true; len(raw) > 0; first = false {
				b, rest, err := record.Next(raw)
				if errors.Is(err, record.ErrTruncated) && !first {
					return nil
				}
				if err != nil {
					return err
				}
				if err := b.CheckCRC(); err != nil {
					return err
				}
				if first && (b.LastOffset() < from || b.BaseOffset() > from) || b.LastOffset() >= upTo {
					t.Errorf("a read at %d below %d gives offsets %d to %d", from, upTo, b.BaseOffset(), b.LastOffset())
				}
				read.Add(1)
				raw = rest
			}
			return nil
		})
	}
	wg.Wait()
	close(done)
	readers.Wait()
	if read.Load() == 0 || l.EndOffset() != 2*total {
		t.Errorf("%d batches were read, the end is %d", read.Load(), l.EndOffset())
	}
	must(t, l.Close(t.Context()))
}

// Writers that wait for durability at the same time share fsyncs: while one is
// under way all others append, and then one more does for all of them.
func TestGroupCommit(t *testing.T) {
	gate := make(chan struct{})
	started := make(chan struct{}, 1)
	var syncs atomic.Int64
	o := testOptions(&gatedFS{FS: vfs.NewMem(), sync: func() {
		if syncs.Add(1) == 1 {
			started <- struct{}{}
			<-gate
		}
	}})
	o.Config.SegmentBytes = 1 << 20
	l := mustOpen(t, o)
	var appended, done sync.WaitGroup
	write := func() {
		info := appendTo(t, l, batchOf(t, 1, 1), 0)
		appended.Done()
		must(t, l.Sync(info.LastOffset+1))
		if l.SyncedOffset() <= info.LastOffset {
			t.Errorf("offset %d was said to be synced, up to %d it is", info.LastOffset, l.SyncedOffset())
		}
	}
	appended.Add(1)
	done.Go(write)
	<-started
	appended.Add(50)
	for range 50 {
		done.Go(write)
	}
	appended.Wait()
	close(gate)
	done.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("51 writers took %d fsyncs, want 2", n)
	}
}

// gatedFS calls sync before each fsync of a segment.
type gatedFS struct {
	vfs.FS
	sync func()
}

func (g *gatedFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := g.FS.OpenFile(name, flag, perm)
	if err == nil && strings.HasSuffix(name, logSuffix) {
		f = &gatedFile{f, g.sync}
	}
	return f, err
}

type gatedFile struct {
	vfs.File
	sync func()
}

func (f *gatedFile) Sync() error {
	f.sync()
	return f.File.Sync()
}

// Abandon waits for an fsync that is under way, so that the directory can be
// renamed right after it.
func TestAbandonWaits(t *testing.T) {
	started, gate := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	mem := vfs.NewMem()
	o := testOptions(&gatedFS{FS: mem, sync: func() {
		close(started)
		<-gate
		ended.Store(true)
	}})
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 1, 1), 0)
	result := make(chan error)
	go func() { result <- l.Sync(1) }()
	<-started
	go func() {
		for range 1000 {
			runtime.Gosched() // let Abandon run into it
		}
		close(gate)
	}()
	l.Abandon()
	if !ended.Load() {
		t.Error("Abandon has not waited for the fsync")
	}
	must(t, mem.Rename(o.Dir, o.Dir+"-delete"))
	must(t, <-result)
	if _, err := l.PurgeDeleted(time.Now(), false); err != nil {
		t.Error(err)
	}
}

// A segment that is sealed while an fsync is under way is not durable with it: its
// indexes were not there yet. The recovery point must not pass it.
func TestRollDuringSync(t *testing.T) {
	started, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	o := testOptions(&gatedFS{FS: vfs.NewMem(), sync: func() {
		once.Do(func() {
			close(started)
			<-gate
		})
	}})
	o.Config.SegmentBytes = 250
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 1, 1), 0)
	appendTo(t, l, batchOf(t, 1, 1), 0)
	result := make(chan error)
	go func() { result <- l.Sync(2) }()
	<-started
	appendTo(t, l, batchOf(t, 1, 1), 0)
	if len(l.list()) != 2 || l.list()[1].base != 2 {
		t.Fatal("the log has not rolled at offset 2")
	}
	close(gate)
	must(t, <-result)
	if l.SyncedOffset() != 2 || l.RecoveryPoint() != 0 || !l.SealedUnsynced() {
		t.Errorf("synced %d, recovery point %d, %t; want 2, 0, true", l.SyncedOffset(), l.RecoveryPoint(), l.SealedUnsynced())
	}
	must(t, l.SyncSealed())
	if l.RecoveryPoint() < 2 || l.SealedUnsynced() {
		t.Errorf("recovery point %d, %t; want at least 2, false", l.RecoveryPoint(), l.SealedUnsynced())
	}
}
