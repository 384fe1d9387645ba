package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/gracchus-mq/gracchus/storage/producerstate"
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
// of AbortedTxn as i64. The file exists only if there is an entry.
//
// Concurrency: one appender, many readers; mu guards count.
type txnIndex struct {
	file *cachedFile

	mu    sync.RWMutex
	count int // entries; −1 until somebody asks
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
	return x.count != 0
}

func (x *txnIndex) add(t *producerstate.CompletedTxn) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	file, err := x.file.create()
	if err != nil {
		return err
	}
	defer x.file.release()
	if x.count < 0 {
		size, err := file.Size()
		if err != nil {
			return err
		}
		x.count = int(size) / txnEntrySize
	}
	var e [txnEntrySize]byte
	for i, v := range []int64{t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset} {
		binary.BigEndian.PutUint64(e[2+8*i:], uint64(v))
	}
	if _, err := file.WriteAt(e[:], int64(x.count*txnEntrySize)); err != nil {
		return err
	}
	x.count++
	return nil
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
	if !x.exists() {
		return nil
	}
	file, err := x.file.acquire()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer x.file.release()
	size, err := file.Size()
	if err != nil {
		return err
	}
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	n := int(size) / txnEntrySize
	const perBlock = blockSize / txnEntrySize
	for i := 0; i < n; i += perBlock {
		entries := block[:min(perBlock, n-i)*txnEntrySize]
		if err := readFull(file, entries, int64(i*txnEntrySize)); err != nil {
			return err
		}
		for j := 0; len(entries) > 0; j, entries = j+1, entries[txnEntrySize:] {
			t, err := parseTxn(entries)
			if err != nil {
				return err
			}
			if !yield(i+j, t) {
				return nil
			}
		}
	}
	return nil
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
	file, err := x.file.create()
	if err != nil {
		return err
	}
	defer x.file.release()
	x.count = n
	if n == 0 {
		x.count = -1 // the file is there, empty
	}
	return file.Truncate(int64(n * txnEntrySize))
}
