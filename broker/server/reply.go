package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	// sendfileThreshold is the size of a file range below which reading it into
	// the reply is cheaper than a system call of its own: header plus sendfile
	// costs twice the CPU of pread plus write at 1 KiB, and breaks even between
	// 16 and 64 KiB.
	sendfileThreshold = 64 << 10
	// maxCopied bounds what one reply takes into memory from files. Beyond it
	// small ranges too are sent from their files.
	maxCopied = 1 << 20
)

// Range is a run of bytes in a file that becomes part of a reply.
type Range struct {
	// File is read with ReadAt; when it also has OSFile() *os.File and the
	// connection is a plain TCP socket, a large range is sent by the kernel.
	File   io.ReaderAt
	Offset int64
	Len    int
	// Owner, if not nil, is released once, when the bytes have been copied or sent
	// or the reply is given up. Until then the bytes must not change.
	Owner interface{ Release() }
}

func (r *Range) release() {
	if r.Owner != nil {
		r.Owner.Release()
		r.Owner = nil
	}
}

// filePart is a range and the place in the reply's bytes that it follows.
type filePart struct {
	Range
	at int // number of bytes of Buf that are sent before it
}

// Reply is one response on its way out: bytes, with ranges of files in between.
// It begins with four bytes for the size and the response header; a handler
// appends the body to Buf. A Reply has one owner at a time: the handler until it
// is passed to Send or Hold, a waiter until Release, then the server.
type Reply struct {
	Buf []byte

	// ThrottleAt is the position in Buf of the response's throttle_time_ms
	// (int32), 0 if it has none. The server fills it in.
	ThrottleAt int

	files     []filePart
	fileBytes int64
	copied    int
	sent      int // bytes of Buf that have been written, if it has no files
	backing   *buffer
	pool      *bufferPool
	unsent    *unsent // where it counts while it is on its way
}

func newReply(pool *bufferPool) *Reply {
	b := pool.get(chunkSize)
	return &Reply{Buf: append(b.b[:0], 0, 0, 0, 0), backing: b, pool: pool}
}

// Grow makes room for n more bytes without further copying.
func (p *Reply) Grow(n int) {
	need := len(p.Buf) + n
	if need <= cap(p.Buf) {
		return
	}
	b := p.pool.get(need)
	old := p.Buf
	p.Buf = append(b.b[:0], old...)
	p.backing.b = old
	p.pool.put(p.backing)
	p.backing = b
}

// Size is the number of bytes that will be sent.
func (p *Reply) Size() int64 { return int64(len(p.Buf)) + p.fileBytes }

// AppendRange puts the bytes of a file range behind what is in Buf. A small
// range is read here and now; the error of that read leaves the reply as it was.
// The range is released in every case.
func (p *Reply) AppendRange(r Range) error {
	if r.Len >= sendfileThreshold || p.copied+r.Len > maxCopied {
		p.files = append(p.files, filePart{Range: r, at: len(p.Buf)})
		p.fileBytes += int64(r.Len)
		return nil
	}
	defer r.release()
	p.Grow(r.Len)
	at := len(p.Buf)
	if n, err := r.File.ReadAt(p.Buf[at:at+r.Len], r.Offset); n < r.Len {
		return fmt.Errorf("read %d bytes at %d of a log file: %w", r.Len, r.Offset, err)
	}
	p.Buf = p.Buf[:at+r.Len]
	p.copied += r.Len
	return nil
}

// seal writes the size in front.
func (p *Reply) seal() error {
	size := p.Size() - 4
	if size > math.MaxInt32 {
		return fmt.Errorf("server: a reply of %d bytes does not fit the protocol", size)
	}
	binary.BigEndian.PutUint32(p.Buf, uint32(size))
	return nil
}

// recycle gives back everything the reply holds.
func (p *Reply) recycle() {
	for i := range p.files {
		p.files[i].release()
	}
	p.files = nil
	p.backing.b = p.Buf
	p.pool.put(p.backing)
	p.Buf, p.backing = nil, nil
}

// Discard gives up a reply that will not be sent.
func (p *Reply) Discard() { p.recycle() }

// TruncateTo drops what was appended behind the first n bytes of Buf, file
// ranges included.
func (p *Reply) TruncateTo(n int) {
	for len(p.files) > 0 && p.files[len(p.files)-1].at > n {
		last := &p.files[len(p.files)-1]
		last.release()
		p.fileBytes -= int64(last.Len)
		p.files = slices.Delete(p.files, len(p.files)-1, len(p.files))
	}
	p.Buf = p.Buf[:n]
}

// ReplyPool makes replies that belong to no request and have no header, for
// tests and benchmarks of encoders.
type ReplyPool struct{ pool bufferPool }

// NewReplyPool returns an empty pool.
func NewReplyPool() *ReplyPool { return &ReplyPool{} }

// NewReply returns an empty reply.
func (p *ReplyPool) NewReply() *Reply { return newReply(&p.pool) }

// WriteTo writes what the reply holds, its size in front, to w, and recycles it.
// Connections do not use it: they know faster ways.
func (p *Reply) WriteTo(w io.Writer) (int64, error) {
	defer p.recycle()
	if err := p.seal(); err != nil {
		return 0, err
	}
	var parts []io.Reader
	sent := 0
	for _, f := range p.files {
		parts = append(parts, bytes.NewReader(p.Buf[sent:f.at]), io.NewSectionReader(f.File, f.Offset, int64(f.Len)))
		sent = f.at
	}
	return io.Copy(w, io.MultiReader(append(parts, bytes.NewReader(p.Buf[sent:]))...))
}
