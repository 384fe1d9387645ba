package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// lockFile is held while a broker uses the directory. Kafka's broker locks the
// same file; neither starts on a directory that the other one is using.
const lockFile = ".lock"

// directory is one of the paths in log.dirs.
//
// It is online until the first I/O error on any file in it and never comes back
// while the process runs; that there is no room is none, see room. Going offline is a single atomic step that any
// goroutine may take in the middle of an operation; the store's failure loop
// then draws the consequences.
type directory struct {
	path string     // absolute
	fs   *watchedFS // for everything in the directory
	room room

	failure atomic.Pointer[error] // why it is offline; nil while online
	failed  chan<- *directory     // told once, never blocks: it has room for every directory

	meta    Meta // guarded by the store's start-up, which is single-threaded
	hasMeta bool

	// Written by Load and read by Stop.
	clean    bool         // the clean-shutdown marker was there
	loaded   atomic.Bool  // every log has been opened
	tainted  atomic.Bool  // some log could not be opened or closed: no marker any more
	unlocked sync.Once    // guards lock's Close
	lock     io.Closer    // nil when the lock could not be taken
	present  atomic.Int32 // partitions here, those being created included; decides where new ones go

	checkpoints checkpoints
	removals    removals
	kick        chan struct{} // asks for checkpoints soon; has room for one
	flushKick   chan struct{} // asks to look at flush.ms again; has room for one
}

func newDirectory(path string, fsys vfs.FS, reserve int64, failed chan<- *directory, logger *slog.Logger) *directory {
	d := &directory{path: path, failed: failed, kick: make(chan struct{}, 1), flushKick: make(chan struct{}, 1)}
	d.fs = &watchedFS{fs: fsys, dir: d}
	d.room = room{dir: d, fs: fsys, size: reserve, logger: logger, wake: make(chan struct{}, 1)}
	d.checkpoints.dir = d
	return d
}

// err is nil while the directory is online. Afterwards it wraps
// kerr.KafkaStorageError and says which directory failed, not why: the cause is
// logged once.
func (d *directory) err() error {
	if d.failure.Load() == nil {
		return nil
	}
	return fmt.Errorf("log directory %s is offline: %w", d.path, kerr.KafkaStorageError)
}

func (d *directory) online() bool { return d.failure.Load() == nil }

// cause is the error that took the directory offline, nil while it is online.
func (d *directory) cause() error {
	if p := d.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail takes the directory offline; only the first error counts. It never
// blocks and may be called with any lock held.
func (d *directory) fail(err error) {
	if d.failure.CompareAndSwap(nil, &err) {
		d.failed <- d
	}
}

// blame takes the directory offline for what an operation on it came to, unless
// there was only no room for it.
func (d *directory) blame(err error) {
	if !vfs.NoRoom(err) {
		d.fail(err)
	}
}

// storageError makes err one that wraps kerr.KafkaStorageError.
func storageError(err error) error {
	if errors.Is(err, kerr.KafkaStorageError) {
		return err
	}
	return fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
}

func (d *directory) join(name string) string { return filepath.Join(d.path, name) }

// prepare creates the directory where it is missing, takes its lock and reads
// its meta.properties. An I/O error takes the directory offline and is no error
// here; what is returned must stop the broker from starting.
func (d *directory) prepare() error {
	if err := d.ensure(); err != nil {
		d.fail(err)
		return nil
	}
	lock, err := d.fs.Lock(d.join(lockFile))
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return fmt.Errorf("log directory %s is in use: another broker, Gracchus or Kafka, holds its lock (or log.dirs names it twice)", d.path)
	case err != nil:
		d.fail(fmt.Errorf("lock: %w", err))
		return nil
	}
	d.lock = lock
	d.room.find()
	return d.readMeta()
}

// ensure makes sure that the directory is there and can be listed.
func (d *directory) ensure() error {
	info, err := d.fs.Stat(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.create()
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", d.path)
	}
	_, err = d.fs.ReadDir(d.path)
	return err
}

// create makes the directory and whatever is missing of the path to it, and
// makes each new name durable: synced records in a directory that a power loss
// can take away would be worth nothing.
func (d *directory) create() error {
	var holders []string // of a new name each, innermost first
	for name := d.path; ; name = filepath.Dir(name) {
		if _, err := d.fs.Stat(name); err == nil || name == filepath.Dir(name) {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		holders = append(holders, filepath.Dir(name))
	}
	if err := d.fs.MkdirAll(d.path, 0o755); err != nil {
		return err
	}
	for _, holder := range holders {
		if err := d.fs.SyncDir(holder); err != nil {
			return err
		}
	}
	return nil
}

// release gives up the lock, which lets another broker in, and lets the
// operator unmount a failed disk.
func (d *directory) release() {
	d.unlocked.Do(func() {
		if d.lock != nil {
			d.lock.Close()
		}
	})
}
