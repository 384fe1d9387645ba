package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// OS returns the file system of the operating system.
func OS() FS { return osFS{speed: newWriteSpeed()} }

type osFS struct{ speed *writeSpeed }

func (fsys osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{File: f, raw: raw, speed: fsys.speed}, nil
}

func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }

func (osFS) SetModTime(name string, modified time.Time) error {
	return os.Chtimes(name, time.Time{}, modified)
}

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

func (osFS) WriteBack(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncFS(d)
}

// osFile adds the methods that *os.File lacks. Positions are always explicit,
// so the file's own position is never used.
type osFile struct {
	*os.File
	raw   syscall.RawConn
	speed *writeSpeed
	// readsWait is set where the file system cannot tell whether a read would wait.
	readsWait atomic.Bool
}

func (f *osFile) OSFile() *os.File { return f.File }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

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
