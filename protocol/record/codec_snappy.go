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
	for len(src) > 0 {
		if len(src) < 4 {
			return nil, errSnappyFrame
		}
		size := int64(int32(binary.BigEndian.Uint32(src)))
		src = src[4:]
		if size < 0 || size > int64(len(src)) {
			return nil, errSnappyFrame
		}
		var err error
		if dst, err = appendSnappyBlock(dst, src[:size], limit); err != nil {
			return nil, err
		}
		src = src[size:]
	}
	return dst, nil
}

// appendSnappyBlock believes the size that the block claims only as far as its
// bytes can yield it: an element of the format takes at least two bytes (a copy)
// and gives at most 64.
func appendSnappyBlock(dst, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > limit-len(dst) {
		return nil, ErrTooLarge
	}
	if n > 64*len(block) {
		return nil, snappy.ErrCorrupt
	}
	dst = slices.Grow(dst, n)
	out, err := snappy.DecodeStrict(dst[len(dst):len(dst)+n:len(dst)+n], block)
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)+len(out)], nil
}
