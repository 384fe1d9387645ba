package harness

import (
	"bytes"
	"fmt"
	"strconv"
)

// Header of a record. A nil Value is null, which Kafka tells apart from empty.
type Header struct {
	Key   string
	Value []byte
}

// Record is what the clients produce and read back.
type Record struct {
	Key, Value []byte // nil is null
	Headers    []Header
	Timestamp  int64 // ms
}

// FirstTimestamp is the timestamp of record 0; they are a second apart.
const FirstTimestamp = 1700000000000

var sizes = []int{0, 1, 10, 100, 1000, 5000}

// MakeRecord is record i. clients/ has the same in Python and Java: every field
// follows from i, so that what one client wrote can be checked by another.
func MakeRecord(i int) Record {
	r := Record{Timestamp: FirstTimestamp + int64(i)*1000}
	if i%7 != 0 {
		r.Key = []byte("key-" + strconv.Itoa(i))
	}
	if i%11 != 10 {
		r.Value = make([]byte, sizes[i%len(sizes)])
		for j := range r.Value {
			r.Value[j] = byte(i*31 + j*7)
		}
	}
	if i%3 > 0 {
		r.Headers = append(r.Headers, Header{"n", []byte(strconv.Itoa(i))})
	}
	if i%3 > 1 {
		r.Headers = append(r.Headers, Header{"empty", []byte{}}, Header{"null", nil})
	}
	return r
}

// Same compares records byte by byte, null and empty told apart.
func (r Record) Same(other Record) error {
	if !same(r.Key, other.Key) {
		return fmt.Errorf("key %s instead of %s", show(other.Key), show(r.Key))
	}
	if !same(r.Value, other.Value) {
		return fmt.Errorf("value %s instead of %s", show(other.Value), show(r.Value))
	}
	if len(r.Headers) != len(other.Headers) {
		return fmt.Errorf("%d headers instead of %d", len(other.Headers), len(r.Headers))
	}
	for i, h := range r.Headers {
		if h.Key != other.Headers[i].Key || !same(h.Value, other.Headers[i].Value) {
			return fmt.Errorf("header %s=%s instead of %s=%s", other.Headers[i].Key, show(other.Headers[i].Value), h.Key, show(h.Value))
		}
	}
	if r.Timestamp != other.Timestamp {
		return fmt.Errorf("timestamp %d instead of %d", other.Timestamp, r.Timestamp)
	}
	return nil
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func show(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}
