// Package inproc is a network of one process: a net.Listener whose connections
// never leave it. A broker reaches itself through one, and whole brokers run on
// them inside a testing/synctest bubble, where sockets are not allowed.
package inproc

import (
	"context"
	"net"
	"sync"
)

// Listener hands the far end of every Dial to Accept. Its connections are
// net.Pipe pairs: unbuffered, with deadlines, and durably blocking in a
// synctest bubble. A peer that only writes and never reads stops its other end,
// as a full socket would, only sooner.
//
// A Listener is safe for concurrent use. It starts no goroutine; the mutex-free
// hand-over is one unbuffered channel, so a Dial that returned without error has
// been accepted.
type Listener struct {
	name   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Listen makes a listener. The name is what Addr prints.
func Listen(name string) *Listener {
	return &Listener{name: name, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for a Dial; after Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	}
}

// Dial connects to the listener once somebody accepts. It returns ctx's error
// when that ends first, and net.ErrClosed (wrapped) when the listener is closed.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, l.opError("dial", net.ErrClosed)
	default:
	}
	near, far := net.Pipe()
	select {
	case l.conns <- conn{Conn: far, local: l.Addr(), remote: addr("inproc-client")}:
		return conn{Conn: near, local: addr("inproc-client"), remote: l.Addr()}, nil
	case <-l.closed:
		return nil, l.opError("dial", net.ErrClosed)
	case <-ctx.Done():
		return nil, l.opError("dial", ctx.Err())
	}
}

// Close ends all waiting and later calls of Accept and Dial. Connections that
// were made stay open. A second Close returns net.ErrClosed, as a socket does.
func (l *Listener) Close() error {
	err := l.opError("close", net.ErrClosed)
	l.once.Do(func() {
		close(l.closed)
		err = nil
	})
	return err
}

// Addr returns an address with network "inproc" and the listener's name.
func (l *Listener) Addr() net.Addr { return addr(l.name) }

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "inproc", Addr: l.Addr(), Err: err}
}

type addr string

func (addr) Network() string  { return "inproc" }
func (a addr) String() string { return string(a) }

// conn gives both ends of a pipe names worth logging.
type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c conn) LocalAddr() net.Addr  { return c.local }
func (c conn) RemoteAddr() net.Addr { return c.remote }
