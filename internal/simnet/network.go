// Package simnet is a network of machines inside one process, for tests in a
// testing/synctest bubble: messages take time, links break in one direction or both,
// connections tear in the middle of a message, processes are killed and machines lose
// their power.
//
// What happens to a connection follows from the network's seed, from who connects to
// whom for which time, and from how often something was written, but not from the order
// in which goroutines come to run: as far as a test does the same again, so does the
// network.
package simnet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Network connects machines, which are no more than names. Its methods may be called by
// many goroutines at once. It starts none.
//
// One mutex guards everything, connections included; it is never held while waiting.
type Network struct {
	seed uint64

	mu        sync.Mutex
	changed   chan struct{} // closed when a link or a machine has changed
	listeners map[string]*Listener
	hosts     map[string]string // the machine of every address that somebody has listened on
	machines  map[string]*machine
	links     map[way]*link
}

// way is one direction between two machines.
type way struct{ from, to string }

// machine is off after a loss of power, until a process starts on it.
type machine struct {
	off  bool
	left map[*Conn]bool // ends of connections of processes that died with the power
}

// link is one direction between two machines.
type link struct {
	Weather
	cut     bool
	cutAt   time.Time
	dialed  int
	streams map[*stream]bool // which may still bring something
}

// Weather is how messages fare on a link.
type Weather struct {
	// Delay is how long a message takes at least, Jitter how much longer it may take.
	Delay, Jitter time.Duration
	// Tears is how probable it is that a message breaks its connection: some of its
	// bytes arrive, and of those before it.
	Tears float64
}

// Fair is the weather when nothing else is said.
var Fair = Weather{Delay: 50 * time.Microsecond, Jitter: time.Millisecond}

// New makes a network without machines in fair weather.
func New(seed uint64) *Network {
	return &Network{
		seed: seed, changed: make(chan struct{}),
		listeners: map[string]*Listener{}, hosts: map[string]string{}, machines: map[string]*machine{}, links: map[way]*link{},
	}
}

func (n *Network) machine(name string) *machine {
	m := n.machines[name]
	if m == nil {
		m = &machine{left: map[*Conn]bool{}}
		n.machines[name] = m
	}
	return m
}

func (n *Network) link(from, to string) *link {
	l := n.links[way{from, to}]
	if l == nil {
		l = &link{Weather: Fair, streams: map[*stream]bool{}}
		n.links[way{from, to}] = l
	}
	return l
}

// signal wakes who waits for the network itself. mu is held.
func (n *Network) signal() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// Cut holds up, from now on, everything that goes from one machine to another. Nobody is
// told; connections are neither made nor lost.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.link(from, to); !l.cut {
		l.cut, l.cutAt = true, time.Now()
	}
}

// Mend ends a Cut. What was held up arrives after a while, as what is sent again does.
func (n *Network) Mend(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	if !l.cut {
		return
	}
	l.cut = false
	for s := range l.streams {
		s.sendAgain()
	}
	n.signal()
}

// SetWeather says how messages fare from one machine to another from now on.
func (n *Network) SetWeather(from, to string, w Weather) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(from, to).Weather = w
}

// Clear mends all links and makes the weather fair.
func (n *Network) Clear() {
	n.mu.Lock()
	ways := make([]way, 0, len(n.links))
	for w, l := range n.links {
		l.Weather = Fair
		ways = append(ways, w)
	}
	n.mu.Unlock()
	for _, w := range ways {
		n.Mend(w.from, w.to)
	}
}

// Tear breaks all connections between two machines. Of what is on its way some bytes,
// from none to all, arrive before the ends are told.
func (n *Network) Tear(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range []way{{a, b}, {b, a}} {
		for s := range n.link(w.from, w.to).streams {
			s.tear()
		}
	}
}

// random makes the source of what happens to one direction of the nth connection that
// one machine has made to another.
func (n *Network) random(w way, nth int, dialer bool) *rand.Rand {
	h := n.seed
	for _, s := range []string{w.from, "\x00", w.to} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 0x100000001b3 // FNV-1a
		}
	}
	which := uint64(nth) << 1
	if dialer {
		which++
	}
	return rand.New(rand.NewPCG(h, which))
}

// dial makes a connection from a process to whoever listens on an address.
func (n *Network) dial(ctx context.Context, p *Process, address string) (*Conn, error) {
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: err}
	}
	n.mu.Lock()
	to, ok := n.hosts[address]
	if !ok {
		n.mu.Unlock()
		return nil, fail(fmt.Errorf("no such host"))
	}
	there, back := way{p.machine, to}, way{to, p.machine}
	nth := n.link(there.from, there.to).dialed
	n.link(there.from, there.to).dialed++
	rnd := n.random(there, nth, true)
	n.mu.Unlock()

	// The first message and its answer.
	for _, w := range []way{there, back} {
		if err := n.cross(ctx, p, w, rnd); err != nil {
			return nil, fail(err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[address]
	switch {
	case p.dead:
		return nil, fail(errKilled)
	case n.machine(to).off:
		return nil, fail(syscall.ETIMEDOUT)
	case l == nil:
		return nil, fail(syscall.ECONNREFUSED)
	}
	near, far := n.connect(p, l.process, there, rnd, n.random(back, nth, false))
	if !l.put(far) {
		near.end(net.ErrClosed)
		far.end(net.ErrClosed)
		return nil, fail(syscall.ECONNREFUSED)
	}
	return near, nil
}

// cross waits until a message has gone one way, for as long as that takes.
func (n *Network) cross(ctx context.Context, p *Process, w way, rnd *rand.Rand) error {
	delay := time.Duration(-1)
	for {
		n.mu.Lock()
		l := n.link(w.from, w.to)
		open, dead, changed := !l.cut && !n.machine(w.to).off, p.dead, n.changed
		if delay < 0 {
			delay = l.delay(rnd)
		}
		n.mu.Unlock()
		if dead {
			return errKilled
		}
		if open {
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-timer.C:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *Weather) delay(rnd *rand.Rand) time.Duration {
	return w.Delay + time.Duration(rnd.Int64N(int64(w.Jitter)+1))
}
