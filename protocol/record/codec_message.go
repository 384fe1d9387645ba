package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// lz4Format0 is LZ4 as messages of format 0 have it: the checksum of the frame's
// header is wrong, for Kafka computed it over the frame's magic number, too, until
// it could not be changed any more (KAFKA-3160). No batch can say that it has this
// codec.
const lz4Format0 Codec = 8

// payloadCodec is how the value of a wrapper is to be decompressed.
func (m Message) payloadCodec() Codec {
	if m.Magic() == 0 && m.Codec() == LZ4 {
		return lz4Format0
	}
	return m.Codec()
}

// compressMessages appends messages of one format, compressed at the codec's own
// level, to dst.
func compressMessages(dst, set []byte, codec Codec, magic int8) ([]byte, error) {
	start := len(dst)
	dst, err := Compress(dst, set, codec, DefaultLevel)
	if err == nil && codec == LZ4 && magic == 0 {
		frame := dst[start:]
		n := lz4Header(frame)
		frame[n-1] = lz4HeaderChecksum(frame[:n-1])
	}
	return dst, err
}

const (
	lz4MagicSize     = 4
	lz4MinHeader     = 7 // magic, flags, block size, checksum
	lz4ContentSize   = 8 // follows if a flag says so
	lz4HasContent    = 1 << 3
	lz4MaxHeader     = lz4MinHeader + lz4ContentSize
	lz4FlagsPosition = lz4MagicSize
)

var errLZ4Header = errors.New("the header of the LZ4 frame is cut off")

// lz4Header is the size of a frame's header, 0 if it is cut off.
func lz4Header(frame []byte) int {
	n := lz4MinHeader
	if len(frame) > lz4FlagsPosition && frame[lz4FlagsPosition]&lz4HasContent != 0 {
		n = lz4MaxHeader
	}
	if len(frame) < n {
		return 0
	}
	return n
}

// decompressLZ4Format0 puts the right checksum in the place of the one that is
// there, whatever it is.
func decompressLZ4Format0(dst, src []byte, limit int) ([]byte, error) {
	n := lz4Header(src)
	if n == 0 {
		return nil, errLZ4Header
	}
	var header [lz4MaxHeader]byte
	copy(header[:n], src)
	header[n-1] = lz4HeaderChecksum(header[lz4MagicSize : n-1])
	r := getLZ4Reader()
	defer func() {
		r.lz4.Reset(&r.src) // keeps nothing of src
		putLZ4Reader(r)
	}()
	restart := func() (io.Reader, error) {
		r.lz4.Reset(io.MultiReader(bytes.NewReader(header[:n]), bytes.NewReader(src[n:])))
		return r.lz4, nil
	}
	return readBounded(dst, restart, len(src), limit)
}

// lz4HeaderChecksum is the second byte of the XXH32 of less than 16 bytes.
func lz4HeaderChecksum(b []byte) byte {
	const prime1, prime2, prime3, prime4, prime5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	h := prime5 + uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		h += binary.LittleEndian.Uint32(b) * prime3
		h = bits.RotateLeft32(h, 17) * prime4
	}
	for _, c := range b {
		h += uint32(c) * prime5
		h = bits.RotateLeft32(h, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	h ^= h >> 16
	return byte(h >> 8)
}
