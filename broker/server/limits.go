package server

import "sync"

// Limits bound the number of connections. They can change while the server
// runs.
type Limits struct {
	// MaxConnections bounds all client connections together; 0 means no bound.
	// At the limit new connections wait in the kernel's queue, except those on
	// an InterBroker listener, if clients have another: for them the connection of
	// another listener that has been idle longest is closed.
	MaxConnections int
	// MaxPerIP bounds the connections from one address, MaxPerIPOverrides those
	// from particular ones; 0 in MaxPerIP means no bound. What is over it is
	// closed right after it was accepted.
	MaxPerIP          int
	MaxPerIPOverrides map[string]int
}

// connSet is the set of open connections and holds the limits. Safe for
// concurrent use.
type connSet struct {
	mu     sync.Mutex
	room   sync.Cond // a connection ended, the limits changed, or closed
	limits Limits
	conns  map[*conn]struct{}
	perIP  map[string]int
	client int  // connections that count, those of Internal listeners left out
	others bool // there is more than one listener that is not Internal
	closed bool

	removed chan struct{} // gets a token when a connection ends; Drain takes it
}

func newConnSet(l Limits, listeners []Listener) *connSet {
	external := 0
	for i := range listeners {
		if !listeners[i].Internal {
			external++
		}
	}
	s := &connSet{limits: l, others: external > 1, conns: map[*conn]struct{}{}, perIP: map[string]int{}, removed: make(chan struct{}, 1)}
	s.room.L = &s.mu
	return s
}

func (s *connSet) setLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
	s.room.Broadcast()
}

// waitRoom blocks an acceptor while the listener may not have another
// connection. It reports false when the set is closed.
func (s *connSet) waitRoom(l *Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && s.full() && !l.Internal && !s.protects(l) {
		s.room.Wait()
	}
	return !s.closed
}

// protects reports whether the listener has connections although there are as many as
// there may be: as with Kafka, where brokers have one of their own.
func (s *connSet) protects(l *Listener) bool { return l.InterBroker && s.others }

func (s *connSet) full() bool {
	return s.limits.MaxConnections > 0 && s.client >= s.limits.MaxConnections
}

// admit decides about an accepted connection. If it is refused, why says so. If
// another one has to go for it, that one is returned for the caller to close.
func (s *connSet) admit(c *conn) (evict *conn, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, "the broker stops"
	}
	if c.listener.Internal {
		s.conns[c] = struct{}{}
		return nil, ""
	}
	limit, special := s.limits.MaxPerIPOverrides[c.host]
	if !special {
		limit = s.limits.MaxPerIP
	}
	if (special || limit > 0) && s.perIP[c.host] >= limit {
		return nil, "too many connections from this address"
	}
	if s.full() && s.protects(c.listener) {
		evict = s.idlest()
	}
	s.conns[c] = struct{}{}
	s.perIP[c.host]++
	s.client++
	return evict, ""
}

// idlest returns the client connection that has been silent longest.
func (s *connSet) idlest() (victim *conn) {
	for c := range s.conns {
		if c.listener.Internal || c.listener.InterBroker {
			continue
		}
		if victim == nil || c.lastActive.Load() < victim.lastActive.Load() {
			victim = c
		}
	}
	return victim
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if !c.listener.Internal {
		s.client--
		if s.perIP[c.host]--; s.perIP[c.host] == 0 {
			delete(s.perIP, c.host)
		}
		s.room.Broadcast()
	}
	select {
	case s.removed <- struct{}{}:
	default:
	}
}

// all returns the connections that keep, if not nil, reports true for.
func (s *connSet) all(keep func(*conn) bool) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		if keep == nil || keep(c) {
			list = append(list, c)
		}
	}
	return list
}

// close wakes acceptors and refuses what comes later.
func (s *connSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.room.Broadcast()
}
