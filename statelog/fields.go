package statelog

import (
	"encoding/binary"
	"math"
)

// MaxString is the longest string, in bytes, that a record can hold.
const MaxString = math.MaxInt16

// Fields reads, one after the other, the fields of a message as Kafka's generated
// classes write them. What is cut off reads as zero and leaves Failed set; nothing is
// allocated for a length before the bytes are known to be there.
type Fields struct {
	B        []byte // what is left to read
	Flexible bool   // lengths are varints, and tagged fields end a struct (KIP-482)
	Failed   bool
}

// take returns the next n bytes, or nil.
func (f *Fields) take(n int) []byte {
	if f.Failed || n < 0 || n > len(f.B) {
		f.Failed = true
		return nil
	}
	taken := f.B[:n:n]
	f.B = f.B[n:]
	return taken
}

// Int8 reads a byte.
func (f *Fields) Int8() int8 {
	if b := f.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

// Int16 reads two bytes, as all numbers big-endian.
func (f *Fields) Int16() int16 {
	if b := f.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

// Int32 reads four bytes.
func (f *Fields) Int32() int32 {
	if b := f.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// Int64 reads eight bytes.
func (f *Fields) Int64() int64 {
	if b := f.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (f *Fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.B)
	if n <= 0 || v > 1<<32-1 {
		f.Failed = true
		return 0
	}
	f.take(n)
	return v
}

// length reads the length of a string (wide is false), or of bytes or an array; −1
// is null.
func (f *Fields) length(wide bool) int {
	switch {
	case f.Flexible:
		return int(f.uvarint()) - 1
	case wide:
		return int(f.Int32())
	default:
		return int(f.Int16())
	}
}

// StringBytes reads a string that must not be null, and aliases what is read.
func (f *Fields) StringBytes() []byte { return f.take(f.length(false)) }

// String reads a string that must not be null.
func (f *Fields) String() string { return string(f.StringBytes()) }

// NullableString reads a string, nil if it is null.
func (f *Fields) NullableString() *string {
	n := f.length(false)
	if n == -1 {
		return nil
	}
	s := string(f.take(n))
	return &s
}

// Count reads how many elements an array has, which must not be null. They may be more
// than there are bytes: nothing is to be allocated for them before they are read.
func (f *Fields) Count() int {
	n := f.NullableCount()
	f.Failed = f.Failed || n < 0
	return n
}

// NullableCount is Count for an array that may be null, which is −1.
func (f *Fields) NullableCount() int {
	n := f.length(true)
	f.Failed = f.Failed || n < -1
	return n
}

// Bytes aliases what is read.
func (f *Fields) Bytes() []byte { return f.take(f.length(true)) }

// NullableBytes is Bytes, nil if they are null.
func (f *Fields) NullableBytes() []byte {
	n := f.length(true)
	if n == -1 {
		return nil
	}
	return f.take(n)
}

// SkipTags skips the tagged fields at the end of a struct.
func (f *Fields) SkipTags() {
	if !f.Flexible {
		return
	}
	for n := f.uvarint(); n > 0 && !f.Failed; n-- {
		f.uvarint()
		f.take(int(f.uvarint()))
	}
}

// AppendString appends a string of at most MaxString bytes, as versions do that are not
// flexible.
func AppendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// AppendNullableString appends a string, or null.
func AppendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0xff, 0xff)
	}
	return AppendString(dst, *s)
}

// AppendBytes appends bytes.
func AppendBytes(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}
