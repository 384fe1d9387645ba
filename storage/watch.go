package storage

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// watchedFS is the file system as seen through one log directory. Every
// operation on the directory's files goes through it, whoever asks, so that it
// is the one place that notices an I/O error: the first one takes the directory
// offline. From then on nothing reaches the disk any more; every operation
// answers kerr.KafkaStorageError. It is also the place that notices a full disk,
// and has everything but records written all the same, see room.
//
// The second half is as important as the first. After a failed fsync the kernel
// may have thrown the dirty pages away, so that whatever happens later on the
// same directory could acknowledge records that are no longer there.
//
// It also keeps one promise that no single log can keep: what is synced in a
// partition's directory is reachable after a power loss. The names of the
// partition directories themselves are made durable together, before the first
// fsync in any of them returns, so that creating ten thousand partitions does
// not cost ten thousand fsyncs.
type watchedFS struct {
	fs  vfs.FS
	dir *directory

	namesMu     sync.Mutex // held while the names are synced
	names       atomic.Int64
	syncedNames atomic.Int64 // what names was when they were last made durable
}

var _ vfs.FS = (*watchedFS)(nil)

// named notes that a name directly in the log directory has changed.
func (w *watchedFS) named(paths ...string) {
	for _, p := range paths {
		if filepath.Dir(p) == w.dir.path {
			w.names.Add(1)
			return
		}
	}
}

// syncNames makes the names directly in the log directory durable if any has
// changed since.
func (w *watchedFS) syncNames() error {
	if w.syncedNames.Load() == w.names.Load() {
		return nil
	}
	w.namesMu.Lock()
	defer w.namesMu.Unlock()
	now := w.names.Load()
	if w.syncedNames.Load() == now {
		return nil // by whoever held the lock before
	}
	if err := w.fs.SyncDir(w.dir.path); err != nil {
		return err
	}
	w.syncedNames.Store(now)
	return nil
}

// WriteBack is only to speed up what follows; errors will be found by whoever syncs.
func (w *watchedFS) WriteBack(name string) error { return w.fs.WriteBack(name) }

// check passes err through and takes the directory offline for it, unless it
// is one of the tolerated answers that say nothing about the disk's health.
// That the process has too many files open never says anything about it.
func (w *watchedFS) check(err error, tolerated ...error) error {
	if err == nil || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return err
	}
	for _, t := range tolerated {
		if errors.Is(err, t) {
			return err
		}
	}
	w.dir.fail(err)
	return err
}

// withReserve does op, and again after each part of the reserve that is given up
// for it, until there is room or no reserve left.
func (w *watchedFS) withReserve(op func() error) error {
	err := op()
	for vfs.NoRoom(err) && w.dir.room.lend(err) {
		err = op()
	}
	return err
}

// checkRoom is check for operations that a full disk may refuse. An fsync is none
// of them: what it has no room for was accepted before, and is lost.
func (w *watchedFS) checkRoom(err error, tolerated ...error) error {
	if vfs.NoRoom(err) {
		w.dir.room.ranOut(err)
		return err
	}
	return w.check(err, tolerated...)
}

func (w *watchedFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := w.dir.err(); err != nil {
		return nil, err
	}
	var f vfs.File
	err := w.withReserve(func() (err error) {
		f, err = w.fs.OpenFile(name, flag, perm)
		return err
	})
	if flag&os.O_CREATE != 0 {
		w.named(name)
	}
	if err != nil {
		if flag&os.O_CREATE != 0 {
			// A file that cannot be created because the path to it is gone is a failure.
			return nil, w.checkRoom(err, fs.ErrExist)
		}
		return nil, w.check(err, fs.ErrNotExist)
	}
	watched := &watchedFile{File: f, fs: w, records: holdsRecords(name)}
	if osf, ok := f.(vfs.OSFiler); ok {
		return &watchedOSFile{watchedFile: watched, OSFiler: osf}, nil
	}
	return watched, nil
}

func (w *watchedFS) MkdirAll(name string, perm fs.FileMode) error {
	if err := w.dir.err(); err != nil {
		return err
	}
	err := w.withReserve(func() error { return w.fs.MkdirAll(name, perm) })
	w.names.Add(1) // it may have made several levels
	return w.checkRoom(err)
}

func (w *watchedFS) Remove(name string) error {
	if err := w.dir.err(); err != nil {
		return err
	}
	err := w.withReserve(func() error { return w.fs.Remove(name) }) // which may need room where blocks are never overwritten
	w.named(name)
	return w.checkRoom(err, fs.ErrNotExist)
}

func (w *watchedFS) RemoveAll(name string) error {
	if err := w.dir.err(); err != nil {
		return err
	}
	err := w.withReserve(func() error { return w.fs.RemoveAll(name) })
	w.named(name)
	return w.checkRoom(err)
}

func (w *watchedFS) Rename(oldName, newName string) error {
	if err := w.dir.err(); err != nil {
		return err
	}
	err := w.withReserve(func() error { return w.fs.Rename(oldName, newName) })
	w.named(oldName, newName)
	return w.checkRoom(err, fs.ErrNotExist)
}

func (w *watchedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := w.dir.err(); err != nil {
		return nil, err
	}
	entries, err := w.fs.ReadDir(name)
	return entries, w.check(err, fs.ErrNotExist)
}

func (w *watchedFS) Stat(name string) (fs.FileInfo, error) {
	if err := w.dir.err(); err != nil {
		return nil, err
	}
	info, err := w.fs.Stat(name)
	return info, w.check(err, fs.ErrNotExist)
}

func (w *watchedFS) SetModTime(name string, modified time.Time) error {
	if err := w.dir.err(); err != nil {
		return err
	}
	return w.checkRoom(w.fs.SetModTime(name, modified), fs.ErrNotExist)
}

func (w *watchedFS) SyncDir(name string) error {
	if err := w.dir.err(); err != nil {
		return err
	}
	if name == w.dir.path {
		return w.check(w.syncNames())
	}
	if err := w.fs.SyncDir(name); err != nil {
		return w.check(err)
	}
	return w.check(w.syncNames())
}

// Lock is not watched: whoever takes a log directory's lock does so before the
// directory is in service.
func (w *watchedFS) Lock(name string) (io.Closer, error) { return w.fs.Lock(name) }

func (w *watchedFS) Space(name string) (usable, total int64, err error) {
	if err := w.dir.err(); err != nil {
		return 0, 0, err
	}
	usable, total, err = w.fs.Space(name)
	return usable, total, w.check(err)
}

// watchedFile is a file opened through a watchedFS.
type watchedFile struct {
	vfs.File
	fs      *watchedFS
	records bool // a segment's, which the reserve is not for
}

// holdsRecords reports whether a file has the records themselves: a segment's, or
// what compaction is about to put in the place of one. Its indexes are small.
func holdsRecords(name string) bool {
	return filepath.Ext(strings.TrimSuffix(name, ".cleaned")) == ".log"
}

// watchedOSFile is a watchedFile over a real file, which sendfile can use.
type watchedOSFile struct {
	*watchedFile
	vfs.OSFiler
}

func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.dir.err(); err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, off)
	if err != nil {
		err = f.fs.check(err, io.EOF, fs.ErrClosed)
	}
	return n, err
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.dir.err(); err != nil {
		return 0, err
	}
	n, err := f.File.WriteAt(p, off)
	if vfs.NoRoom(err) && !f.records {
		err = f.fs.withReserve(func() error {
			n, err = f.File.WriteAt(p, off)
			return err
		})
	}
	if err != nil {
		err = f.fs.checkRoom(err, fs.ErrClosed)
	}
	return n, err
}

func (f *watchedFile) Truncate(size int64) error {
	if err := f.fs.dir.err(); err != nil {
		return err
	}
	err := f.fs.withReserve(func() error { return f.File.Truncate(size) })
	return f.fs.checkRoom(err, fs.ErrClosed)
}

func (f *watchedFile) Allocate(size int64) error {
	if err := f.fs.dir.err(); err != nil {
		return err
	}
	return f.fs.checkRoom(f.File.Allocate(size), fs.ErrClosed)
}

func (f *watchedFile) Sync() error {
	if err := f.fs.dir.err(); err != nil {
		return err
	}
	if err := f.File.Sync(); err != nil {
		return f.fs.check(err, fs.ErrClosed)
	}
	return f.fs.check(f.fs.syncNames())
}

func (f *watchedFile) Size() (int64, error) {
	if err := f.fs.dir.err(); err != nil {
		return 0, err
	}
	n, err := f.File.Size()
	if err != nil {
		err = f.fs.check(err, fs.ErrClosed)
	}
	return n, err
}

// Close always closes. What was not synced by then was never promised, so an
// error says nothing that a directory should go offline for.
func (f *watchedFile) Close() error { return f.File.Close() }
