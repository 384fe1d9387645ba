package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/snappy/xerial"
)

// Java's snappy library frames its blocks: a header of 16 bytes (magic, version,
// lowest compatible version), then blocks, each with its size before it as a
// big-endian i32. Most other clients do the same; a bare block is accepted, too.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16

var errSnappyFrame = errors.New("snappy blocks are cut off")

func compressSnappy(dst, src []byte) []byte {
	if len(dst) == 0 {
		return xerial.Encode(dst, src)
	}
	return append(dst, xerial.Encode(nil, src)...)
}

func decompressSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return appendSnappyBlock(dst, src, limit)
	}
	if len(src) < xerialHeader {
		return nil, errSnappyFrame
	}
	src = src[xerialHeader:]
	whole := 0
	for rest := src; len(rest) > 0; {
		block, after, err := nextSnappyBlock(rest)
		if err != nil {
			return nil, err
		}
		n, err := snappyLen(block)
		if err != nil {
			return nil, err
		}
		if whole += n; whole > limit {
			return nil, ErrTooLarge
		}
		rest = after
	}
	dst = slices.Grow(dst, whole)
	for len(src) > 0 {
		block, rest, err := nextSnappyBlock(src)
		if err != nil {
			return nil, err
		}
		if dst, err = appendSnappyBlock(dst, block, limit); err != nil {
			return nil, err
		}
		src = rest
	}
	return dst, nil
}

func nextSnappyBlock(src []byte) (block, rest []byte, err error) {
	if len(src) < 4 {
		return nil, nil, errSnappyFrame
	}
	size := int64(int32(binary.BigEndian.Uint32(src)))
	src = src[4:]
	if size < 0 || size > int64(len(src)) {
		return nil, nil, errSnappyFrame
	}
	return src[:size], src[size:], nil
}

// snappyLen is what a block claims to yield. It is believed only as far as its
// bytes can: an element of the format takes at least two bytes (a copy) and gives
// at most 64.
func snappyLen(block []byte) (int, error) {
	n, err := snappy.DecodedLen(block)
	if err == nil && n > 64*len(block) {
		err = snappy.ErrCorrupt
	}
	return n, err
}

func appendSnappyBlock(dst, block []byte, limit int) ([]byte, error) {
	n, err := snappyLen(block)
	if err != nil {
		return nil, err
	}
	if n > limit-len(dst) {
		return nil, ErrTooLarge
	}
	dst = slices.Grow(dst, n)
	out, err := snappy.DecodeStrict(dst[len(dst):len(dst)+n:len(dst)+n], block)
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)+len(out)], nil
}
