package zkproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// DefaultMaxFrame is the limit in bytes that ZooKeeper itself puts on a frame
// unless jute.maxbuffer says otherwise.
const DefaultMaxFrame = 0xfffff

// ErrFrameTooLarge is returned by ReadFrame for a length that is negative or
// above the limit. The connection cannot be used any further.
var ErrFrameTooLarge = errors.New("ZooKeeper frame length out of bounds")

// readStep is how much ReadFrame reserves ahead of the bytes that have arrived.
const readStep = 64 << 10

// ReadFrame reads one frame, a 4-byte length and that many bytes, and returns
// the bytes. It uses buf's capacity when that is enough, and otherwise grows it
// only as bytes arrive, so that a length that is a lie costs little. io.EOF
// means that the peer closed between frames, io.ErrUnexpectedEOF within one.
func ReadFrame(r io.Reader, max int, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(head[:])))
	if n < 0 || n > max {
		return nil, fmt.Errorf("%w: %d, limit %d", ErrFrameTooLarge, n, max)
	}
	return ReadBody(r, n, buf)
}

// ReadBody reads the n bytes of a frame whose length has been read and judged
// already. It treats buf as ReadFrame does.
func ReadBody(r io.Reader, n int, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for len(buf) < n {
		step := min(n-len(buf), max(readStep, cap(buf)-len(buf)))
		start := len(buf)
		buf = slices.Grow(buf, step)[:start+step]
		if _, err := io.ReadFull(r, buf[start:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}

// appendFrame appends a frame whose content is what fill appends.
func appendFrame(dst []byte, fill func([]byte) []byte) []byte {
	start := len(dst)
	dst = fill(append(dst, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// AppendRequest appends a whole frame: length, header, and body unless nil.
func AppendRequest(dst []byte, h RequestHeader, body Record) []byte {
	return appendFrame(dst, func(b []byte) []byte {
		b = h.Encode(b)
		if body != nil {
			b = body.Encode(b)
		}
		return b
	})
}

// AppendReply appends a whole frame: length, header, and body unless nil. A
// reply with an error has no body.
func AppendReply(dst []byte, h ReplyHeader, body Record) []byte {
	return appendFrame(dst, func(b []byte) []byte {
		b = h.Encode(b)
		if body != nil && h.Err == 0 {
			b = body.Encode(b)
		}
		return b
	})
}

// AppendFrame appends a frame of one record without a header, as the two
// connect records travel.
func AppendFrame(dst []byte, body Record) []byte {
	return appendFrame(dst, body.Encode)
}

// AppendEvent appends a watch event as a whole frame. zxid is -1 in the events
// of ZooKeeper 3.8; later releases put the zxid of the change there.
func AppendEvent(dst []byte, zxid int64, e WatcherEvent) []byte {
	return AppendReply(dst, ReplyHeader{XID: XIDWatch, Zxid: zxid}, &e)
}
