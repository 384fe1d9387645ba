package group

import "encoding/binary"

// fields reads, one after the other, the fields of a message as Kafka's generated
// classes write them. What is cut off reads as zero and leaves failed set; nothing is
// allocated for a length before the bytes are known to be there.
type fields struct {
	b        []byte
	flexible bool // lengths are varints, and tagged fields end a struct (KIP-482)
	failed   bool
}

// take returns the next n bytes, or nil.
func (f *fields) take(n int) []byte {
	if f.failed || n < 0 || n > len(f.b) {
		f.failed = true
		return nil
	}
	taken := f.b[:n:n]
	f.b = f.b[n:]
	return taken
}

func (f *fields) i16() int16 {
	if b := f.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (f *fields) i32() int32 {
	if b := f.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (f *fields) i64() int64 {
	if b := f.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 || v > 1<<32-1 {
		f.failed = true
		return 0
	}
	f.take(n)
	return v
}

// length reads the length of a string (wide is false), or of bytes or an array; −1
// is null.
func (f *fields) length(wide bool) int {
	switch {
	case f.flexible:
		return int(f.uvarint()) - 1
	case wide:
		return int(f.i32())
	default:
		return int(f.i16())
	}
}

// stringBytes reads a string that must not be null, and aliases what is read.
func (f *fields) stringBytes() []byte { return f.take(f.length(false)) }

func (f *fields) string() string { return string(f.stringBytes()) }

func (f *fields) nullableString() *string {
	n := f.length(false)
	if n == -1 {
		return nil
	}
	s := string(f.take(n))
	return &s
}

// count reads how many elements an array has, which must not be null.
func (f *fields) count() int {
	n := f.length(true)
	f.failed = f.failed || n < 0
	return n
}

// bytes aliases what is read.
func (f *fields) bytes() []byte { return f.take(f.length(true)) }

// skipTags skips the tagged fields at the end of a struct.
func (f *fields) skipTags() {
	if !f.flexible {
		return
	}
	for n := f.uvarint(); n > 0 && !f.failed; n-- {
		f.uvarint()
		f.take(int(f.uvarint()))
	}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func appendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0xff, 0xff)
	}
	return appendString(dst, *s)
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}
