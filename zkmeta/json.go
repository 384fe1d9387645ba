package zkmeta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// errNoData is the cause when a znode that must carry a JSON object has no data
// or empty data.
var errNoData = errors.New("no data")

// object is one JSON object, its values still encoded.
//
// It stands in for struct decoding because encoding/json matches struct fields
// without regard to case, while every other reader of these nodes is exact: a key
// "ISR" must not overwrite "isr".
type object map[string]json.RawMessage

// decodeObject reads the JSON object that data begins with. What follows the
// object is ignored, as Jackson's readTree does.
func decodeObject(data []byte) (object, error) {
	if len(data) == 0 {
		return nil, errNoData
	}
	var o object
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("null instead of an object")
	}
	return o, nil
}

// has tells whether key is there with a value other than null.
func (o object) has(key string) bool {
	raw, ok := o[key]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// field decodes the required key into T.
func field[T any](o object, key string) (T, error) {
	var v T
	if !o.has(key) {
		return v, fmt.Errorf("%q is missing", key)
	}
	if err := json.Unmarshal(o[key], &v); err != nil {
		return v, fmt.Errorf("%q: %w", key, err)
	}
	return v, nil
}

// fieldOr decodes key into T, or returns fallback if the key is absent or null.
func fieldOr[T any](o object, key string, fallback T) (T, error) {
	if !o.has(key) {
		return fallback, nil
	}
	return field[T](o, key)
}

// int32s decodes a list of ids. A null in the list is an error: encoding/json
// would read it as 0, which is somebody else's id.
func int32s(raw json.RawMessage) ([]int32, error) {
	var boxed []*int32
	if err := json.Unmarshal(raw, &boxed); err != nil {
		return nil, err
	}
	if boxed == nil {
		return nil, errors.New("null instead of a list")
	}
	ids := make([]int32, len(boxed))
	for i, p := range boxed {
		if p == nil {
			return nil, errors.New("null in a list of ids")
		}
		ids[i] = *p
	}
	return ids, nil
}

// fieldInt32s decodes the required key into a list of ids.
func (o object) fieldInt32s(key string) ([]int32, error) {
	raw, ok := o[key]
	if !ok {
		return nil, fmt.Errorf("%q is missing", key)
	}
	ids, err := int32s(raw)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", key, err)
	}
	return ids, nil
}

// onlyKeys refuses any key that is not listed, for the nodes that Kafka decodes
// strictly.
func (o object) onlyKeys(allowed ...string) error {
next:
	for key := range o {
		for _, a := range allowed {
			if key == a {
				continue next
			}
		}
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

// encodeJSON writes v on one line without HTML escapes: "<default>" stays
// readable, as it does when Kafka writes it.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// orEmpty turns a nil list into an empty one, which encodes as [] and not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// malformed says which node could not be read and shows what stood there, cut to
// a length that fits a log line.
func malformed(path string, data []byte, err error) error {
	const shown = 256
	text := string(data)
	if len(text) > shown {
		text = text[:shown] + "…"
	}
	return &MalformedError{Path: path, Data: text, Err: err}
}

// MalformedError is returned by every decoder for a node whose content cannot be
// read. The node belongs to somebody else: readers skip it and say so, they do not
// stop the broker over it unless nothing can be done without it.
type MalformedError struct {
	Path string
	Data string // the beginning of the data, for the log
	Err  error
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("znode %s cannot be read: %v (data %q)", e.Path, e.Err, e.Data)
}

func (e *MalformedError) Unwrap() error { return e.Err }
