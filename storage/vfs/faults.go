package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// Op is a kind of operation that Faults can make fail.
type Op string

const (
	OpOpen     Op = "open"
	OpMkdir    Op = "mkdir"
	OpRemove   Op = "remove" // RemoveAll too
	OpRename   Op = "rename"
	OpReadDir  Op = "readdir"
	OpStat     Op = "stat" // Size too
	OpModTime  Op = "modtime"
	OpSyncDir  Op = "syncdir"
	OpLock     Op = "lock"
	OpSpace    Op = "space"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpAllocate Op = "allocate"
	OpSync     Op = "sync"
)

// Changes reports whether operations of this kind change what is on the disk.
func (o Op) Changes() bool {
	switch o {
	case OpMkdir, OpRemove, OpRename, OpModTime, OpSyncDir, OpWrite, OpTruncate, OpAllocate, OpSync:
		return true
	}
	return false
}

// Call is one operation that is about to be done.
type Call struct {
	Op   Op
	Name string // of the file or directory; a rename's old name
	N    int64  // 1 for the first operation of the file system, then 2 …
	Len  int    // bytes to be written, for OpWrite
}

// ErrInjected is the error of tests that need none in particular.
var ErrInjected = errors.New("injected fault")

// ShortWrite, returned by an injector for OpWrite, lets the first N bytes
// through before the write fails with Err.
type ShortWrite struct {
	N   int
	Err error
}

func (e *ShortWrite) Error() string { return fmt.Sprintf("short write of %d bytes: %v", e.N, e.Err) }
func (e *ShortWrite) Unwrap() error { return e.Err }

// Faults is a file system that asks an injector before each operation whether
// it shall fail. Its methods may be called by many goroutines at once.
type Faults struct {
	inner  FS
	mu     sync.Mutex
	n      int64
	inject func(Call) error
}

// NewFaults returns a file system that passes everything on to inner until
// Inject says otherwise.
func NewFaults(inner FS) *Faults { return &Faults{inner: inner} }

// Inject sets the injector, nil for none. It is called with a mutex held, one
// operation after the other, and must not use the file system. The operation
// fails with the error it returns.
func (f *Faults) Inject(inject func(Call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inject = inject
}

// Calls is the number of operations so far.
func (f *Faults) Calls() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// FailNth fails the operation with number n.
func FailNth(n int64, err error) func(Call) error {
	return func(c Call) error {
		if c.N == n {
			return err
		}
		return nil
	}
}

// FailOp fails all operations of one kind on names that contain part.
func FailOp(op Op, part string, err error) func(Call) error {
	return func(c Call) error {
		if c.Op == op && strings.Contains(c.Name, part) {
			return err
		}
		return nil
	}
}

// FullAfter lets bytes more bytes be written; then the disk is full.
func FullAfter(bytes int) func(Call) error {
	return func(c Call) error {
		if c.Op != OpWrite {
			return nil
		}
		if c.Len <= bytes {
			bytes -= c.Len
			return nil
		}
		n := bytes
		bytes = 0
		return &ShortWrite{N: n, Err: ErrNoSpace}
	}
}

func (f *Faults) check(op Op, name string, length int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if f.inject == nil {
		return nil
	}
	if err := f.inject(Call{Op: op, Name: name, N: f.n, Len: length}); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

func (f *Faults) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := f.check(OpOpen, name, 0); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

func (f *Faults) MkdirAll(name string, perm fs.FileMode) error {
	if err := f.check(OpMkdir, name, 0); err != nil {
		return err
	}
	return f.inner.MkdirAll(name, perm)
}

func (f *Faults) Remove(name string) error {
	if err := f.check(OpRemove, name, 0); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

func (f *Faults) RemoveAll(name string) error {
	if err := f.check(OpRemove, name, 0); err != nil {
		return err
	}
	return f.inner.RemoveAll(name)
}

func (f *Faults) Rename(oldName, newName string) error {
	if err := f.check(OpRename, oldName, 0); err != nil {
		return err
	}
	return f.inner.Rename(oldName, newName)
}

func (f *Faults) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.check(OpReadDir, name, 0); err != nil {
		return nil, err
	}
	return f.inner.ReadDir(name)
}

func (f *Faults) Stat(name string) (fs.FileInfo, error) {
	if err := f.check(OpStat, name, 0); err != nil {
		return nil, err
	}
	return f.inner.Stat(name)
}

func (f *Faults) SetModTime(name string, modified time.Time) error {
	if err := f.check(OpModTime, name, 0); err != nil {
		return err
	}
	return f.inner.SetModTime(name, modified)
}

func (f *Faults) SyncDir(name string) error {
	if err := f.check(OpSyncDir, name, 0); err != nil {
		return err
	}
	return f.inner.SyncDir(name)
}

func (f *Faults) Lock(name string) (io.Closer, error) {
	if err := f.check(OpLock, name, 0); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

func (f *Faults) Space(name string) (usable, total int64, err error) {
	if err := f.check(OpSpace, name, 0); err != nil {
		return 0, 0, err
	}
	return f.inner.Space(name)
}

func (f *Faults) WriteBack(name string) error { return f.inner.WriteBack(name) }

// faultyFile is a file of a Faults. It is no OSFiler, so that nothing reads or
// writes past it.
type faultyFile struct {
	File
	fs *Faults
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.check(OpRead, f.Name(), 0); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.check(OpWrite, f.Name(), len(p))
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	var short *ShortWrite
	if errors.As(err, &short) && short.N > 0 {
		n, werr := f.File.WriteAt(p[:min(short.N, len(p))], off)
		if werr != nil {
			err = werr
		}
		return n, err
	}
	return 0, err
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.check(OpTruncate, f.Name(), 0); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Allocate(size int64) error {
	if err := f.fs.check(OpAllocate, f.Name(), 0); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f *faultyFile) Sync() error {
	err := f.fs.check(OpSync, f.Name(), 0)
	if err == nil {
		return f.File.Sync()
	}
	if lossy, ok := f.File.(interface{ failSync() }); ok {
		lossy.failSync()
	}
	return err
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.fs.check(OpStat, f.Name(), 0); err != nil {
		return 0, err
	}
	return f.File.Size()
}
