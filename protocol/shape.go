package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The shape of a request or response says, field by field, how many bytes its parts
// take on the wire. It is used to walk a body before the decoder sees it: the decoder
// allocates arrays by the counts that the peer claims, and loops over as many
// tagged fields as the peer claims, up to four billion. After the walk every
// element that is counted is known to be there, so that what decoding costs is in
// proportion to the bytes that arrived.

type kind uint8

const (
	kindFixed  kind = iota // width bytes
	kindString             // i16 length; flexible: varint length + 1
	kindBytes              // i32 length; flexible: varint length + 1
	kindArray              // of one unstructured element; i32 count; flexible: varint count + 1
	kindList               // array of structures
	kindGroup              // one structure
)

// shape is one field. It is there in the versions from and to, and between them.
type shape struct {
	kind     kind
	width    uint8
	from, to int16
	tag      int16   // the number of a tagged field, −1 for an ordinary one
	parts    []shape // of an element of an array, of a structure
}

// bodyShape is that of what follows a header.
type bodyShape struct {
	last   int16 // version
	fields []shape
}

// The vocabulary of the table.
var (
	i8   = shape{kind: kindFixed, width: 1, to: math.MaxInt16, tag: -1} // bool, too
	i16  = shape{kind: kindFixed, width: 2, to: math.MaxInt16, tag: -1}
	i32  = shape{kind: kindFixed, width: 4, to: math.MaxInt16, tag: -1}
	i64  = shape{kind: kindFixed, width: 8, to: math.MaxInt16, tag: -1} // float64, too
	uuid = shape{kind: kindFixed, width: 16, to: math.MaxInt16, tag: -1}
	str  = shape{kind: kindString, to: math.MaxInt16, tag: -1}
	blob = shape{kind: kindBytes, to: math.MaxInt16, tag: -1}
)

func request(last int16, fields ...shape) bodyShape  { return bodyShape{last, fields} }
func response(last int16, fields ...shape) bodyShape { return bodyShape{last, fields} }

func array(element shape) shape {
	return shape{kind: kindArray, to: math.MaxInt16, tag: -1, parts: []shape{element}}
}

func list(fields ...shape) shape {
	return shape{kind: kindList, to: math.MaxInt16, tag: -1, parts: fields}
}

func group(fields ...shape) shape {
	return shape{kind: kindGroup, to: math.MaxInt16, tag: -1, parts: fields}
}

func (s shape) since(version int16) shape { s.from = version; return s }
func (s shape) until(version int16) shape { s.to = version; return s }
func (s shape) tagged(tag, since int16) shape {
	s.tag, s.from = tag, since
	return s
}

func (s *shape) in(version int16) bool { return s.from <= version && version <= s.to }

// tagWeight is how many elements a tagged field that nobody knows counts for: of
// two bytes on the wire the decoder makes an entry of a map.
const tagWeight = 4

// checkShape walks the body of a request or a response, whichever the table is of;
// its arrays may have that many elements in all. Bytes behind the last field are
// ignored, as Kafka ignores them.
func checkShape(table []bodyShape, key APIKey, version int16, body []byte, elements int) error {
	if key < 0 || int(key) >= len(table) || table[key].fields == nil {
		return fmt.Errorf("%v: %w", key, ErrUnknownAPIKey)
	}
	s := &table[key]
	if version < 0 || version > s.last {
		return fmt.Errorf("no version %d: %w", version, ErrMalformed)
	}
	w := shapeWalker{rest: body, version: version, flexible: isFlexible(key, version), left: elements}
	return w.structure(s.fields)
}

// shapeWalker steps over fields; rest is what is left of the bytes, left how many
// elements more there may be.
type shapeWalker struct {
	rest     []byte
	version  int16
	flexible bool
	left     int
}

// count takes n elements off what may come.
func (w *shapeWalker) count(n int) error {
	if w.left -= n; w.left < 0 {
		return ErrTooManyElements
	}
	return nil
}

func (w *shapeWalker) structure(fields []shape) error {
	for i := range fields {
		if f := &fields[i]; f.tag < 0 && f.in(w.version) {
			if err := w.field(f); err != nil {
				return err
			}
		}
	}
	if w.flexible {
		return w.tags(fields)
	}
	return nil
}

func (w *shapeWalker) field(f *shape) error {
	switch f.kind {
	case kindFixed:
		return w.skip(int64(f.width))
	case kindString:
		n, err := w.length(2)
		if err != nil {
			return err
		}
		return w.skip(max(n, 0))
	case kindBytes:
		n, err := w.length(4)
		if err != nil {
			return err
		}
		return w.skip(max(n, 0))
	case kindGroup:
		return w.structure(f.parts)
	}
	count, err := w.length(4)
	if err != nil {
		return err
	}
	if count > int64(len(w.rest)) { // no element takes less than a byte
		return fmt.Errorf("%d elements in %d bytes: %w", count, len(w.rest), ErrMalformed)
	}
	if f.kind == kindArray && f.parts[0].kind == kindFixed {
		return w.skip(max(count, 0) * int64(f.parts[0].width)) // costs what it is
	}
	if err := w.count(int(max(count, 0))); err != nil {
		return err
	}
	for range count {
		if f.kind == kindArray {
			err = w.field(&f.parts[0])
		} else {
			err = w.structure(f.parts)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tags steps over a section of tagged fields, and into those that are known.
func (w *shapeWalker) tags(fields []shape) error {
	start := w.rest
	rest, err := skipTags(start)
	if err != nil {
		return err
	}
	count, section, _ := uvarint(start)
	for range count {
		var number, size uint32
		number, section, _ = uvarint(section)
		size, section, _ = uvarint(section)
		known := false
		for i := range fields {
			f := &fields[i]
			if f.tag < 0 || uint32(f.tag) != number || !f.in(w.version) {
				continue
			}
			known = true
			inner := shapeWalker{rest: section[:size], version: w.version, flexible: true, left: w.left}
			err := inner.field(f)
			if w.left = inner.left; err != nil {
				return fmt.Errorf("tagged field %d: %w", number, err)
			}
		}
		if !known {
			if err := w.count(tagWeight); err != nil {
				return err
			}
		}
		section = section[size:]
	}
	w.rest = rest
	return nil
}

// length reads the length of a string or the number of an array's elements, −1
// for a null; width is the size of the field where it is no varint.
func (w *shapeWalker) length(width int) (int64, error) {
	if w.flexible {
		n, rest, err := uvarint(w.rest)
		if err != nil {
			return 0, err
		}
		w.rest = rest
		return int64(n) - 1, nil
	}
	if len(w.rest) < width {
		return 0, fmt.Errorf("length is cut off: %w", ErrMalformed)
	}
	var n int64
	if width == 2 {
		n = int64(int16(binary.BigEndian.Uint16(w.rest)))
	} else {
		n = int64(int32(binary.BigEndian.Uint32(w.rest)))
	}
	if n < -1 {
		return 0, fmt.Errorf("length of %d: %w", n, ErrMalformed)
	}
	w.rest = w.rest[width:]
	return n, nil
}

func (w *shapeWalker) skip(n int64) error {
	if n > int64(len(w.rest)) {
		return fmt.Errorf("field of %d bytes, %d left: %w", n, len(w.rest), ErrMalformed)
	}
	w.rest = w.rest[n:]
	return nil
}
