// Package zkproto is ZooKeeper's client protocol: framing, the records of
// every request and reply, watch events and error codes, each in both
// directions, so that a client and a server can be built on it.
//
// The encoding is Hadoop's "jute" in its binary form: big-endian integers, one
// byte for a boolean, and a 32-bit length before strings, byte buffers and
// vectors, where -1 stands for null. Field order is that of ZooKeeper's
// zookeeper.jute; there are no tags, no versions and no optional fields except
// the read-only byte at the end of the connect records.
//
// Bytes that come from outside never cause a panic, and never make the decoder
// reserve more memory than a small multiple of the bytes that are really there.
package zkproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrMalformed is what every decoding error wraps: the bytes are not the record
// they are claimed to be.
var ErrMalformed = errors.New("malformed ZooKeeper record")

// Record is the body of a request or of a reply.
type Record interface {
	// Encode appends the record to dst and returns the longer slice.
	Encode(dst []byte) []byte
	// Decode fills the record from d; an error stays in d. Byte buffers in
	// the record alias the decoder's input, strings are copies.
	Decode(d *Decoder)
}

// Unmarshal decodes one record from the start of body. Bytes left over are
// ignored, as ZooKeeper ignores them.
func Unmarshal(body []byte, r Record) error {
	d := NewDecoder(body)
	r.Decode(d)
	return d.Err()
}

// Decoder reads jute primitives from a slice. After the first error every
// further read returns a zero value, so that callers look at Err once, at the
// end. It is owned by one goroutine.
type Decoder struct {
	rest []byte
	err  error
}

// NewDecoder returns a decoder of b, which must not change while what was
// decoded from it is in use.
func NewDecoder(b []byte) *Decoder { return &Decoder{rest: b} }

// Err returns the first error, which wraps ErrMalformed, or nil.
func (d *Decoder) Err() error { return d.err }

// Len returns the number of bytes not yet read.
func (d *Decoder) Len() int { return len(d.rest) }

// Rest returns the bytes not yet read, without consuming them.
func (d *Decoder) Rest() []byte { return d.rest }

func (d *Decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
		d.rest = nil
	}
}

func (d *Decoder) take(n int, what string) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.rest) {
		d.fail("%s needs %d bytes, %d are left", what, n, len(d.rest))
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// Int reads an int.
func (d *Decoder) Int() int32 {
	if b := d.take(4, "int"); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Long reads a long.
func (d *Decoder) Long() int64 {
	if b := d.take(8, "long"); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// Bool reads a boolean: any byte but zero is true, as in Java.
func (d *Decoder) Bool() bool {
	b := d.take(1, "boolean")
	return b != nil && b[0] != 0
}

// Buffer reads a byte buffer. Null comes back as nil, a buffer of no bytes as
// a slice that is empty but not nil: znodes without data and znodes with empty
// data are different things. The slice aliases the decoder's input.
func (d *Decoder) Buffer() []byte {
	n := d.Int()
	if d.err != nil || n == -1 {
		return nil
	}
	if n < 0 {
		d.fail("buffer of length %d", n)
		return nil
	}
	if n == 0 {
		return []byte{}
	}
	return d.take(int(n), "buffer")
}

// String reads a string. Null reads as "", which no valid path or scheme is;
// bytes that are not UTF-8 become U+FFFD, as when Java decodes them, and that
// no valid path contains.
func (d *Decoder) String() string {
	n := d.Int()
	if d.err != nil || n == -1 {
		return ""
	}
	if n < 0 {
		d.fail("string of length %d", n)
		return ""
	}
	return strings.ToValidUTF8(string(d.take(int(n), "string")), "\uFFFD")
}

// path reads a string that must not be null.
func (d *Decoder) path() string {
	if len(d.rest) >= 4 && binary.BigEndian.Uint32(d.rest) == 1<<32-1 {
		d.fail("null path")
	}
	return d.String()
}

// count reads the number of elements of a vector, each of which takes at least
// minBytes; a count that the bytes left cannot hold is an error here, before
// anything is allocated. Null counts as empty.
func (d *Decoder) count(minBytes int, what string) int {
	n := d.Int()
	if d.err != nil || n == -1 {
		return 0
	}
	if n < 0 || int(n) > len(d.rest)/minBytes {
		d.fail("%d %s in %d bytes", n, what, len(d.rest))
		return 0
	}
	return int(n)
}

// Strings reads a vector of strings; null and empty both come back as nil.
func (d *Decoder) Strings() []string {
	n := d.count(4, "strings")
	if n == 0 {
		return nil
	}
	out := make([]string, 0, n)
	for range n {
		out = append(out, d.String())
	}
	if d.err != nil {
		return nil
	}
	return out
}

// AppendInt appends an int.
func AppendInt(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendLong appends a long.
func AppendLong(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendBuffer appends a byte buffer; nil is written as null.
func AppendBuffer(dst, v []byte) []byte {
	if v == nil {
		return AppendInt(dst, -1)
	}
	return append(AppendInt(dst, int32(len(v))), v...)
}

// AppendString appends a string, never null.
func AppendString(dst []byte, v string) []byte {
	return append(AppendInt(dst, int32(len(v))), v...)
}

// AppendStrings appends a vector of strings, never null.
func AppendStrings(dst []byte, v []string) []byte {
	dst = AppendInt(dst, int32(len(v)))
	for _, s := range v {
		dst = AppendString(dst, s)
	}
	return dst
}
