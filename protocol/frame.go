package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrFrameSize says that a peer announced a frame that is negative or larger
// than allowed. The connection cannot go on: where the next frame would begin is
// unknown.
var ErrFrameSize = errors.New("frame size out of bounds")

// frameStep bounds what ReadFrame allocates ahead of the bytes: a peer that
// announces 100 MiB and sends nothing costs one step.
const frameStep = 64 << 10

// fullReader is a reader that knows how to wait for all of what it is asked for.
type fullReader interface {
	ReadFull(p []byte) (int, error) // as io.ReadFull does
}

func readFull(r io.Reader, p []byte) (int, error) {
	if f, ok := r.(fullReader); ok {
		return f.ReadFull(p)
	}
	return io.ReadFull(r, p)
}

// ReadFrame reads one frame (a size of four bytes, then that many bytes) and
// returns it without the size. It uses buf's capacity if that is enough, else a
// new slice that grows as the bytes arrive. The result is the caller's.
//
// Errors: io.EOF if the stream ended before the first byte, io.ErrUnexpectedEOF
// if it ended inside the frame, ErrFrameSize (wrapped) if the announced size is
// negative or above limit.
func ReadFrame(r io.Reader, limit int32, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], 4)[:4]
	if _, err := readFull(r, buf); err != nil {
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(buf))
	if size < 0 || size > limit {
		return nil, fmt.Errorf("frame of %d bytes, at most %d are allowed: %w", size, limit, ErrFrameSize)
	}
	buf = buf[:0]
	for len(buf) < int(size) {
		step := min(int(size)-len(buf), max(cap(buf)-len(buf), len(buf), frameStep))
		from := len(buf)
		buf = slices.Grow(buf, step)[:from+step]
		if _, err := readFull(r, buf[from:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return buf, nil
}
