package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kerr"
)

// DownConvert appends entry, a whole batch or message of any format, to dst in
// message format magic, 0 or 1, as consumers from before 0.11 want it. What an
// older format cannot say is left out: headers, control batches, and in format 0
// timestamps. An entry of that format or an older one is copied.
//
// An uncompressed batch becomes as many messages, without those below offset
// from; a compressed one becomes one compressed message. (Some versions of
// librdkafka rely on both.) So the result can be many times as large as entry;
// uncompressed records are left out once dst has most bytes, of which the caller
// means to use no more. Compressed records may take maxDecompressed bytes, and as
// many as messages before they are compressed again.
//
// Errors wrap kerr.UnsupportedCompressionType for zstd, which the old formats do
// not know, else they are those of Batch.Records and Message.Records.
func DownConvert(dst []byte, entry Batch, magic int8, from int64, most, maxDecompressed int) ([]byte, error) {
	if entry.Magic() < 2 {
		return downConvertMessage(dst, Message(entry), magic, from, maxDecompressed)
	}
	switch {
	case entry.IsControl():
		return dst, nil
	case entry.Codec() == Zstd:
		return dst, errZstdMessage
	}
	w := messageWriter{dst: dst, magic: magic, codec: entry.Codec(), timestamps: entry.TimestampType()}
	for r, err := range entry.Records(maxDecompressed) {
		if err != nil {
			return dst, err
		}
		offset := entry.Offset(r)
		if w.codec == None && offset < from {
			continue
		}
		if w.codec == None && len(w.dst) >= most {
			break
		}
		w.add(offset, entry.Timestamp(r), r.Key, r.Value)
		if len(w.inner) > maxDecompressed {
			return dst, fmt.Errorf("batch at offset %d, in message format %d: %w", entry.BaseOffset(), magic, ErrTooLarge)
		}
	}
	return w.finish()
}

var errZstdMessage = fmt.Errorf("zstd in a message format before 2: %w", kerr.UnsupportedCompressionType)

func downConvertMessage(dst []byte, m Message, magic int8, from int64, maxDecompressed int) ([]byte, error) {
	switch {
	case m.Codec() == Zstd:
		return dst, errZstdMessage
	case m.Magic() <= magic:
		return append(dst, m...), nil
	}
	w := messageWriter{dst: dst, magic: magic, codec: m.Codec(), timestamps: m.TimestampType()}
	for r, err := range m.Records(maxDecompressed) {
		if err != nil {
			return dst, err
		}
		if w.codec != None || r.Offset >= from {
			w.add(r.Offset, r.Timestamp, r.Key, r.Value)
		}
	}
	return w.finish()
}

// messageWriter appends records as messages: each for itself or, if there is a
// codec, all in one wrapper.
type messageWriter struct {
	dst        []byte
	magic      int8
	codec      Codec
	timestamps TimestampType

	inner          []byte // messages that are to be wrapped
	base           int64  // offset of the first of them
	last, greatest int64  // their last offset, and greatest timestamp
}

func (w *messageWriter) add(offset, timestamp int64, key, value []byte) {
	if w.codec == None {
		w.dst = appendMessage(w.dst, w.magic, w.attributes(None), offset, timestamp, key, value)
		return
	}
	if len(w.inner) == 0 {
		w.base, w.greatest = offset, NoTimestamp
	}
	w.last, w.greatest = offset, max(w.greatest, timestamp)
	if w.magic > 0 {
		offset -= w.base
	}
	w.inner = appendMessage(w.inner, w.magic, w.attributes(None), offset, timestamp, key, value)
}

// finish writes the wrapper, if there is to be one, and returns dst.
func (w *messageWriter) finish() ([]byte, error) {
	if len(w.inner) == 0 {
		return w.dst, nil
	}
	value, err := compressMessages(nil, w.inner, w.codec, w.magic)
	if err != nil {
		return w.dst, fmt.Errorf("compress messages of format %d: %w", w.magic, err)
	}
	return appendMessage(w.dst, w.magic, w.attributes(w.codec), w.last, w.greatest, nil, value), nil
}

func (w *messageWriter) attributes(c Codec) byte {
	a := byte(c)
	if w.magic > 0 && w.timestamps == LogAppendTime {
		a |= attrLogAppendTime
	}
	return a
}

func appendMessage(dst []byte, magic int8, attributes byte, offset, timestamp int64, key, value []byte) []byte {
	start := len(dst)
	size := messageHeader(magic) - LogOverhead + 4 + len(key) + 4 + len(value)
	dst = binary.BigEndian.AppendUint64(dst, uint64(offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = append(dst, 0, 0, 0, 0, byte(magic), attributes)
	if magic > 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(timestamp))
	}
	dst = appendSized(appendSized(dst, key), value)
	binary.BigEndian.PutUint32(dst[start+posMessageCRC:], crc32.ChecksumIEEE(dst[start+posMagic:]))
	return dst
}

func appendSized(dst, v []byte) []byte {
	if v == nil {
		return append(dst, 0xff, 0xff, 0xff, 0xff)
	}
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(v))), v...)
}
