package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// AbortedTxn is a transaction that a read_committed consumer must skip.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64 // the ABORT marker's
	// LastStableOffset is, at the time of the marker, the lowest first offset
	// among other producers' open transactions, else LastOffset + 1.
	LastStableOffset int64
}

// txnIndex lists the transactions whose ABORT marker is in this segment, in
// order of the markers. An entry is 34 bytes: i16 version 0, and the four fields
// of AbortedTxn as i64. The file exists only if there is an entry. On a full disk
// entries wait in memory until there is room, or until the segment is sealed; after
// a crash the active segment's index is rebuilt.
//
// Concurrency: one appender, many readers; mu guards the fields.
type txnIndex struct {
	file *cachedFile

	mu    sync.RWMutex
	count int    // entries in the file; −1 until somebody asks
	tail  []byte // entries that are not in the file, never changed but replaced
}

const txnEntrySize = 34

// errTxnIndex says that a transaction index is not what Kafka writes; it is
// rebuilt from the log.
var errTxnIndex = errors.New("transaction index is corrupt")

// init says whether the file exists.
func (x *txnIndex) init(f *cachedFile, exists bool) {
	x.file = f
	if exists {
		x.count = -1
	}
}

func (x *txnIndex) exists() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count != 0 || len(x.tail) > 0
}

func (x *txnIndex) add(t *producerstate.CompletedTxn) error {
	return x.addTxn(AbortedTxn{ProducerID: t.ProducerID, FirstOffset: t.FirstOffset, LastOffset: t.LastOffset, LastStableOffset: t.LastStableOffset})
}

func (x *txnIndex) addTxn(t AbortedTxn) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var e [txnEntrySize]byte
	for i, v := range []int64{t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset} {
		binary.BigEndian.PutUint64(e[2+8*i:], uint64(v))
	}
	x.tail = append(slices.Clip(x.tail), e[:]...)
	if err := x.flushLocked(); !vfs.NoRoom(err) {
		return err
	}
	return nil
}

// waits reports whether there are entries that are not in the file, which may not
// be there yet.
func (x *txnIndex) waits() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.tail) > 0
}

// flush writes what is only in memory.
func (x *txnIndex) flush() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flushLocked()
}

// flushLocked must be called with mu held.
func (x *txnIndex) flushLocked() error {
	if len(x.tail) == 0 {
		return nil
	}
	file, err := x.file.create()
	if err != nil {
		return err
	}
	defer x.file.release()
	n, err := x.inFile(file)
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(x.tail, int64(n*txnEntrySize)); err != nil {
		return err
	}
	x.count, x.tail = n+len(x.tail)/txnEntrySize, nil
	return nil
}

// inFile is the number of entries in the file. mu must be held.
func (x *txnIndex) inFile(file vfs.File) (int, error) {
	if x.count >= 0 {
		return x.count, nil
	}
	size, err := file.Size()
	return int(size) / txnEntrySize, err
}

func parseTxn(e []byte) (AbortedTxn, error) {
	if v := binary.BigEndian.Uint16(e); v != 0 {
		return AbortedTxn{}, fmt.Errorf("%w: version %d", errTxnIndex, v)
	}
	field := func(i int) int64 { return int64(binary.BigEndian.Uint64(e[2+8*i:])) }
	return AbortedTxn{ProducerID: field(0), FirstOffset: field(1), LastOffset: field(2), LastStableOffset: field(3)}, nil
}

// each calls yield with every entry until it returns false.
func (x *txnIndex) each(yield func(i int, t AbortedTxn) bool) error {
	x.mu.RLock()
	count, tail := x.count, x.tail
	x.mu.RUnlock()
	if count != 0 {
		n, more, err := x.eachInFile(count, yield)
		if err != nil || !more {
			return err
		}
		count = n
	}
	_, err := eachTxn(count, tail, yield)
	return err
}

// eachInFile is each for the entries in the file, and returns how many there are;
// count is −1 if that is not known. more is false if yield was.
func (x *txnIndex) eachInFile(count int, yield func(i int, t AbortedTxn) bool) (n int, more bool, err error) {
	file, err := x.file.acquire()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer x.file.release()
	if n = count; n < 0 {
		size, err := file.Size()
		if err != nil {
			return 0, false, err
		}
		n = int(size) / txnEntrySize
	}
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	const perBlock = blockSize / txnEntrySize
	for i := 0; i < n; i += perBlock {
		entries := block[:min(perBlock, n-i)*txnEntrySize]
		if err := readFull(file, entries, int64(i*txnEntrySize)); err != nil {
			return 0, false, err
		}
		if more, err := eachTxn(i, entries, yield); err != nil || !more {
			return 0, false, err
		}
	}
	return n, true, nil
}

// eachTxn calls yield with entries, the first of which has number i.
func eachTxn(i int, entries []byte, yield func(i int, t AbortedTxn) bool) (more bool, err error) {
	for ; len(entries) > 0; i, entries = i+1, entries[txnEntrySize:] {
		t, err := parseTxn(entries)
		if err != nil {
			return false, err
		}
		if !yield(i, t) {
			return false, nil
		}
	}
	return true, nil
}

// collect appends the transactions that overlap [from, upper) to dst. done says
// that no later segment can have one.
func (x *txnIndex) collect(dst []AbortedTxn, from, upper int64) (_ []AbortedTxn, done bool, err error) {
	err = x.each(func(_ int, t AbortedTxn) bool {
		if t.LastOffset >= from && t.FirstOffset < upper {
			dst = append(dst, t)
		}
		done = t.LastStableOffset >= upper
		return !done
	})
	return dst, done, err
}

// check reports errTxnIndex if the entries cannot belong to a segment that begins
// at base.
func (x *txnIndex) check(base int64) error {
	last := base - 1
	var bad error
	err := x.each(func(i int, t AbortedTxn) bool {
		if t.LastOffset <= last || t.FirstOffset > t.LastOffset {
			bad = fmt.Errorf("%w: entry %d has offsets %d to %d", errTxnIndex, i, t.FirstOffset, t.LastOffset)
		}
		last = t.LastOffset
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	return err
}

// truncate drops the transactions whose marker is at offset or above.
func (x *txnIndex) truncate(offset int64) error {
	if !x.exists() {
		return nil
	}
	keep := 0
	if err := x.each(func(i int, t AbortedTxn) bool {
		if t.LastOffset < offset {
			keep = i + 1
		}
		return t.LastOffset < offset
	}); err != nil {
		return err
	}
	return x.cut(keep)
}

// cut keeps the first n entries.
func (x *txnIndex) cut(n int) error {
	if !x.exists() {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if n == 0 {
		x.tail = nil
	}
	file, err := x.file.acquire()
	if errors.Is(err, fs.ErrNotExist) {
		x.tail = x.tail[:n*txnEntrySize] // all of it
		return nil
	}
	if err != nil {
		return err
	}
	defer x.file.release()
	inFile, err := x.inFile(file)
	if err != nil {
		return err
	}
	if n > inFile {
		x.tail = x.tail[:(n-inFile)*txnEntrySize]
	} else {
		inFile, x.tail = n, nil
	}
	x.count = inFile
	if inFile == 0 {
		x.count = -1 // the file is there, empty
	}
	return file.Truncate(int64(inFile * txnEntrySize))
}
