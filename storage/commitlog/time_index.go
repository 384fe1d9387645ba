package commitlog

import (
	"encoding/binary"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// timeIndex maps timestamps to offsets. An entry is 12 bytes:
//
//	i64 the greatest timestamp so far, ms
//	i32 last offset of the batch that brought it, minus the base offset
//
// Entries are added together with those of the offset index, if the timestamp
// has grown since the last one. A sealed segment's last entry is its greatest
// timestamp.
type timeIndex struct {
	entryFile
	base    int64
	scratch [timeEntrySize]byte // of add: for an append must not allocate
}

const timeEntrySize = 12

// stamp is a timestamp and the last offset of the first batch that reached it.
type stamp struct {
	timestamp int64
	offset    int64
}

func (x *timeIndex) init(f *cachedFile, base int64, maxBytes int32) {
	x.entryFile = entryFile{file: f, width: timeEntrySize, max: int(maxBytes) / timeEntrySize, count: -1}
	x.base = base
}

// full leaves one entry free, for the last one of a sealed segment.
func (x *timeIndex) full() (bool, error) {
	n, err := x.len()
	return n >= x.max-1, err
}

// add adds an entry if the timestamp is greater than the last one.
func (x *timeIndex) add(s stamp) error {
	last, err := x.lastInto(x.scratch[:])
	if err != nil || s.timestamp <= last.timestamp {
		return err
	}
	var e [timeEntrySize]byte
	binary.BigEndian.PutUint64(e[:], uint64(s.timestamp))
	binary.BigEndian.PutUint32(e[8:], uint32(s.offset-x.base))
	return x.append(e[:])
}

func (x *timeIndex) parse(e []byte) stamp {
	return stamp{
		timestamp: int64(binary.BigEndian.Uint64(e)),
		offset:    x.base + int64(int32(binary.BigEndian.Uint32(e[8:]))),
	}
}

// last returns the last entry; with none, no timestamp at the base offset.
func (x *timeIndex) last() (stamp, error) {
	return x.lastInto(make([]byte, timeEntrySize))
}

func (x *timeIndex) lastInto(e []byte) (stamp, error) {
	n, err := x.len()
	if err != nil || n == 0 {
		return stamp{record.NoTimestamp, x.base}, err
	}
	if err := x.read(n-1, e); err != nil {
		return stamp{}, err
	}
	return x.parse(e), nil
}

// lookup returns the greatest entry whose timestamp is ≤ the one given: every
// batch before its offset is older. Without one, the segment's beginning.
func (x *timeIndex) lookup(timestamp int64) (stamp, error) {
	var e [timeEntrySize]byte
	i, err := x.search(func(e []byte) bool { return x.parse(e).timestamp <= timestamp }, e[:])
	if err != nil || i < 0 {
		return stamp{record.NoTimestamp, x.base}, err
	}
	return x.parse(e[:]), nil
}

// truncate drops the entries of offset and above.
func (x *timeIndex) truncate(offset int64) error {
	var e [timeEntrySize]byte
	i, err := x.search(func(e []byte) bool { return x.parse(e).offset < offset }, e[:])
	if err != nil {
		return err
	}
	return x.cut(i + 1)
}
