package record

import "encoding/binary"

// Inside a batch Kafka writes numbers as zig-zag varints: small ones of either
// sign take one byte.

// varint reads a number of 32 bits at position p and returns where it ends, 0 if it
// is cut off or too long. Those of one and two bytes, nearly all there are in a
// batch, are worth a way of their own.
func varint(b []byte, p int) (v int32, end int) {
	if p+1 < len(b) {
		u := uint32(b[p])
		if u < 0x80 {
			return unzigzag(u), p + 1
		}
		if b[p+1] < 0x80 {
			return unzigzag(u&0x7f | uint32(b[p+1])<<7), p + 2
		}
	}
	return longVarint(b, p)
}

func longVarint(b []byte, p int) (v int32, end int) {
	u, n := binary.Uvarint(b[min(p, len(b)):])
	if n <= 0 || n > 5 || u > 1<<32-1 {
		return 0, 0
	}
	return unzigzag(uint32(u)), p + n
}

func unzigzag(u uint32) int32 { return int32(u>>1) ^ -int32(u&1) }

// varlong is varint for 64 bits.
func varlong(b []byte, p int) (v int64, end int) {
	if p < len(b) && b[p] < 0x80 {
		return int64(b[p]>>1) ^ -int64(b[p]&1), p + 1
	}
	u, n := binary.Uvarint(b[min(p, len(b)):])
	if n <= 0 {
		return 0, 0
	}
	return int64(u>>1) ^ -int64(u&1), p + n
}

func appendVarint(dst []byte, v int64) []byte { return binary.AppendVarint(dst, v) }

// varintSize is the number of bytes that appendVarint writes.
func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}
