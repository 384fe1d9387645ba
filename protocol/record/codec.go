package record

import (
	"errors"
	"fmt"

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
func Compress(dst, src []byte, codec Codec, level int) ([]byte, error) {
	panic("not yet")
}

// Decompress returns the decompressed src in a new slice of at most max bytes;
// with None it returns src itself. It never allocates more than a small multiple
// of max, whatever src claims.
//
// Errors: ErrTooLarge (wrapped) if there would be more than max bytes, else one
// that wraps kerr.CorruptMessage.
func Decompress(src []byte, codec Codec, max int) ([]byte, error) {
	return nil, kerr.CorruptMessage
}
