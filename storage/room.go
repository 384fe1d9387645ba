package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// reserveFile keeps room on the disk that nobody else can take. A plain file it
// is because Kafka ignores those in a log directory.
const reserveFile = "gracchus-reserve"

const (
	// reserveStep is how much of the reserve is given up at a time, so that a
	// neighbour on the same disk does not get it all for one small file.
	reserveStep = 256 << 10
	// leastHeadroom is what must be free beside the reserve before appends go on,
	// even if the reserve is smaller.
	leastHeadroom = 1 << 20
)

// room looks after the space of one log directory.
//
// A full disk has not failed. Records are refused, and everything else must go
// on: what is written for reading, deleting, starting and stopping is small, and
// has the reserve. A write that finds no room is done again after a part of the
// reserve was given up, as often as there is some; records never are. Its default,
// 16 MiB, is what a clean stop writes for a thousand partitions: about three blocks
// for each one that was written to, and the checkpoints.
//
// From the first operation that finds no room the directory counts as full:
// appends are refused before they touch the disk, or they would take what the
// reserve gave up. It is over when the reserve is whole again, with as much free
// beside it, and the checkpoints that could not be written are. Maintenance sees
// to that, see [Store.makeRoom].
//
// Concurrency: any goroutine, with any lock held; mu is held for operations on the
// reserve alone.
type room struct {
	dir    *directory
	fs     vfs.FS // unwatched
	logger *slog.Logger
	size   int64 // of the reserve, bytes; 0: there is none

	full atomic.Bool
	wake chan struct{} // tells maintenance that it is full; has room for one

	mu   sync.Mutex
	held int64 // bytes of the reserve that are there
}

func (r *room) reserve() string { return r.dir.join(reserveFile) }

// check is nil unless the directory is full. Then the error satisfies vfs.NoRoom.
func (r *room) check() error {
	if !r.full.Load() {
		return nil
	}
	return fmt.Errorf("log directory %s is full: %w", r.dir.path, vfs.ErrNoSpace)
}

// ranOut notes that there was no room for something.
func (r *room) ranOut(err error) {
	if r.full.Swap(true) {
		return
	}
	r.logger.Error("log directory is full: appends are refused until there is room; reads, deletes and retention go on. Delete topics or records, shorten retention, or enlarge the disk",
		"dir", r.dir.path, "free", r.free(), "to go on", r.size-r.holds()+r.headroom(), "err", err)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// lend gives up a part of the reserve for something that has found no room, and
// reports whether there was any.
func (r *room) lend(err error) bool {
	r.ranOut(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == 0 || r.cut(max(0, r.held-reserveStep)) != nil {
		return false
	}
	return true
}

// cut makes the reserve smaller. mu must be held.
func (r *room) cut(size int64) error {
	f, err := r.fs.OpenFile(r.reserve(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	r.held = size
	return nil
}

// find learns what an earlier process has left of the reserve.
func (r *room) find() {
	if info, err := r.fs.Stat(r.reserve()); err == nil {
		r.held = info.Size()
	}
}

// begin makes the reserve as large as it is to be. Without room for that the
// directory is full.
func (r *room) begin() error {
	r.mu.Lock()
	err := r.adjust(0)
	r.mu.Unlock()
	if vfs.NoRoom(err) {
		r.ranOut(err)
		return nil
	}
	return err
}

// restore makes the reserve whole if there is room for it and as much again. What
// counts is that the blocks can be had: what statfs says knows nothing of quotas.
func (r *room) restore() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	usable, _, err := r.fs.Space(r.dir.path)
	if err == nil && usable < r.size-r.held+r.headroom() {
		return false // not to take the last blocks from somebody, if only for a moment
	}
	return r.adjust(r.headroom()) == nil
}

// adjust makes the reserve whole, and makes sure of extra bytes beside it. mu must
// be held.
func (r *room) adjust(extra int64) error {
	if r.size+extra == 0 {
		return r.remove()
	}
	f, err := r.fs.OpenFile(r.reserve(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	size := r.size
	if err = f.Allocate(r.size + extra); err != nil {
		size = min(r.held, r.size)
	}
	err = errors.Join(err, f.Truncate(size))
	r.held = size
	if err == nil && r.size == 0 {
		return r.remove()
	}
	return err
}

func (r *room) remove() error {
	err := r.fs.Remove(r.reserve())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.held = 0
	return nil
}

// over says that appends may go on.
func (r *room) over() {
	if r.full.Swap(false) {
		r.logger.Info("log directory has room again: appends go on", "dir", r.dir.path, "free", r.free())
	}
}

func (r *room) headroom() int64 { return max(r.size, leastHeadroom) }

func (r *room) holds() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// free is the number of bytes that are free, for messages; -1 if unknown.
func (r *room) free() int64 {
	usable, _, err := r.fs.Space(r.dir.path)
	if err != nil {
		return -1
	}
	return usable
}
