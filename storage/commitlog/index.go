package commitlog

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// blockSize is how much of a file is read at once to find something in it.
const blockSize = 4096

// blocks lends buffers of blockSize bytes.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// entryFile is what the offset and the time index have in common: a file of
// entries of one width in ascending order, of which the newest ones are still in
// memory.
//
// Kafka gives a new index its full size at once (a sparse file, all zeros) and
// cuts it to what is used when the segment is sealed or the log closed. After a
// crash the size therefore says nothing; but an entry of zeros can only be one
// that was never written, so that the true length can be found.
//
// Entries reach the file in blocks, and when the segment is sealed; on a full disk
// they wait in memory. A crash may lose those that do: the active segment's indexes
// are rebuilt after it in any case.
//
// Concurrency: one appender, many readers; mu guards the fields.
type entryFile struct {
	file  *cachedFile
	width int
	max   int // entries

	mu    sync.RWMutex
	held  bool         // there is no file before seal
	near  atomic.Int32 // the entry in the file that was found last, or one that was cut
	count int          // entries, in the file and in tail; −1 until somebody asks
	tail  []byte       // entries that are not in the file yet, always the last ones
}

// create makes the file, as large as it may become.
func (e *entryFile) create() error {
	e.count = 0
	file, err := e.file.create()
	if err != nil {
		return err
	}
	defer e.file.release()
	if err := file.Truncate(0); err != nil {
		return err
	}
	return file.Truncate(int64(e.max * e.width))
}

// len returns the number of entries.
func (e *entryFile) len() (int, error) {
	e.mu.RLock()
	n := e.count
	e.mu.RUnlock()
	if n >= 0 {
		return n, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.load()
}

// open returns the file, to be released, and how many entries its size allows.
func (e *entryFile) open() (file vfs.File, room int, err error) {
	file, err = e.file.acquire()
	if err != nil {
		return nil, 0, err
	}
	size, err := file.Size()
	if err != nil {
		e.file.release()
		return nil, 0, err
	}
	return file, int(size) / e.width, nil
}

// load finds the number of entries in the file. mu must be held for writing.
func (e *entryFile) load() (int, error) {
	if e.count >= 0 {
		return e.count, nil
	}
	file, n, err := e.open()
	if err != nil {
		return 0, err
	}
	defer e.file.release()
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	unwritten := func(i int) bool {
		if err == nil {
			err = readFull(file, block[:e.width], int64(i*e.width))
		}
		return err == nil && !slices.ContainsFunc(block[:e.width], func(b byte) bool { return b != 0 })
	}
	// No file has room for only one entry unless it was cut; then zeros are an entry.
	if n > 1 && unwritten(n-1) {
		n = sort.Search(n-1, unwritten)
	}
	if err != nil {
		return 0, err
	}
	e.count = n
	return n, nil
}

// append adds an entry, which must be greater than the last one.
func (e *entryFile) append(entry []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.load(); err != nil {
		return err
	}
	e.tail = append(e.tail, entry...)
	e.count++
	if len(e.tail) > blockSize-e.width && !e.held {
		if err := e.flushLocked(); !vfs.NoRoom(err) {
			return err
		}
	}
	return nil
}

// flushLocked writes the entries that are only in memory. mu must be held.
func (e *entryFile) flushLocked() error {
	if len(e.tail) == 0 {
		return nil
	}
	file, err := e.file.acquire()
	if err != nil {
		return err
	}
	defer e.file.release()
	if _, err := file.WriteAt(e.tail, int64(e.count*e.width-len(e.tail))); err != nil {
		return err
	}
	e.tail = e.tail[:0]
	return nil
}

// hold empties the index and removes its file. Entries are kept in memory, and seal
// makes a file of all of them at once, so that there is none that is not whole.
func (e *entryFile) hold() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held, e.count, e.tail = true, 0, nil
	return e.file.remove()
}

// seal writes what is only in memory and cuts the file to what is used.
func (e *entryFile) seal() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held {
		if err := e.file.replace(e.tail); err != nil {
			return err
		}
		e.held, e.tail = false, nil
		return nil
	}
	n, err := e.load()
	if err != nil {
		return err
	}
	if err := e.flushLocked(); err != nil {
		return err
	}
	e.tail = nil
	return e.file.truncate(int64(n * e.width))
}

// cut keeps the first n entries.
func (e *entryFile) cut(n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n == 0 {
		e.count, e.tail = 0, nil // whatever is in the file
	} else if _, err := e.load(); err != nil {
		return err
	}
	inFile := e.count - len(e.tail)/e.width
	if n > inFile {
		e.tail = e.tail[:(n-inFile)*e.width]
	} else {
		inFile, e.tail = n, e.tail[:0]
	}
	e.count = n
	return e.file.truncate(int64(inFile * e.width))
}

// keep cuts the index behind the first entries for which valid is true, whatever
// comes after them. It is for an index of which, after a crash, only the beginning
// can be trusted.
func (e *entryFile) keep(valid func(entry []byte) bool) (n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	file, room, err := e.open()
	if err != nil {
		return 0, err
	}
	defer e.file.release()
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	for more := true; more && n < room; {
		entries := block[:min(blockSize/e.width, room-n)*e.width]
		if err := readFull(file, entries, int64(n*e.width)); err != nil {
			return 0, err
		}
		for entry := range slices.Chunk(entries, e.width) {
			if more = valid(entry); !more {
				break
			}
			n++
		}
	}
	e.count, e.tail = n, nil
	return n, file.Truncate(int64(n * e.width))
}

// flush writes what is only in memory.
func (e *entryFile) flush() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flushLocked()
}

// reset empties the index, whatever is in the file.
func (e *entryFile) reset() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count, e.tail = 0, e.tail[:0]
	file, err := e.file.create()
	if err != nil {
		return err
	}
	defer e.file.release()
	return file.Truncate(0)
}

// read copies entry i, which must exist, to dst.
func (e *entryFile) read(i int, dst []byte) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.readLocked(i, dst)
}

func (e *entryFile) readLocked(i int, dst []byte) error {
	inFile := e.count - len(e.tail)/e.width
	if i >= inFile {
		copy(dst, e.tail[(i-inFile)*e.width:][:e.width])
		return nil
	}
	return e.file.with(func(f vfs.File) error { return readFull(f, dst[:e.width], int64(i*e.width)) })
}

// search finds the last entry for which below is true, copies it to dst and
// returns its number, −1 if there is none. below must be true for some of the
// first entries and false for all others.
func (e *entryFile) search(below func(entry []byte) bool, dst []byte) (int, error) {
	if _, err := e.len(); err != nil {
		return -1, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	inFile := e.count - len(e.tail)/e.width
	if len(e.tail) > 0 && below(e.tail[:e.width]) {
		i := searchEntries(e.tail, e.width, below)
		copy(dst, e.tail[i*e.width:][:e.width])
		return inFile + i, nil
	}
	if inFile == 0 {
		return -1, nil
	}
	file, err := e.file.acquire()
	if err != nil {
		return -1, err
	}
	defer e.file.release()
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	i, err := e.searchFile(file, inFile, below, block, dst)
	if err == nil {
		e.near.Store(int32(max(i, 0)))
	}
	return i, err
}

// searchFile is search in the first inFile entries, which are in the file. mu must be held.
func (e *entryFile) searchFile(file vfs.File, inFile int, below func(entry []byte) bool, block *[blockSize]byte, dst []byte) (int, error) {
	perBlock := blockSize / e.width
	// Readers go forward: first where the last search found something, or a little before.
	near := max(0, min(int(e.near.Load()), inFile)-perBlock/8)
	if i, is, err := e.searchBlock(file, near, inFile, below, block, dst); is || err != nil {
		return i, err
	}
	// Then by the first entries of blocks.
	lo, hi := 0, (inFile+perBlock-1)/perBlock // the first entries before lo are below
	for lo < hi {
		mid := lo + (hi-lo)/2
		first := block[:e.width]
		if err := readFull(file, first, int64(mid*perBlock*e.width)); err != nil {
			return -1, err
		}
		if below(first) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return -1, nil
	}
	i, _, err := e.searchBlock(file, (lo-1)*perBlock, inFile, below, block, dst)
	return i, err
}

// searchBlock is search in the block of entries from start on. is says whether what it
// returns is so for all of the file.
func (e *entryFile) searchBlock(file vfs.File, start, inFile int, below func(entry []byte) bool, block *[blockSize]byte, dst []byte) (i int, is bool, err error) {
	end := min(start+blockSize/e.width, inFile)
	if start >= end {
		return -1, false, nil
	}
	entries := block[:(end-start)*e.width]
	if err := readFull(file, entries, int64(start*e.width)); err != nil {
		return -1, false, err
	}
	if !below(entries[:e.width]) {
		return -1, start == 0, nil
	}
	i = searchEntries(entries, e.width, below)
	copy(dst, entries[i*e.width:][:e.width])
	return start + i, start+i+1 < end || end == inFile, nil
}

// searchEntries returns the number of the last entry that is below; the first
// one must be.
func searchEntries(entries []byte, width int, below func([]byte) bool) int {
	lo, hi := 1, len(entries)/width
	for lo < hi {
		mid := lo + (hi-lo)/2
		if below(entries[mid*width:][:width]) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// readFull is ReadAt that takes a short file for an error.
func readFull(f vfs.File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: io.ErrUnexpectedEOF}
	}
	return err
}
