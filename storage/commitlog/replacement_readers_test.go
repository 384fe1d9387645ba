package commitlog

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Readers, an appender, lookups and replacements at once: nobody sees that segments are
// replaced, but for the batches that are gone.
func TestReadersWhileSegmentsAreReplaced(t *testing.T) {
	o := compactedOptions(vfs.NewMem())
	o.Config.FileDeleteDelayMS = 0
	o.Files = NewFileCache(4)
	l := newCompacted(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	background := func(f func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil {
					t.Error(err)
					cancel()
				}
			}
		})
	}
	ts := int64(1700000001000)
	background(func() error {
		if ts++; ts > 1700000001500 { // else the rest has more and more to go through
			<-ctx.Done()
			return nil
		}
		_, err := l.AppendAsLeader(batchOf(t, 1, ts), 0, record.Client)
		l.AdvanceHighWatermark(l.EndOffset())
		return err
	})
	for range 2 {
		from := int64(0)
		background(func() error {
			r, err := l.Read(from, 500, l.EndOffset(), true)
			if err != nil {
				return err
			}
			defer r.Release()
			raw, err := r.AppendTo(nil)
			if err != nil {
				return err
			}
			next := from
			for len(raw) > 0 {
				b, rest, err := record.Next(raw)
				if err != nil {
					break
				}
				if err := b.CheckCRC(); err != nil || b.LastOffset() < next {
					return fmt.Errorf("batch %d…%d where %d is due, %w", b.BaseOffset(), b.LastOffset(), next, err)
				}
				next, raw = b.NextOffset(), rest
			}
			if from = next; from >= l.EndOffset() {
				from = 0
			}
			return nil
		})
	}
	background(func() error {
		if offset, _, _, err := l.OffsetForTimestamp(1700000000000, l.EndOffset()); err != nil || offset < 0 {
			return fmt.Errorf("looked up %d, %w", offset, err)
		}
		_, err := l.AbortedTransactions(0, l.EndOffset())
		return err
	})
	background(func() error { _, err := l.PurgeDeleted(time.Now(), false); return err })
	for range 150 {
		sealed := l.Sealed()
		c, err := l.BeginCompaction()
		if err == nil && len(sealed) > 3 {
			err = halve(c, sealed[:3], time.Now())
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	wg.Wait()
	if n := l.files.Open(); n > 4+8 {
		t.Errorf("%d files are open", n)
	}
}

// pausedFS stops whoever reads a file of some kind for the first time.
type pausedFS struct {
	vfs.FS
	suffix          string
	armed           atomic.Bool
	reached, opened chan struct{}
}

func newPause(suffix string) *pausedFS {
	return &pausedFS{FS: vfs.NewMem(), suffix: suffix, reached: make(chan struct{}), opened: make(chan struct{})}
}

func (g *pausedFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := g.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.HasSuffix(name, g.suffix) {
		return f, err
	}
	return &pausedFile{f, g}, nil
}

type pausedFile struct {
	vfs.File
	gate *pausedFS
}

func (f *pausedFile) ReadAt(p []byte, off int64) (int, error) {
	if f.gate.armed.CompareAndSwap(true, false) {
		close(f.gate.reached)
		<-f.gate.opened
	}
	return f.File.ReadAt(p, off)
}

// Who has found a segment, and not opened it yet, when it is replaced, finds the one in
// its place.
func TestReadersFindWhatReplacedASegment(t *testing.T) {
	for what, c := range map[string]struct {
		suffix string
		read   func(l *Log, offset int64) (int64, error)
	}{
		"read": {indexSuffix, func(l *Log, offset int64) (int64, error) {
			r, err := l.Read(offset, 1000, l.EndOffset(), true)
			defer r.Release()
			return r.BaseOffset, err
		}},
		"time": {timeSuffix, func(l *Log, offset int64) (int64, error) {
			at, _, _, err := l.OffsetForTimestamp(1700000000000, l.EndOffset())
			return at, err
		}},
	} {
		t.Run(what, func(t *testing.T) {
			gate := newPause(c.suffix)
			o := compactedOptions(gate)
			o.Files = NewFileCache(2)
			l := newCompacted(t, o)
			old := l.Sealed()[:3]
			gate.armed.Store(true)
			done := make(chan error)
			go func() {
				at, err := c.read(l, old[0].NextOffset-1)
				if err == nil && at < 0 {
					err = fmt.Errorf("found offset %d", at)
				}
				done <- err
			}()
			<-gate.reached
			must(t, halve(begin(t, l), old, time.Now()))
			close(gate.opened)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
