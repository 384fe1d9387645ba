package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gracchus-mq/gracchus/internal/nowait"
)

const (
	// minFrame is the smallest frame: key, version and correlation id.
	minFrame = 8
	// firstBody is what a frame larger than a chunk gets before the connection
	// has shown that it sends such frames.
	firstBody = 32 << 10
	// wideChunk is the size of the larger chunk.
	wideChunk = 32 << 10
	// maxEarned bounds what a connection gets at once however much it has sent.
	maxEarned = 1100 << 10
	// growWait bounds how long a half-read frame may wait for memory while it
	// holds some: without a bound, several such frames could wait for each other.
	growWait = 10 * time.Second
)

// frameError is a violation that closes the connection.
type frameError struct{ msg string }

func (e *frameError) Error() string { return e.msg }

// frameReader cuts a connection's bytes into frames. Small frames are read into
// a pooled chunk and handed out in place; larger ones get a buffer that grows as
// their bytes come. While nothing is buffered it holds no memory: on a TCP
// socket the chunk is taken only when bytes are ready. Used by the connection's
// reader goroutine only.
type frameReader struct {
	conn   net.Conn
	raw    syscall.RawConn // nil if conn is not a plain TCP socket
	pool   *bufferPool
	budget *budget                                    // nil: not charged
	max    int                                        // bytes of any frame
	limit  func(key, version int16) (maxBytes int32)  // at most max
	admit  func(ctx context.Context, key int16) error // nil: asks nobody whether the rest of a frame may be read
	turn   func(key int16) error                      // before a large frame is read
	touch  func()                                     // something was read
	due    *atomic.Int64                              // when the large frame that is coming must be here, Unix nanoseconds

	chunk   *buffer // nil while nothing is buffered
	wide    int64   // bytes of the budget for a chunk that is larger than chunkSize
	r, w    int     // chunk[r:w] has been read from the socket and not been used
	body    *buffer // memory of the current frame, if it did not fit the chunk
	charged int64
	earned  int // the largest frame this connection has completed

	// What raw.Read has to know, and its callbacks, which are made once.
	into      []byte // of body: where what comes next belongs
	got       int
	readErr   error
	lowWater  nowait.LowWater
	ready     func(fd uintptr) bool
	bodyReady func(fd uintptr) bool
}

func (f *frameReader) init() {
	f.ready = func(fd uintptr) bool {
		f.needChunk()
		n, err := nowait.Read(fd, f.chunk.b[f.w:])
		switch {
		case err == syscall.EAGAIN:
			f.dropChunk()
			return false
		case err != nil:
			f.readErr = err
		case n == 0:
			f.readErr = io.EOF
		default:
			f.w += n
		}
		return true
	}
	f.bodyReady = func(fd uintptr) bool {
		f.got, f.readErr = nowait.Read(fd, f.into)
		if f.got == 0 && f.readErr == nil {
			f.readErr = io.EOF
		}
		if f.readErr == syscall.EAGAIN {
			f.lowWater.Await(fd, len(f.into))
			return false
		}
		if f.got == len(f.into) {
			f.lowWater.Reset(fd)
		}
		return true
	}
}

// readBody reads at least one byte of the body, or fails.
func (f *frameReader) readBody(into []byte) (int, error) {
	if f.raw == nil {
		return f.conn.Read(into)
	}
	f.into = into
	err := f.raw.Read(f.bodyReady)
	f.into = nil
	if err != nil {
		return 0, err
	}
	return f.got, f.readErr
}

func (f *frameReader) needChunk() {
	if f.chunk != nil {
		return
	}
	size := chunkSize
	// Who sends frames of this size gets room for a whole one, so that it takes one
	// read and is not copied.
	if 4+f.earned > chunkSize && 4+f.earned <= wideChunk && f.raw != nil && f.budget != nil && f.budget.tryAcquire(wideChunk-chunkSize) {
		size, f.wide = wideChunk, wideChunk-chunkSize
	}
	f.chunk = f.pool.get(size)
	// A pooled buffer can be larger: what comes behind the beginning of a large frame
	// must fit that frame's first body.
	f.chunk.b = f.chunk.b[:size]
	f.r, f.w = 0, 0
}

// dropChunk gives the chunk back if nothing in it is needed.
func (f *frameReader) dropChunk() {
	if f.chunk != nil && f.r == f.w {
		f.pool.put(f.chunk)
		f.chunk, f.r, f.w = nil, 0, 0
		if f.wide > 0 {
			f.budget.release(f.wide)
			f.wide = 0
		}
	}
}

// fill reads at least one byte behind chunk[:w].
func (f *frameReader) fill() error {
	if f.raw != nil {
		f.readErr = nil
		if err := f.raw.Read(f.ready); err != nil {
			return err
		}
		if f.readErr != nil {
			return f.readErr
		}
	} else {
		f.needChunk()
		n, err := f.conn.Read(f.chunk.b[f.w:])
		f.w += n
		if n == 0 && err != nil {
			return err
		}
	}
	f.touch()
	return nil
}

// need makes chunk[r:r+n] available, n at most the chunk's size.
func (f *frameReader) need(n int) error {
	for f.w-f.r < n {
		if f.chunk != nil && f.r+n > len(f.chunk.b) {
			f.w = copy(f.chunk.b, f.chunk.b[f.r:f.w])
			f.r = 0
		}
		if err := f.fill(); err != nil {
			if err == io.EOF && f.w > f.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// next returns the next frame without its size. It is valid until release.
// io.EOF means that the peer closed between two frames.
func (f *frameReader) next(ctx context.Context) ([]byte, error) {
	if err := f.need(4); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(f.chunk.b[f.r:])))
	if size < minFrame {
		return nil, &frameError{fmt.Sprintf("a frame of %d bytes cannot hold a request header", size)}
	}
	if size > f.max { // known before there is a key: nobody waits for one
		return nil, &frameError{fmt.Sprintf("a frame of %d bytes is over the limit of %d", size, f.max)}
	}
	if err := f.need(8); err != nil {
		return nil, err
	}
	key := int16(binary.BigEndian.Uint16(f.chunk.b[f.r+4:]))
	version := int16(binary.BigEndian.Uint16(f.chunk.b[f.r+6:]))
	if limit := f.limit(key, version); size > int(limit) {
		return nil, &frameError{fmt.Sprintf("a frame of %d bytes is over the limit of %d for key %d", size, limit, key)}
	}
	if f.admit != nil {
		if err := f.admit(ctx, key); err != nil {
			return nil, err
		}
	}
	if 4+size > len(f.chunk.b) {
		if err := f.turn(key); err != nil {
			return nil, err
		}
		f.r += 4
		return f.large(ctx, size)
	}
	if err := f.need(4 + size); err != nil {
		return nil, err
	}
	frame := f.chunk.b[f.r+4 : f.r+4+size]
	f.r += 4 + size
	return frame, nil
}

// large reads a frame that does not fit the chunk.
func (f *frameReader) large(ctx context.Context, size int) ([]byte, error) {
	f.due.Store(time.Now().Add(frameGrace + time.Duration(size/minFrameRate)*time.Second).UnixNano())
	defer f.due.Store(0)
	room := min(size, max(firstBody, f.earned))
	if err := f.charge(ctx, room); err != nil {
		return nil, err
	}
	f.body = f.pool.get(room)
	have := copy(f.body.b[:room], f.chunk.b[f.r:min(f.w, f.r+room)])
	f.r += have
	f.dropChunk()
	for have < size {
		if have == room {
			if err := f.grow(ctx, have, size); err != nil {
				return nil, err
			}
			room = min(size, 4*room)
		}
		n, err := f.readBody(f.body.b[have:room])
		have += n
		if n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		f.touch()
	}
	f.earned = min(max(f.earned, size), maxEarned)
	return f.body.b[:size], nil
}

// grow replaces the body by one four times as large: it has been filled.
func (f *frameReader) grow(ctx context.Context, have, size int) error {
	room := min(size, 4*have)
	bounded, cancel := context.WithTimeout(ctx, growWait)
	defer cancel()
	if err := f.charge(bounded, room-have); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return &frameError{"no memory for a frame of " + fmt.Sprint(size) + " bytes: all of the broker's request memory is in use"}
		}
		return err
	}
	larger := f.pool.get(room)
	copy(larger.b, f.body.b[:have])
	f.pool.put(f.body)
	f.body = larger
	return nil
}

// charge takes n bytes more of the budget, but all in all no more than there can
// be: the rest of a frame as large as that would wait for its beginning.
func (f *frameReader) charge(ctx context.Context, n int) error {
	if f.budget == nil {
		return nil
	}
	more := min(int64(n), f.budget.size-f.charged)
	if more <= 0 {
		return nil
	}
	got, err := f.budget.acquire(ctx, more)
	f.charged += got
	return err
}

// more reports whether bytes of the next frame have been read.
func (f *frameReader) more() bool { return f.chunk != nil && f.w > f.r }

// release gives back the memory of the current frame.
func (f *frameReader) release() {
	if f.body != nil {
		f.pool.put(f.body)
		f.body = nil
	}
	if f.charged > 0 {
		f.budget.release(f.charged)
		f.charged = 0
	}
	f.dropChunk()
}

// close gives back everything.
func (f *frameReader) close() {
	f.r = f.w
	f.release()
}
