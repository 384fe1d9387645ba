// Package vfs is the seam between the broker and its disks.
//
// Everything that the broker keeps on disk goes through an [FS]. [OS] is the
// real one. [Mem] keeps a tree in memory and knows what a power loss would
// leave of it. [Faults] stands in front of either and makes operations fail.
//
// The interface has only what a log needs: reads and writes at explicit
// positions (so that many goroutines share one descriptor), durability of file
// content ([File.Sync]) told apart from durability of names ([FS.SyncDir]), an
// exclusive lock that Kafka's own broker respects, and the free space.
package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// FS is a tree of files and directories. All methods may be called by many
// goroutines at once. Errors are *fs.PathError or *os.LinkError values that
// satisfy errors.Is with fs.ErrNotExist, fs.ErrExist and so on.
type FS interface {
	// OpenFile opens name with the os.O_* flags given. os.O_APPEND is not
	// supported: all writes name their position.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// MkdirAll creates a directory and its missing parents. The new names are
	// durable only after SyncDir of the directory that holds each.
	MkdirAll(name string, perm fs.FileMode) error
	// Remove removes a file or an empty directory. Open files stay readable.
	Remove(name string) error
	// RemoveAll removes a tree; a missing name is no error.
	RemoveAll(name string) error
	// Rename moves a file or directory, replacing a file at the new name.
	Rename(oldName, newName string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file or directory.
	Stat(name string) (fs.FileInfo, error)
	// SetModTime sets when a file was last modified, which Stat tells. A power loss
	// may undo it.
	SetModTime(name string, modified time.Time) error
	// SyncDir makes the creations, removals and renames in one directory
	// durable. It says nothing about the content of the files in it.
	SyncDir(name string) error
	// Lock takes an exclusive lock on the file name, creating it if needed, and
	// holds it until the Closer is closed or the process ends. It does not
	// wait: a lock held by anybody else, this process included, is
	// [ErrLocked].
	Lock(name string) (io.Closer, error)
	// Space returns the bytes an unprivileged process can still write and the
	// size, of the file system that holds name.
	Space(name string) (usable, total int64, err error)
	// WriteBack has the file system that holds name write to the disk what it has
	// in memory, and waits for that. It proves nothing about any file, but Sync and
	// SyncDir of many of them have less to wait for.
	WriteBack(name string) error
}

// File is an open file. Its methods may be called by many goroutines at once;
// Close only once nobody uses the file any more.
type File interface {
	io.ReaderAt
	// WriterAt may have written some bytes when it returns an error; it says
	// how many.
	io.WriterAt
	// Truncate cuts the file or extends it with zeros (sparsely).
	Truncate(size int64) error
	// Allocate makes sure that the first size bytes have their blocks on the
	// disk, and extends a shorter file to that size, with bytes that need not be
	// zeros. After an error some of the blocks, and of the size, may be there.
	Allocate(size int64) error
	// Sync makes the content and the size of the file durable. After an error
	// nothing is known about what reached the disk, and a second Sync that
	// succeeds proves nothing: the kernel may have dropped the dirty pages.
	Sync() error
	Size() (int64, error)
	Close() error
	// Name is the name that the file was opened with.
	Name() string
}

// OSFiler is implemented by files that are real ones, which sendfile(2) needs.
type OSFiler interface {
	OSFile() *os.File
}

// ErrNoSpace is what a full disk says.
var ErrNoSpace error = syscall.ENOSPC

// NoRoom reports whether err says that the disk, or the share of it that this
// process may use, is full. Of all errors it is the one that says nothing about
// the disk's health, and the one that goes away.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// WriteFileAtomic replaces the content of name so that after a crash at any
// moment it holds either the old or the new content: it writes name.tmp, makes
// it durable, renames it, and makes the rename durable. Kafka writes its
// checkpoint files the same way.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	if err := ReplaceFile(fsys, name, data); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// ReplaceFile is WriteFileAtomic without its last step: a crash can bring the
// old content back, but never a torn one. After an error the old content is
// there, and what was written of the new one takes up no room.
func ReplaceFile(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	err := WriteFile(fsys, tmp, data, true)
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		fsys.Remove(tmp)
	}
	return err
}

// WriteFile creates or overwrites name with data and, if sync is set, makes
// the content durable (the name is not: see SyncDir).
func WriteFile(fsys FS, name string, data []byte, sync bool) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		_, err = f.WriteAt(data, 0)
	}
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// ReadFile returns the content of name. Files larger than max bytes are
// refused, so that a damaged or foreign file cannot exhaust memory.
func ReadFile(fsys FS, name string, max int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > max {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("file too large")}
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data[:n], nil
}
