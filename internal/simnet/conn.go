package simnet

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"
)

var errReset error = syscall.ECONNRESET

// Conn is one end of a connection. Writes never wait: there is room for everything that
// nobody reads.
type Conn struct {
	n             *Network
	process       *Process
	in, out       *stream
	local, remote addr

	// Guarded by the network's mutex.
	lost                        error // why this end is of no use any more
	readDeadline, writeDeadline time.Time
}

var _ net.Conn = (*Conn)(nil)

// connect makes the two ends of a connection. mu is held.
func (n *Network) connect(from, to *Process, w way, there, back *rand.Rand) (near, far *Conn) {
	forth, hither := newStream(n.link(w.from, w.to), there), newStream(n.link(w.to, w.from), back)
	near = &Conn{n: n, process: from, in: hither, out: forth, local: addr(w.from), remote: addr(w.to)}
	far = &Conn{n: n, process: to, in: forth, out: hither, local: addr(w.to), remote: addr(w.from)}
	from.conns[near] = true
	to.conns[far] = true
	return near, far
}

// Read waits for bytes to arrive. When the other end has closed the connection it
// returns io.EOF, and when it is broken ECONNRESET, wrapped, behind what has arrived.
func (c *Conn) Read(b []byte) (int, error) {
	for {
		c.n.mu.Lock()
		n, due, err := c.read(b, time.Now())
		changed := c.in.changed
		c.n.mu.Unlock()
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		if due.IsZero() {
			<-changed
			continue
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// read returns what has arrived or, if nothing has, when to look again; the zero time
// means not before something changes.
func (c *Conn) read(b []byte, now time.Time) (n int, due time.Time, err error) {
	switch {
	case c.lost != nil:
		return 0, due, c.opError("read", c.lost)
	case passed(c.readDeadline, now):
		return 0, due, c.opError("read", os.ErrDeadlineExceeded)
	}
	n, due, err = c.in.take(b, now)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	if due.IsZero() || !c.readDeadline.IsZero() && c.readDeadline.Before(due) {
		due = c.readDeadline
	}
	return n, due, err
}

// Write sends all of b, or says that this end knows of the connection's end.
func (c *Conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	now := time.Now()
	switch {
	case c.lost != nil:
		return 0, c.opError("write", c.lost)
	case passed(c.writeDeadline, now):
		return 0, c.opError("write", os.ErrDeadlineExceeded)
	case c.in.over(now):
		return 0, c.opError("write", syscall.EPIPE)
	}
	c.out.send(b, c.in)
	return len(b), nil
}

// Close ends the connection. What was written arrives.
func (c *Conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.lost != nil {
		return c.opError("close", c.lost)
	}
	c.end(net.ErrClosed)
	return nil
}

// end is Close for a reason. The network's mutex is held.
func (c *Conn) end(why error) {
	c.lost = why
	c.in.close()
	c.out.put(nil, io.EOF)
	delete(c.process.conns, c)
}

func (c *Conn) LocalAddr() net.Addr  { return c.local }
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

func (c *Conn) SetDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.readDeadline, c.writeDeadline = t, t
	c.in.signal()
	return nil
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.readDeadline = t
	c.in.signal()
	return nil
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.writeDeadline = t
	return nil
}

func passed(deadline, now time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}
