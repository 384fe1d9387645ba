package vfs

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"
)

// memFile is an open file of a Mem.
type memFile struct {
	fs                 *Mem
	node               *memNode
	name               string
	readable, writable bool
	closed             bool
}

func (f *memFile) Name() string { return f.name }

// use locks the file system and checks that the file may be used.
func (f *memFile) use(op string, allowed bool) (unlock func(), err error) {
	f.fs.mu.Lock()
	switch {
	case f.closed:
		err = pathError(op, f.name, fs.ErrClosed)
	case !allowed:
		err = pathError(op, f.name, syscall.EBADF)
	}
	return f.fs.mu.Unlock, err
}

var errNegativeOffset = errors.New("negative offset")

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	unlock, err := f.use("read", f.readable)
	defer unlock()
	if err == nil && off < 0 {
		err = pathError("read", f.name, errNegativeOffset)
	}
	if err != nil {
		return 0, err
	}
	return f.node.data.readAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	unlock, err := f.use("write", f.writable)
	defer unlock()
	if err == nil && off < 0 {
		err = pathError("write", f.name, errNegativeOffset)
	}
	if err != nil || len(p) == 0 {
		return 0, err
	}
	if n := f.fs.roomFor(f.node, len(p), off); n < len(p) {
		if n > 0 {
			f.fs.write(f.node, p[:n], off)
		}
		return n, pathError("write", f.name, ErrNoSpace)
	}
	f.fs.write(f.node, p, off)
	return len(p), nil
}

func (m *Mem) write(n *memNode, p []byte, off int64) {
	before := n.data.blocks()
	n.data.writeAt(p, off)
	m.used += n.data.blocks() - before
	n.unsynced = append(n.unsynced, dataOp{off: off, data: slices.Clone(p)})
	n.mtime = time.Now()
}

func (f *memFile) Truncate(size int64) error {
	unlock, err := f.use("truncate", f.writable)
	defer unlock()
	if err == nil && size < 0 {
		err = pathError("truncate", f.name, syscall.EINVAL)
	}
	if err != nil {
		return err
	}
	f.fs.truncate(f.node, size)
	return nil
}

func (f *memFile) Allocate(size int64) error {
	unlock, err := f.use("allocate", f.writable)
	defer unlock()
	if err == nil && !f.fs.allocate(f.node, size) {
		err = pathError("allocate", f.name, ErrNoSpace)
	}
	return err
}

func (m *Mem) truncate(n *memNode, size int64) {
	before := n.data.blocks()
	n.data.truncate(size)
	m.used += n.data.blocks() - before
	n.unsynced = append(n.unsynced, dataOp{off: size})
	n.mtime = time.Now()
}

func (f *memFile) Sync() error {
	unlock, err := f.use("sync", true)
	defer unlock()
	if err != nil {
		return err
	}
	for _, op := range f.node.unsynced {
		op.apply(&f.node.durable)
	}
	f.node.unsynced = nil
	return nil
}

// failSync is what the page cache does when the disk refuses a write: the pages
// count as clean from now on, and what was in them never reaches the disk.
func (f *memFile) failSync() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.unsynced = nil
}

func (f *memFile) Size() (int64, error) {
	unlock, err := f.use("stat", true)
	defer unlock()
	return f.node.data.size, err
}

func (f *memFile) Close() error {
	unlock, err := f.use("close", true)
	defer unlock()
	if err == nil {
		f.closed = true
		f.fs.open--
		f.node.opens--
		f.fs.free(f.node)
	}
	return err
}

func (n *memNode) info(base string) fs.FileInfo {
	return memInfo{name: base, size: n.data.size, mode: n.perm, mtime: n.mtime}
}

type memInfo struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.mtime }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }
