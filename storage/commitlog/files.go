package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// FileCache bounds the number of open file descriptors of all logs together: a
// broker may have ten thousand partitions with three files per segment, and most
// of them are idle at any moment.
//
// Which descriptor to close is decided by the clock algorithm, which comes close
// to least recently used: a hand goes round over the open files, spares those
// that were used since it last came by, and closes the first that was not.
//
// Concurrency: taking and giving back a file that is open touches only that
// file's own atomic counter. mu guards the ring and is held neither while opening
// nor while closing.
type FileCache struct {
	max int

	mu   sync.Mutex
	ring []*cachedFile
	hand int
	open int // len(ring) and those being opened
}

// NewFileCache returns a cache that keeps at most max descriptors open, except
// that those in use at one moment are never closed, however many they are.
func NewFileCache(max int) *FileCache { return &FileCache{max: max} }

// Open is the number of descriptors that are open now.
func (c *FileCache) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// reserve makes room for one more descriptor.
func (c *FileCache) reserve() {
	c.mu.Lock()
	var victims []vfs.File
	for c.open >= c.max {
		f := c.evict()
		if f == nil {
			break // all are in use
		}
		victims = append(victims, f)
	}
	c.open++
	c.mu.Unlock()
	for _, f := range victims {
		f.Close() // nothing is lost: writes are in the page cache already
	}
}

func (c *FileCache) unreserve() {
	c.mu.Lock()
	c.open--
	c.mu.Unlock()
}

// evict takes one file that is not in use out of the ring, nil if there is none.
func (c *FileCache) evict() vfs.File {
	for range 2 * len(c.ring) {
		c.hand %= len(c.ring)
		f := c.ring[c.hand]
		if f.used.Swap(false) || !f.mu.TryLock() {
			c.hand++
			continue
		}
		file := f.take()
		f.mu.Unlock()
		if file == nil {
			c.hand++
			continue
		}
		c.unlink(f)
		return file
	}
	return nil
}

func (c *FileCache) add(f *cachedFile) {
	c.mu.Lock()
	f.slot = int32(len(c.ring))
	c.ring = append(c.ring, f)
	c.mu.Unlock()
}

func (c *FileCache) remove(f *cachedFile) {
	c.mu.Lock()
	c.unlink(f)
	c.mu.Unlock()
}

func (c *FileCache) unlink(f *cachedFile) {
	last := len(c.ring) - 1
	c.ring[f.slot] = c.ring[last]
	c.ring[f.slot].slot = f.slot
	c.ring[last] = nil
	c.ring = c.ring[:last]
	c.open--
}

// logDir is a partition's directory, which can be renamed while files in it are
// opened.
type logDir struct {
	fs   vfs.FS
	mu   sync.RWMutex
	path string
	gone bool // it belongs to somebody else now
}

// remove removes a file, unless the directory has been given away.
func (d *logDir) remove(name string) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.gone {
		return nil
	}
	return d.fs.Remove(filepath.Join(d.path, name))
}

// open opens a file for reading and writing, unless the directory has been given
// away: then the name may be another log's.
func (d *logDir) open(name string, flag int) (vfs.File, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	path := filepath.Join(d.path, name)
	if d.gone {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrClosed}
	}
	return d.fs.OpenFile(path, os.O_RDWR|flag, 0o644)
}

// setModTime sets when a file was last modified, unless the directory has been given
// away.
func (d *logDir) setModTime(f *cachedFile, modified time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.gone {
		return fs.ErrClosed
	}
	return d.fs.SetModTime(filepath.Join(d.path, f.name()), modified)
}

func (d *logDir) join(name string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return filepath.Join(d.path, name)
}

func (d *logDir) String() string { return d.join("") }

// cachedFile is a file that is open only while it is used, or as long as the
// cache has room.
//
// Concurrency: refs is −1 while the file is closed, else the number of users.
// Going from −1 upward and from 0 to −1 happens under mu.
type cachedFile struct {
	cache *FileCache
	dir   *logDir

	refs atomic.Int32
	used atomic.Bool // since the clock's hand last came by
	gone atomic.Bool // to be closed for good when the last user is done
	slot int32       // in the ring; guarded by cache.mu

	mu     sync.Mutex
	base   int64 // the file's name is made of these when it is needed
	suffix string
	state  string // see setState
	file   vfs.File
}

func newCachedFile(c *FileCache, dir *logDir, base int64, suffix string) *cachedFile {
	f := &cachedFile{cache: c, dir: dir, base: base, suffix: suffix}
	f.refs.Store(-1)
	return f
}

// acquire returns the open file; it stays open until release. After discard the
// error is fs.ErrClosed.
func (f *cachedFile) acquire() (vfs.File, error) { return f.acquireOr(0) }

// create is acquire for a file that may not exist yet.
func (f *cachedFile) create() (vfs.File, error) { return f.acquireOr(os.O_CREATE) }

func (f *cachedFile) acquireOr(flag int) (vfs.File, error) {
	if f.pin() {
		return f.file, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pin() { // somebody else was faster
		return f.file, nil
	}
	if f.gone.Load() {
		return nil, &fs.PathError{Op: "open", Path: f.dir.join(f.name()), Err: fs.ErrClosed}
	}
	f.cache.reserve()
	file, err := f.dir.open(f.name(), flag)
	if err != nil {
		f.cache.unreserve()
		return nil, err
	}
	f.file = file
	f.used.Store(true)
	f.cache.add(f)
	f.refs.Store(1)
	return file, nil
}

// pin takes one more reference if the file is open.
func (f *cachedFile) pin() bool {
	for {
		n := f.refs.Load()
		if n < 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			if !f.used.Load() {
				f.used.Store(true)
			}
			return true
		}
	}
}

// release ends one acquire.
func (f *cachedFile) release() {
	if f.refs.Add(-1) == 0 && f.gone.Load() {
		f.close()
	}
}

// take closes the file to new users, if it has none, and returns it to be
// closed. mu must be held.
func (f *cachedFile) take() vfs.File {
	if !f.refs.CompareAndSwap(0, -1) {
		return nil
	}
	file := f.file
	f.file = nil
	return file
}

func (f *cachedFile) close() {
	f.mu.Lock()
	file := f.take()
	f.mu.Unlock()
	if file != nil {
		f.cache.remove(f)
		file.Close()
	}
}

// discard closes the file for good, now or when its last user is done.
func (f *cachedFile) discard() {
	f.gone.Store(true)
	f.close()
}

// name must be called with mu held, or while the file is unknown to others.
func (f *cachedFile) name() string { return fileName(f.base, f.suffix) + f.state }

// setState renames the file, so that its name says what is to become of it:
// deletedSuffix, cleanedSuffix or swapSuffix, or nothing for a file of the log. Those
// who have it open keep it.
func (f *cachedFile) setState(state string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dir.mu.RLock()
	defer f.dir.mu.RUnlock()
	if f.dir.gone {
		return &fs.PathError{Op: "rename", Path: filepath.Join(f.dir.path, f.name()), Err: fs.ErrClosed}
	}
	to := fileName(f.base, f.suffix) + state
	if err := f.dir.fs.Rename(filepath.Join(f.dir.path, f.name()), filepath.Join(f.dir.path, to)); err != nil {
		return err
	}
	f.state = state
	return nil
}

// remove removes the file, if there is one. Nobody may be using it; it can be created
// again.
func (f *cachedFile) remove() error {
	f.close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.dir.remove(f.name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// replace gives the file, which nobody may be using, a new content at once: see
// vfs.ReplaceFile.
func (f *cachedFile) replace(data []byte) error {
	f.close()
	return vfs.ReplaceFile(f.dir.fs, f.path(), data)
}

// path is for messages.
func (f *cachedFile) path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dir.join(f.name())
}

// with calls use with the open file.
func (f *cachedFile) with(use func(vfs.File) error) error {
	file, err := f.acquire()
	if err != nil {
		return err
	}
	defer f.release()
	return use(file)
}

func (f *cachedFile) sync() error { return f.with(vfs.File.Sync) }

func (f *cachedFile) truncate(size int64) error {
	return f.with(func(file vfs.File) error { return file.Truncate(size) })
}

func (f *cachedFile) size() (size int64, err error) {
	err = f.with(func(file vfs.File) error {
		size, err = file.Size()
		return err
	})
	return size, err
}

// Kafka's file names: 20 digits of base offset, and what is in the file.
const (
	logSuffix      = ".log"
	indexSuffix    = ".index"
	timeSuffix     = ".timeindex"
	txnSuffix      = ".txnindex"
	snapshotSuffix = ".snapshot"
	deletedSuffix  = ".deleted" // to be removed in a while
	cleanedSuffix  = ".cleaned" // compaction's unfinished output
	swapSuffix     = ".swap"    // compaction's finished output, about to replace segments

	epochsFile   = "leader-epoch-checkpoint"
	metadataFile = "partition.metadata"
)

func fileName(base int64, suffix string) string { return fmt.Sprintf("%020d%s", base, suffix) }
