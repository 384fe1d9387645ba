package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/gracchus-mq/gracchus/internal/nowait"
)

// OS returns the file system of the operating system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{File: f, raw: raw}, nil
}

func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

func (osFS) Space(name string) (usable, total int64, err error) {
	usable, total, err = statfs(name)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return usable, total, nil
}

// osFile adds the methods that *os.File lacks. Positions are always explicit,
// so the file's own position is never used.
type osFile struct {
	*os.File
	raw syscall.RawConn
	// waits is set where the file system cannot tell whether a read would wait.
	waits atomic.Bool
}

func (f *osFile) OSFile() *os.File { return f.File }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ReadAt takes what is in the page cache without the cost of a call that may wait.
func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	if len(p) > 0 && len(p) <= maxCachedRead && !f.waits.Load() {
		n = f.readCached(p, off)
	}
	if n == len(p) {
		return n, nil
	}
	m, err := f.File.ReadAt(p[n:], off+int64(n))
	return n + m, err
}

// maxCachedRead is up to what size a read is worth an attempt of its own.
const maxCachedRead = 64 << 10

func (f *osFile) readCached(p []byte, off int64) int {
	r := cachedReads.Get().(*cachedRead)
	r.p, r.off, r.n, r.err = p, off, 0, nil
	if err := f.raw.Control(r.run); err == nil && r.err == syscall.EOPNOTSUPP {
		f.waits.Store(true)
	}
	n := r.n
	r.p = nil
	cachedReads.Put(r)
	return n
}

// cachedRead is a read that is under way: what its callback, made once, has to know.
type cachedRead struct {
	p   []byte
	off int64
	n   int
	err error
	run func(fd uintptr)
}

var cachedReads = sync.Pool{New: func() any {
	r := &cachedRead{}
	r.run = func(fd uintptr) { r.n, r.err = nowait.Pread(fd, r.p, r.off) }
	return r
}}

func (f *osFile) Sync() error { return syncData(f.File) }

func (f *osFile) Allocate(size int64) error {
	if err := allocate(f.File, size); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return f.fill(size)
}

// fill is Allocate where the file system does not know how: it extends the file
// with bytes that none can compress or leave out. Holes in the file stay.
func (f *osFile) fill(size int64) error {
	begin, err := f.Size()
	if err != nil {
		return err
	}
	noise := rand.NewChaCha8([32]byte{})
	block := make([]byte, 64<<10)
	for at := begin; at < size; at += int64(len(block)) {
		noise.Read(block) // never fails
		if _, err := f.WriteAt(block[:min(int64(len(block)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
