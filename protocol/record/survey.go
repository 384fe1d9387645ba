package record

import (
	"encoding/binary"
	"math"
)

// survey is what a leader must know of a batch's records before it takes them.
type survey struct {
	minTimestamp, maxTimestamp int64 // ms since 1970
	offsetsInOrder             bool  // the deltas are 0, 1, 2, ...
	keyed                      bool  // no key is null
}

// surveyRecords goes over the records of an uncompressed payload; most of the work
// that a batch of small records makes is done here.
func surveyRecords(payload []byte, count int32, baseTimestamp int64) (survey, error) {
	s := survey{minTimestamp: math.MaxInt64, maxTimestamp: NoTimestamp, offsetsInOrder: true, keyed: true}
	w := walker{rest: payload, left: count}
	for i := int32(0); ; i++ {
		timestampDelta, offsetDelta, keyed, size := plainRecord(w.rest)
		if size > 0 && w.left > 0 {
			w.rest = w.rest[size:]
			w.left--
		} else {
			var r Record
			if !w.next(&r) {
				return s, w.err()
			}
			timestampDelta, offsetDelta, keyed = r.TimestampDelta, r.OffsetDelta, r.Key != nil
		}
		s.minTimestamp = min(s.minTimestamp, baseTimestamp+timestampDelta)
		s.maxTimestamp = max(s.maxTimestamp, baseTimestamp+timestampDelta)
		s.offsetsInOrder = s.offsetsInOrder && offsetDelta == i
		s.keyed = s.keyed && keyed
	}
}

// word is how many bytes are looked at in one go.
const word = 8

// plainRecord is nextRecord for most of the records there are: those without headers
// whose numbers are short, and of which buf holds the end and a word more. The size is
// 0 for any other record, malformed ones included, which is then for nextRecord to
// judge.
func plainRecord(buf []byte) (timestampDelta int64, offsetDelta int32, keyed bool, size int) {
	const null = 1 // a length of −1, before unzigzag; halved, it is the right 0
	if len(buf) < word {
		return 0, 0, false, 0
	}
	first := binary.LittleEndian.Uint64(buf)
	length, n := shortVarint(first)
	end := n + length>>1
	if n == 0 || length&1 != 0 || end > len(buf)-word {
		return 0, 0, false, 0
	}
	p := n + 1 // behind the attributes; five bytes are left, enough for both deltas
	timestamp, n := shortVarint(first >> (8 * p))
	p += n
	offset, m := shortVarint(first >> (8 * p))
	p += m
	if n == 0 || m == 0 || p >= end {
		return 0, 0, false, 0
	}
	length, n = shortVarint(binary.LittleEndian.Uint64(buf[p:]))
	keyed = length != null
	p += n + length>>1
	if n == 0 || length&1 != 0 && keyed || p >= end {
		return 0, 0, false, 0
	}
	length, n = shortVarint(binary.LittleEndian.Uint64(buf[p:]))
	p += n + length>>1
	if n == 0 || length&1 != 0 && length != null || p != end-1 || buf[p] != 0 { // no headers
		return 0, 0, false, 0
	}
	return int64(unzigzag(uint32(timestamp))), unzigzag(uint32(offset)), keyed, end
}

// shortVarint returns the number that a word begins with, as it is before unzigzag,
// and how many bytes it takes: 0 if more than two.
func shortVarint(w uint64) (u, size int) {
	switch {
	case w&0x80 == 0:
		return int(w & 0x7f), 1
	case w&0x8000 == 0:
		return int(w&0x7f | w>>1&0x3f80), 2
	}
	return 0, 0
}
