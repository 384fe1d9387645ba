package api

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/gracchus-mq/gracchus/protocol"
)

// errMalformed says that a hand-decoded request is not what the protocol
// prescribes. As with Kafka, the connection is closed.
var errMalformed = errors.New("malformed request")

// wireReader reads the protocol's primitive types from a request. After the
// first failure every read returns zero and bad is set, so that callers check
// once. What it returns aliases the request.
type wireReader struct {
	b        []byte
	flexible bool // compact lengths and tagged fields (KIP-482)
	bad      bool
}

func (r *wireReader) fail() {
	r.bad = true
	r.b = nil
}

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *wireReader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *wireReader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *wireReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *wireReader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *wireReader) topicID() (id protocol.TopicID) {
	copy(id[:], r.take(16))
	return id
}

// uvarint reads an unsigned varint of at most 32 bits.
func (r *wireReader) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 5 || v > math.MaxUint32 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// nullableString returns nil for null and a non-nil slice otherwise.
func (r *wireReader) nullableString() []byte {
	var n int
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int16())
	}
	return r.nullable(n, math.MaxInt16)
}

func (r *wireReader) nullableBytes() []byte {
	var n int
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int32())
	}
	return r.nullable(n, math.MaxInt32)
}

func (r *wireReader) nullable(n, most int) []byte {
	if n == -1 || r.bad {
		return nil
	}
	if n > most {
		r.fail()
		return nil
	}
	b := r.take(n)
	if b == nil && !r.bad {
		b = []byte{}
	}
	return b
}

// string is a string that must not be null.
func (r *wireReader) string() []byte {
	b := r.nullableString()
	if b == nil {
		r.fail()
	}
	return b
}

// array reads the length of an array that must not be null. least is the size of
// the smallest element: a count that the bytes left cannot hold is refused
// before anybody allocates for it.
func (r *wireReader) array(least int) int {
	var n int
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int32())
	}
	if n < 0 || n > len(r.b)/least {
		r.fail()
		return 0
	}
	return n
}

// tags steps over the tagged fields of a structure; known, if not nil, gets a
// look at each and reports whether it could read it.
func (r *wireReader) tags(known func(tag int, b []byte) bool) {
	if !r.flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		tag := r.uvarint()
		b := r.take(r.uvarint())
		if !r.bad && known != nil && !known(tag, b) {
			r.fail()
		}
	}
}

// The append functions write the same types.

func appendUvarint(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

func appendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }

func appendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

func appendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendInt32s(b []byte, vs []int32, flexible bool) []byte {
	b = appendArray(b, len(vs), flexible)
	for _, v := range vs {
		b = appendInt32(b, v)
	}
	return b
}

func appendArray(b []byte, n int, flexible bool) []byte {
	if flexible {
		return appendUvarint(b, n+1)
	}
	return appendInt32(b, int32(n))
}

func appendString[S []byte | string](b []byte, s S, flexible bool) []byte {
	if flexible {
		b = appendUvarint(b, len(s)+1)
	} else {
		b = appendInt16(b, int16(len(s)))
	}
	return append(b, s...)
}

// appendNullableString writes null for nil.
func appendNullableString(b []byte, s *string, flexible bool) []byte {
	switch {
	case s != nil:
		return appendString(b, *s, flexible)
	case flexible:
		return append(b, 0)
	default:
		return appendInt16(b, -1)
	}
}

// appendTags writes the tagged fields of a structure: none.
func appendTags(b []byte, flexible bool) []byte {
	if flexible {
		return append(b, 0)
	}
	return b
}

func putInt16(b []byte, v int16) { binary.BigEndian.PutUint16(b, uint16(v)) }
