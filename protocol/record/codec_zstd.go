package record

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const defaultZstdLevel = 3

var (
	zstdDecoders sync.Pool
	zstdEncoders [zstd.SpeedBestCompression + 1]sync.Pool // by the library's level
)

func compressZstd(dst, src []byte, level int) ([]byte, error) {
	if level == DefaultLevel {
		level = defaultZstdLevel
	}
	speed := zstd.EncoderLevelFromZstd(level)
	enc, _ := zstdEncoders[speed].Get().(*zstd.Encoder)
	if enc == nil {
		var err error
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		if err != nil {
			return dst, err
		}
	}
	defer zstdEncoders[speed].Put(enc)
	return enc.EncodeAll(src, dst), nil
}

// decompressZstd decodes into a buffer of given size, which is doubled while it
// proves too small: unlike reading from a stream this never allocates the window
// that a frame's header claims.
func decompressZstd(dst, src []byte, limit int) ([]byte, error) {
	dec, _ := zstdDecoders.Get().(*zstd.Decoder)
	if dec == nil {
		var err error
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
	}
	defer zstdDecoders.Put(dec)
	size := firstGuess(len(src), limit)
	var header zstd.Header
	if header.Decode(src) == nil && header.HasFCS {
		if header.FrameContentSize > uint64(limit) {
			return nil, ErrTooLarge
		}
		// Believed only as far as the format can go: a block of 128 KiB takes
		// at least four bytes.
		size = int(min(header.FrameContentSize, uint64(len(src))*(128<<10)))
	}
	for {
		dst = slices.Grow(dst[:0], size)
		out, err := dec.DecodeAll(src, dst[:0:min(cap(dst), limit)])
		if err == nil || !outOfSpace(err) {
			return out, err
		}
		if size >= limit {
			return nil, ErrTooLarge
		}
		if size = 2*size + 1; size > smallPayload {
			size = limit // at once: growing on the way would take as much again
		}
	}
}

// outOfSpace reports whether decoding ended because the output was full. Where that
// happens within a block, the library has no error of its own for it, but says what
// it says of a block that claims too much.
func outOfSpace(err error) bool {
	return errors.Is(err, zstd.ErrDecoderSizeExceeded) || strings.HasPrefix(err.Error(), "output bigger than max block size")
}
