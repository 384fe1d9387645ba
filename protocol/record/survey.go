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

// nothingSeen is the survey of no records.
func nothingSeen() survey {
	return survey{minTimestamp: math.MaxInt64, maxTimestamp: NoTimestamp, offsetsInOrder: true, keyed: true}
}

// surveyRecords goes over the records of an uncompressed payload; most of the work
// that a batch of small records makes is done here.
func surveyRecords(payload []byte, count int32, baseTimestamp int64) (survey, error) {
	s := nothingSeen()
	w := walker{rest: payload, left: count}
	var r Record
	for {
		s.addPlain(&w, count-w.left, baseTimestamp)
		index := count - w.left
		if !w.next(&r) {
			return s, w.err()
		}
		s.minTimestamp = min(s.minTimestamp, baseTimestamp+r.TimestampDelta)
		s.maxTimestamp = max(s.maxTimestamp, baseTimestamp+r.TimestampDelta)
		s.offsetsInOrder = s.offsetsInOrder && r.OffsetDelta == index
		s.keyed = s.keyed && r.Key != nil
	}
}

// word is how many bytes are looked at in one go.
const word = 8

// addPlain goes over the records from the index on for as long as they are plain, as most
// are: without headers, their numbers short (two bytes, three for the offset), and a word
// more behind them. It ends before any other record, malformed ones included, which is then
// for nextRecord to judge.
//
// It is nextRecord again, for speed: what a batch of small records costs is decided by how
// many instructions there are for each.
func (s *survey) addPlain(w *walker, index int32, baseTimestamp int64) {
	const null = 1 // a length of −1, before unzigzag; halved, it is the right 0
	buf, end := w.rest, index+w.left
	minTimestamp, maxTimestamp := s.minTimestamp, s.maxTimestamp
	var displaced uint32 // not 0 if an offset is not in order
	var nulls int        // odd if a key is null
	at := 0              // where the next record begins
	for index < end && at <= len(buf)-word {
		fields := binary.LittleEndian.Uint64(buf[at:])
		length, n := shortVarint(fields)
		p := at + n + 1 // behind the attributes
		next := at + n + length>>1
		if n == 0 || length&1 != 0 || next > len(buf)-word {
			break
		}
		// Five bytes are left at least, enough for both deltas. That no more than 63 bits are
		// shifted is said for the compiler, which would check it.
		fields >>= 8 * (n + 1) & 63
		timestamp, n := shortVarint(fields)
		if n == 0 {
			break
		}
		p += n
		fields >>= 8 * n & 63
		offset := uint32(fields & 0x7f)
		p++
		if fields&0x80 != 0 {
			offset |= uint32(fields >> 1 & 0x3f80)
			p++
			if fields&0x8000 != 0 {
				if fields&0x800000 != 0 {
					break
				}
				offset |= uint32(fields >> 2 & 0x1fc000)
				p++
			}
		}

		if p >= next {
			break
		}
		key, n := shortVarint(binary.LittleEndian.Uint64(buf[p:]))
		if n == 0 || key&1 != 0 && key != null {
			break
		}
		p += n + key>>1
		if p >= next {
			break
		}
		value, n := shortVarint(binary.LittleEndian.Uint64(buf[p:]))
		if n == 0 || value&1 != 0 && value != null {
			break
		}
		p += n + value>>1
		if p != next-1 || buf[p] != 0 { // no headers
			break
		}

		t := baseTimestamp + int64(unzigzag(uint32(timestamp)))
		minTimestamp, maxTimestamp = min(minTimestamp, t), max(maxTimestamp, t)
		displaced |= offset ^ uint32(index)<<1
		nulls |= key
		index++
		at = next
	}
	w.rest, w.left = buf[at:], end-index
	s.minTimestamp, s.maxTimestamp = minTimestamp, maxTimestamp
	s.offsetsInOrder = s.offsetsInOrder && displaced == 0
	s.keyed = s.keyed && nulls&1 == 0
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
