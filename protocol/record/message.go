package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Message is the bytes of one whole message of format 0 or 1, as Kafka wrote
// them before 0.11. A message holds one record:
//
//	offset i64 · size i32 · crc u32 · magic i8 · attributes i8 · timestamp i64 (format 1)
//	key and value, each with its length as an i32 before it, −1 for null
//
// or, if the attributes name a codec, more messages, compressed, as its value:
// then it is called their wrapper, and its offset is that of the last one. The
// nesting ends there. Messages one behind the other are a message set.
//
// Next and nextMessage guarantee the bytes that the accessors read; they verify
// nothing.
type Message []byte

// Positions of a message's fields. Offset, size and magic are where a batch has
// its base offset, length and magic.
const (
	posMessageCRC        = 12
	posMessageAttributes = 17
	posMessageTimestamp  = 18
	posMessageContent0   = 18 // of the key's length, in format 0
	posMessageContent1   = 26 // and in format 1
)

// messageHeader is the size of what stands before key and value.
func messageHeader(magic int8) int {
	if magic == 0 {
		return posMessageContent0
	}
	return posMessageContent1
}

// Offset is the record's offset; inside of a wrapper of format 1 it counts from
// the first message there.
func (m Message) Offset() int64 { return int64(binary.BigEndian.Uint64(m[posBaseOffset:])) }
func (m Message) Magic() int8   { return int8(m[posMagic]) }
func (m Message) Codec() Codec  { return Codec(m[posMessageAttributes] & attrCodec) }

// TimestampType says who set the timestamp. Format 0 has none.
func (m Message) TimestampType() TimestampType {
	if m.Magic() > 0 && m[posMessageAttributes]&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// Timestamp is in ms since 1970, NoTimestamp in format 0. A wrapper's is the
// greatest of its messages' or, with LogAppendTime, that of each of them.
func (m Message) Timestamp() int64 {
	if m.Magic() == 0 {
		return NoTimestamp
	}
	return int64(binary.BigEndian.Uint64(m[posMessageTimestamp:]))
}

// CheckCRC compares the stored CRC-32 with the bytes. The error wraps
// kerr.CorruptMessage.
func (m Message) CheckCRC() error {
	stored, computed := binary.BigEndian.Uint32(m[posMessageCRC:]), crc32.ChecksumIEEE(m[posMagic:])
	if stored != computed {
		return fmt.Errorf("message at offset %d: stored checksum %08x, computed %08x: %w", m.Offset(), stored, computed, kerr.CorruptMessage)
	}
	return nil
}

// content returns key and value, nil if they are null. ok is false if they do not
// fit the message; what may follow them is ignored, as in Kafka.
func (m Message) content() (key, value []byte, ok bool) {
	if len(m) < messageHeader(m.Magic()) {
		return nil, nil, false
	}
	key, rest, ok := sized(m[messageHeader(m.Magic()):])
	if !ok {
		return nil, nil, false
	}
	value, _, ok = sized(rest)
	return key, value, ok
}

// sized reads bytes with their length, an i32, before them: nil if it is
// negative.
func sized(b []byte) (v, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	switch b = b[4:]; {
	case n < 0:
		return nil, b, true
	case n > int64(len(b)):
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// nextMessage splits off the first message of what a wrapper holds. Its format is
// not checked. Errors as Next.
func nextMessage(set []byte) (m Message, rest []byte, err error) {
	if len(set) < LogOverhead {
		return nil, nil, ErrTruncated
	}
	length := int64(int32(binary.BigEndian.Uint32(set[posLength:])))
	if length < minLegacySize {
		return nil, nil, fmt.Errorf("message with a size of %d: %w", length, kerr.CorruptMessage)
	}
	size := LogOverhead + length
	if size > int64(len(set)) {
		return nil, nil, ErrTruncated
	}
	return Message(set[:size:size]), set[size:], nil
}

// MessageRecord is one record of a message. Key and Value alias the message, or
// what it was decompressed to; nil if absent.
type MessageRecord struct {
	Offset     int64
	Timestamp  int64 // ms, NoTimestamp in format 0
	Key, Value []byte

	message Message // the innermost
}

// Records iterates over the record of a message or, if it is a wrapper, over
// those inside, which it decompresses to at most maxDecompressed bytes. What is
// said of Batch.Records holds here, too. The checksums of messages inside are not
// checked. The iteration ends with the first error: kerr.InvalidRecord or
// kerr.CorruptMessage (wrapped) if the wrapper does not hold what it should,
// ErrTooLarge (wrapped) if it exceeds the bound.
func (m Message) Records(maxDecompressed int) iter.Seq2[MessageRecord, error] {
	return func(yield func(MessageRecord, error) bool) {
		var failed error
		err := m.open(new([]byte), maxDecompressed, func(w *messageWalker) error {
			for {
				r, more, err := w.next()
				if failed = err; err != nil || !more || !yield(r, nil) {
					return nil
				}
			}
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			yield(MessageRecord{}, fmt.Errorf("message at offset %d: %w", m.Offset(), err))
		}
	}
}

// messageWalker reads the records of a message one after the other.
type messageWalker struct {
	wrapper Message // nil if the message is none
	rest    []byte  // whole messages
	base    int64   // is added to their offsets
}

// open calls use with a walker of the message; see openPayload. Like Kafka it
// leaves out a message that is cut off at the end of the wrapper, but takes a
// wrapper without any for invalid.
func (m Message) open(buf *[]byte, limit int, use func(*messageWalker) error) error {
	codec := m.payloadCodec()
	if codec == None {
		return use(&messageWalker{rest: m})
	}
	_, compressed, ok := m.content()
	switch {
	case !ok:
		return fmt.Errorf("key or value do not fit: %w", kerr.InvalidRecord)
	case compressed == nil:
		return fmt.Errorf("compressed message without a value: %w", kerr.InvalidRecord)
	case m.Codec() > LZ4:
		return fmt.Errorf("%v in message format %d: %w", codec, m.Magic(), kerr.InvalidRecord)
	}
	return openPayload(buf, compressed, codec, limit, func(set []byte) error {
		w, err := m.inside(set)
		if err != nil {
			return err
		}
		return use(&w)
	})
}

// inside is a walker of the messages inside of a wrapper.
func (m Message) inside(set []byte) (messageWalker, error) {
	w := messageWalker{wrapper: m}
	var last Message
	for rest := set; ; {
		inner, next, err := nextMessage(rest)
		if errors.Is(err, ErrTruncated) {
			w.rest = set[:len(set)-len(rest)]
			break
		}
		if err != nil {
			return messageWalker{}, err
		}
		last, rest = inner, next
	}
	if last == nil {
		return messageWalker{}, fmt.Errorf("compressed message without messages inside: %w", kerr.InvalidRecord)
	}
	// Inside of a wrapper of format 1 offsets begin with 0. Some versions of
	// librdkafka send wrappers with offset 0 whatever they hold.
	if m.Magic() > 0 && m.Offset() != 0 {
		if w.base = m.Offset() - last.Offset(); w.base < 0 || last.Offset() < 0 {
			return messageWalker{}, fmt.Errorf("the last message inside has offset %d: %w", last.Offset(), kerr.InvalidRecord)
		}
	}
	return w, nil
}

// next returns the next record; more is false at the end.
func (w *messageWalker) next() (r MessageRecord, more bool, err error) {
	m, rest, err := nextMessage(w.rest)
	if errors.Is(err, ErrTruncated) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	w.rest = rest
	r = MessageRecord{Offset: m.Offset() + w.base, Timestamp: m.Timestamp(), message: m}
	if w.wrapper != nil {
		if m.Codec() != None {
			return r, false, fmt.Errorf("compressed message inside of a compressed one: %w", kerr.InvalidRecord)
		}
		if m.Magic() > 0 && w.wrapper.TimestampType() == LogAppendTime {
			r.Timestamp = w.wrapper.Timestamp()
		}
	}
	var ok bool
	if r.Key, r.Value, ok = m.content(); !ok {
		return r, false, fmt.Errorf("key or value of a message of %d bytes do not fit: %w", len(m), kerr.InvalidRecord)
	}
	return r, true, nil
}
