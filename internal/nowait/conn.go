package nowait

import (
	"io"
	"net"
	"syscall"
)

// Conn is a TCP connection that reads and writes as this package does. Deadlines, and Close
// by another goroutine, end a Read or a Write as they always do. One goroutine may read
// while another writes.
type Conn struct {
	*net.TCPConn
	raw      syscall.RawConn
	lowWater LowWater
	in, out  transfer
}

// transfer is a read or a write that is under way, and its callback, which is made once.
type transfer struct {
	left []byte
	full bool // all of it is to be read
	err  error
	try  func(socket uintptr) (done bool)
}

// Wrap returns a connection that goes through c, or c itself if that is no TCP connection.
func Wrap(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	n := &Conn{TCPConn: tcp, raw: raw}
	n.in.try, n.out.try = n.tryRead, n.tryWrite
	return n
}

// Read reads what is there, and waits if nothing is.
func (c *Conn) Read(p []byte) (int, error) { return c.read(p, false) }

// ReadFull reads until p is full. It is woken when much of that has come, see LowWater, and
// not for each piece. The error is that of io.ReadFull.
func (c *Conn) ReadFull(p []byte) (int, error) { return c.read(p, true) }

func (c *Conn) read(p []byte, full bool) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t := &c.in
	t.left, t.full, t.err = p, full, nil
	err := c.raw.Read(t.try)
	n := len(p) - len(t.left)
	t.left = nil
	if err == nil {
		err = t.err
	}
	if err == io.EOF && n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *Conn) tryRead(socket uintptr) bool {
	t := &c.in
	for {
		n, err := Read(socket, t.left)
		switch {
		case err == syscall.EAGAIN:
			if t.full {
				c.lowWater.Await(socket, len(t.left))
			}
			return false
		case err != nil:
			t.err = err
		case n == 0:
			t.err = io.EOF
		}
		t.left = t.left[n:]
		if !t.full || t.err != nil || len(t.left) == 0 {
			c.lowWater.Reset(socket)
			return true
		}
	}
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) {
	t := &c.out
	t.left, t.err = p, nil
	err := c.raw.Write(t.try)
	n := len(p) - len(t.left)
	t.left = nil
	if err == nil {
		err = t.err
	}
	return n, err
}

func (c *Conn) tryWrite(socket uintptr) bool {
	t := &c.out
	for len(t.left) > 0 {
		n, err := Send(socket, t.left, false)
		if err == syscall.EAGAIN {
			return false
		}
		if err != nil {
			t.err = err
			return true
		}
		t.left = t.left[n:]
	}
	return true
}
