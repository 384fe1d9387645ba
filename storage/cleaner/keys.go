package cleaner

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
)

// slotBytes is what a key takes in a keyMap, as in Kafka.
const slotBytes = 24

// keyMap knows the newest offset of keys, by their hash: 16 bytes of SHA-256 for each,
// so that two keys that anybody will ever make share none (Kafka takes MD5). It takes
// no more memory than it was given, and then is full.
type keyMap struct {
	slots []slot // open addressing
	max   int    // keys that it takes
	used  int
	// last is the offset up to which records are in the map; −1 if none are.
	last int64
}

// slot is free if its offset is 0: what is stored is one more.
type slot struct {
	hash   [2]uint64
	offset int64
}

// newKeyMap returns a map for at most records records, or as many different keys as
// fit into bytes with the load factor, but at least one.
func newKeyMap(bytes int64, loadFactor float64, records int64) *keyMap {
	if !(loadFactor > 0 && loadFactor < 1) {
		loadFactor = 0.9
	}
	most := min(max(bytes/slotBytes, 2), math.MaxInt32)
	need := float64(max(records, 1))/loadFactor + 1
	if need < float64(most) {
		most = int64(need)
	}
	most = max(most, 2) // a free one ends every search
	return &keyMap{slots: make([]slot, most), max: min(max(int(float64(most)*loadFactor), 1), int(most)-1), last: -1}
}

func hashOf(key []byte) [2]uint64 {
	sum := sha256.Sum256(key)
	return [2]uint64{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

// find returns the slot of a hash, or the free one where it would be.
func (m *keyMap) find(hash [2]uint64) *slot {
	i, _ := bits.Mul64(hash[0], uint64(len(m.slots)))
	for {
		s := &m.slots[i]
		if s.offset == 0 || s.hash == hash {
			return s
		}
		if i++; i == uint64(len(m.slots)) {
			i = 0
		}
	}
}

// put notes the offset of a key, which must be greater than all before. It returns
// false, and notes nothing, if there is no room for another key.
func (m *keyMap) put(key []byte, offset int64) bool {
	hash := hashOf(key)
	s := m.find(hash)
	if s.offset == 0 {
		if m.used == m.max {
			return false
		}
		m.used++
		s.hash = hash
	}
	s.offset = offset + 1
	return true
}

// offset returns the newest offset of a key, −1 if it is not in the map.
func (m *keyMap) offset(key []byte) int64 { return m.find(hashOf(key)).offset - 1 }

// reach notes that everything up to offset is in the map.
func (m *keyMap) reach(offset int64) { m.last = max(m.last, offset) }
