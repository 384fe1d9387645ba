package simnet

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errKilled = errors.New("this process was killed")

// Process is what runs on a machine until it is killed. Several may run on one.
type Process struct {
	n       *Network
	machine string

	// Guarded by the network's mutex.
	dead  bool
	conns map[*Conn]bool
}

// Process starts a process on a machine, whose power is on from now on: connections that
// its processes had when it failed are broken, as their other ends find out when they
// send something.
func (n *Network) Process(machine string) *Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.machine(machine)
	m.off = false
	for c := range m.left {
		c.in.refuse(c.out)
	}
	clear(m.left)
	n.signal()
	return &Process{n: n, machine: machine, conns: map[*Conn]bool{}}
}

// Dial connects to whoever listens on an address. It takes as long as two messages; on a
// link that is cut, and to a machine without power, until ctx ends.
func (p *Process) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := p.n.dial(ctx, p, address)
	if err != nil {
		return nil, err // and no interface that holds a nil
	}
	return c, nil
}

// Listen makes the process reachable at an address, which stays one of its machine.
// Connections are made although nobody accepts them yet.
func (p *Process) Listen(address string) (*Listener, error) {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	if p.dead {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addr(address), Err: errKilled}
	}
	l := &Listener{process: p, address: address, backlog: make(chan *Conn, 1000), closed: make(chan struct{})}
	p.n.listeners[address] = l
	p.n.hosts[address] = p.machine
	return l, nil
}

// Kill ends the process for everybody but itself: what it does from now on reaches
// nobody, and its connections are of no use to it. What it has written arrives, and then
// the other ends are told.
func (p *Process) Kill() {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	p.die(func(c *Conn) {
		c.in.close()
		c.out.put(nil, errReset)
	})
}

// PowerOff kills everything on the machine of the process, of which nobody is told.
func (p *Process) PowerOff() {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	m := p.n.machine(p.machine)
	m.off = true
	p.die(func(c *Conn) { m.left[c] = true })
}

// die leaves to each what the other ends of connections get to know. The network's mutex
// is held.
func (p *Process) die(each func(*Conn)) {
	p.dead = true
	for address, l := range p.n.listeners {
		if l.process == p {
			delete(p.n.listeners, address)
		}
	}
	for c := range p.conns {
		c.lost = errKilled
		c.in.signal()
		each(c)
	}
	clear(p.conns)
	p.n.signal()
}

// Dead says whether the process was killed.
func (p *Process) Dead() bool {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	return p.dead
}

// Listener hands out connections in the order in which they were made.
type Listener struct {
	process *Process
	address string
	backlog chan *Conn
	once    sync.Once
	closed  chan struct{}
}

var _ net.Listener = (*Listener)(nil)

// put reports false if nobody takes the connection any more.
func (l *Listener) put(c *Conn) bool {
	select {
	case <-l.closed:
		return false
	default:
	}
	select {
	case l.backlog <- c:
		return true
	default:
		return false
	}
}

// Accept waits for a connection; after Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
	case c := <-l.backlog:
		return c, nil
	}
	return nil, &net.OpError{Op: "accept", Net: network, Addr: l.Addr(), Err: net.ErrClosed}
}

// Close ends all waiting and later calls of Accept, and breaks connections that were not
// accepted.
func (l *Listener) Close() error {
	err := error(&net.OpError{Op: "close", Net: network, Addr: l.Addr(), Err: net.ErrClosed})
	l.once.Do(func() {
		n := l.process.n
		n.mu.Lock()
		if n.listeners[l.address] == l {
			delete(n.listeners, l.address)
		}
		close(l.closed)
		n.mu.Unlock()
		for {
			select {
			case c := <-l.backlog:
				c.Close()
				continue
			default:
			}
			break
		}
		err = nil
	})
	return err
}

// Addr is the address that was given to Listen.
func (l *Listener) Addr() net.Addr { return addr(l.address) }

const network = "simnet"

type addr string

func (addr) Network() string  { return network }
func (a addr) String() string { return string(a) }
