package record

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Codec is how a batch's records are compressed, with Kafka's numbers.
type Codec int8

const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// DefaultLevel asks for the codec's own default: gzip 6, lz4 9, zstd 3. Snappy
// has no levels.
const DefaultLevel = -1 << 31

// ErrTooLarge says that decompressed records exceed the bound that the caller
// gave.
var ErrTooLarge = errors.New("decompressed records exceed the bound")

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// String returns the name that compression.type has for the codec.
func (c Codec) String() string {
	if c >= 0 && int(c) < len(codecNames) {
		return codecNames[c]
	}
	if c == lz4Format0 {
		return "lz4 of message format 0"
	}
	return fmt.Sprintf("codec %d", int8(c))
}

// ParseCodec reads a codec's name; "uncompressed" is what topics call None.
func ParseCodec(name string) (Codec, bool) {
	for c, n := range codecNames {
		if n == name {
			return Codec(c), true
		}
	}
	return None, name == "uncompressed"
}

// Compress appends src, compressed, to dst. With None it appends src as it is.
// Levels outside the codec's range are moved to its nearest end.
func Compress(dst, src []byte, codec Codec, level int) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(dst, src, level)
	case Snappy:
		return compressSnappy(dst, src), nil
	case LZ4:
		return compressLZ4(dst, src, level)
	case Zstd:
		return compressZstd(dst, src, level)
	}
	return dst, fmt.Errorf("compress with %v: %w", codec, errors.ErrUnsupported)
}

// Decompress returns the decompressed src in a new slice of at most limit bytes;
// with None it returns src itself. What it allocates is bounded by a small
// multiple of limit, whatever src claims.
//
// Errors: ErrTooLarge (wrapped) if there would be more than limit bytes, else one
// that wraps kerr.CorruptMessage.
func Decompress(src []byte, codec Codec, limit int) ([]byte, error) {
	if codec == None {
		if len(src) > limit {
			return nil, ErrTooLarge
		}
		return src, nil
	}
	return decompress(nil, src, codec, limit)
}

// decompress is Decompress into dst[:0], grown as needed; codec is not None.
func decompress(dst, src []byte, codec Codec, limit int) ([]byte, error) {
	var err error
	switch codec {
	case Gzip:
		dst, err = decompressGzip(dst[:0], src, limit)
	case Snappy:
		dst, err = decompressSnappy(dst[:0], src, limit)
	case LZ4:
		dst, err = decompressLZ4(dst[:0], src, limit)
	case Zstd:
		dst, err = decompressZstd(dst[:0], src, limit)
	case lz4Format0:
		dst, err = decompressLZ4Format0(dst[:0], src, limit)
	default:
		err = errors.ErrUnsupported
	}
	switch {
	case err == nil:
		return dst, nil
	case errors.Is(err, ErrTooLarge):
		return nil, fmt.Errorf("%d bytes of %v, decompressed to at most %d: %w", len(src), codec, limit, ErrTooLarge)
	}
	return nil, fmt.Errorf("decompress %d bytes of %v: %w: %w", len(src), codec, kerr.CorruptMessage, err)
}

// firstGuess is the capacity with which the output of n compressed bytes begins.
func firstGuess(n, limit int) int { return min(limit, 4*n+512) }

// readBounded appends all that the reader yields to dst, which must not grow beyond
// limit bytes. restart begins it anew: what turns out to be large is read twice,
// the first time only to learn its size, so that no memory is spent on growing.
func readBounded(dst []byte, restart func() (io.Reader, error), sourceBytes, limit int) ([]byte, error) {
	r, err := restart()
	if err != nil {
		return nil, err
	}
	dst = slices.Grow(dst, firstGuess(sourceBytes, limit)+1)
	for {
		if len(dst) == cap(dst) && len(dst) < smallPayload {
			dst = slices.Grow(dst, min(len(dst), limit+1-len(dst)))
		} else if len(dst) == cap(dst) {
			rest, err := io.Copy(io.Discard, io.LimitReader(r, int64(limit+1-len(dst))))
			if err != nil {
				return nil, err
			}
			whole := len(dst) + int(rest)
			if whole > limit {
				return nil, ErrTooLarge
			}
			if r, err = restart(); err != nil {
				return nil, err
			}
			dst = slices.Grow(dst[:0], whole+1)
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), limit+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return nil, ErrTooLarge
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return nil, err
		}
	}
}
