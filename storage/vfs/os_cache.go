package vfs

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gracchus-mq/gracchus/internal/nowait"
)

// Most reads and writes move bytes from and to the page cache and are over in
// microseconds. They go without the cost of a call that may wait; see package nowait.

const (
	maxCachedRead  = 64 << 10 // bytes; larger reads are not worth an attempt of their own
	maxCachedWrite = 1 << 20  // bytes; as much as one call moves
)

// ReadAt takes from the page cache what is there.
func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if len(p) > 0 && len(p) <= maxCachedRead && !f.readsWait.Load() {
		var err error
		if n, err = f.cached(nowait.Pread, p, off); err == syscall.EOPNOTSUPP {
			f.readsWait.Store(true)
		}
	}
	if n == len(p) {
		return n, nil
	}
	m, err := f.File.ReadAt(p[n:], off+int64(n))
	return n + m, err
}

// WriteAt writes to the page cache without further ado as long as nothing is held up
// there.
func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	if len(p) > 0 && len(p) <= maxCachedWrite && nowait.Supported {
		if begin := f.speed.now(); f.speed.brisk(begin) {
			n, _ = f.cached(nowait.Pwrite, p, off) // if it fails, the next says why
			f.speed.took(begin, f.speed.now())
		}
	}
	if n == len(p) {
		return n, nil
	}
	m, err := f.File.WriteAt(p[n:], off+int64(n))
	return n + m, err
}

// cachedCall is a read or write that is under way: what its callback, made once, has to
// know.
type cachedCall struct {
	do  func(fd uintptr, p []byte, off int64) (int, error)
	p   []byte
	off int64
	n   int
	err error
	run func(fd uintptr)
}

var cachedCalls = sync.Pool{New: func() any {
	c := &cachedCall{}
	c.run = func(fd uintptr) { c.n, c.err = c.do(fd, c.p, c.off) }
	return c
}}

func (f *osFile) cached(do func(fd uintptr, p []byte, off int64) (int, error), p []byte, off int64) (int, error) {
	c := cachedCalls.Get().(*cachedCall)
	c.do, c.p, c.off, c.n = do, p, off, 0
	err := f.raw.Control(c.run)
	if err == nil {
		err = c.err
	}
	n := c.n
	c.p = nil
	cachedCalls.Put(c)
	return n, err
}

// writeSpeed knows whether writes are held up. The kernel makes those wait who write more
// than the disk takes, up to 200 ms each time, and longer if the disk hangs. While a short
// call waits, the scheduler lacks a processor and no garbage is collected; so after one
// that did, all writes are ordinary calls for some time.
type writeSpeed struct {
	epoch       time.Time
	heldUpUntil atomic.Int64 // since epoch
}

const (
	heldUp   = 10 * time.Millisecond // a write that takes as long has waited
	wariness = 10 * time.Second      // for how long writes are ordinary calls then
)

func newWriteSpeed() *writeSpeed { return &writeSpeed{epoch: time.Now()} }

func (s *writeSpeed) now() time.Duration { return time.Since(s.epoch) }

func (s *writeSpeed) brisk(now time.Duration) bool { return int64(now) >= s.heldUpUntil.Load() }

func (s *writeSpeed) took(begin, end time.Duration) {
	if end-begin >= heldUp {
		s.heldUpUntil.Store(int64(end + wariness))
	}
}
