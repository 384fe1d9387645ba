package commitlog

import "encoding/binary"

// offsetIndex maps offsets to positions in a segment. An entry is 8 bytes:
//
//	i32 last offset of a batch, minus the segment's base offset
//	i32 position where that batch begins
//
// One entry is added per index.interval.bytes of log, so that finding an offset
// is a search here and a short scan of the log.
type offsetIndex struct {
	entryFile
	base int64
}

const offsetEntrySize = 8

func (x *offsetIndex) init(f *cachedFile, base int64, maxBytes int32) {
	x.entryFile = entryFile{file: f, width: offsetEntrySize, max: int(maxBytes) / offsetEntrySize, count: -1}
	x.base = base
}

func (x *offsetIndex) full() (bool, error) {
	n, err := x.len()
	return n >= x.max, err
}

func (x *offsetIndex) add(lastOffset, position int64) error {
	var e [offsetEntrySize]byte
	binary.BigEndian.PutUint32(e[:], uint32(lastOffset-x.base))
	binary.BigEndian.PutUint32(e[4:], uint32(position))
	return x.append(e[:])
}

func (x *offsetIndex) parse(e []byte) (offset, position int64) {
	return x.base + int64(int32(binary.BigEndian.Uint32(e))), int64(int32(binary.BigEndian.Uint32(e[4:])))
}

// lookup returns the greatest entry whose offset is ≤ the one given; without one,
// the segment's beginning.
func (x *offsetIndex) lookup(offset int64) (at, position int64, err error) {
	var e [offsetEntrySize]byte
	i, err := x.search(func(e []byte) bool { o, _ := x.parse(e); return o <= offset }, e[:])
	if err != nil || i < 0 {
		return x.base, 0, err
	}
	at, position = x.parse(e[:])
	return at, position, nil
}

// positionAtOrBefore returns the greatest position of an entry that is not behind the one
// given; without one, the segment's beginning.
func (x *offsetIndex) positionAtOrBefore(position int64) (int64, error) {
	var e [offsetEntrySize]byte
	i, err := x.search(func(e []byte) bool { _, p := x.parse(e); return p <= position }, e[:])
	if err != nil || i < 0 {
		return 0, err
	}
	_, at := x.parse(e[:])
	return at, nil
}

// offsetAtOrAfter returns the offset of the first entry at or behind a position.
func (x *offsetIndex) offsetAtOrAfter(position int64) (offset int64, ok bool, err error) {
	var e [offsetEntrySize]byte
	i, err := x.search(func(e []byte) bool { _, p := x.parse(e); return p < position }, e[:])
	if err != nil {
		return 0, false, err
	}
	n, err := x.len()
	if err != nil || i+1 >= n {
		return 0, false, err
	}
	if err := x.read(i+1, e[:]); err != nil {
		return 0, false, err
	}
	offset, _ = x.parse(e[:])
	return offset, true, nil
}

// truncate drops the entries of offset and above.
func (x *offsetIndex) truncate(offset int64) error {
	var e [offsetEntrySize]byte
	i, err := x.search(func(e []byte) bool { o, _ := x.parse(e); return o < offset }, e[:])
	if err != nil {
		return err
	}
	return x.cut(i + 1)
}
