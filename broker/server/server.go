package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
)

// Listener is a listening socket and what the broker knows about it.
type Listener struct {
	net.Listener

	Name     string // as in listener names, e.g. "PLAINTEXT"
	Protocol string // security protocol
	// InterBroker listeners accept requests that only brokers send.
	InterBroker bool
	// Internal listeners are the broker's own door to itself: they count for no
	// limit, are not charged, never idle, and stay open until Stop.
	Internal bool
}

// Config is what a server needs to know. Zero values of the byte limits and of
// MaxClientFrameBytes stand for the defaults given here.
type Config struct {
	MaxFrameBytes           int32         // socket.request.max.bytes; default 100 MiB
	MaxClientFrameBytes     int32         // other than Produce, from clients; default 1 MiB
	InFlightBytes           int64         // of all connections' frames that do not fit 8 KiB; default 112 MiB
	ConnectionInFlightBytes int64         // of requests on one connection that wait for their reply; default 64 MiB
	WorkBytes               int64         // of what requests have reserved to be answered, and again of those that wait; default 64 MiB
	UnsentBytes             int64         // of replies on their way, of each key with OwnReplies and of all others; default 64 MiB
	MaxIdle                 time.Duration // connections.max.idle.ms; ≤ 0 means never
	Limits                  Limits

	// Held servers let clients wait until Open; brokers are served from the start.
	Held bool

	Authorize Authorizer // nil allows everything
	Throttle  Throttle   // nil holds nobody back
	Log       *slog.Logger
}

// minFrameRate is how fast, in bytes per second, a large frame must come, after
// frameGrace: whoever is slower holds memory that others wait for.
const (
	minFrameRate = 16 << 10
	frameGrace   = 30 * time.Second
	sweepEvery   = 5 * time.Second
)

// Server serves a table of routes on listeners. Safe for concurrent use.
type Server struct {
	cfg       Config
	log       *slog.Logger
	routes    routeTable
	listeners []Listener
	pool      *bufferPool
	budget    *budget // of frames
	work      *budget // of requests that are being answered
	waiting   *budget // of requests that wait for something to happen
	conns     *connSet
	lines     loglimit.Limit // on what strangers cause

	connections atomic.Uint64 // that there have been

	mu       sync.Mutex
	started  bool
	running  int           // goroutines
	ended    chan struct{} // closed when running falls to 0 after stopping
	stopping bool

	openOnce  sync.Once
	opened    chan struct{} // closed when clients are let in
	drainOnce sync.Once
	draining  chan struct{} // closed by Drain
	hurryOnce sync.Once
	hurry     chan struct{} // closed when a drain has lasted: nothing more is begun
	stopOnce  sync.Once
	stopped   chan struct{} // closed by Stop
}

// New makes a server; it owns the listeners from here on.
func New(cfg Config, routes []Route, listeners []Listener) (*Server, error) {
	if len(listeners) == 0 {
		return nil, errors.New("server: no listeners")
	}
	for i := range listeners {
		if listeners[i].Listener == nil || listeners[i].Name == "" {
			return nil, fmt.Errorf("server: listener %d has no socket or no name", i)
		}
	}
	cfg.MaxFrameBytes = cmp.Or(cfg.MaxFrameBytes, 100<<20)
	cfg.MaxClientFrameBytes = cmp.Or(cfg.MaxClientFrameBytes, 1<<20)
	cfg.InFlightBytes = cmp.Or(cfg.InFlightBytes, 112<<20)
	cfg.ConnectionInFlightBytes = cmp.Or(cfg.ConnectionInFlightBytes, 64<<20)
	cfg.WorkBytes = cmp.Or(cfg.WorkBytes, 64<<20)
	cfg.UnsentBytes = cmp.Or(cfg.UnsentBytes, 64<<20)
	table, err := newRouteTable(routes, cfg.UnsentBytes)
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, log: log, routes: table, listeners: listeners,
		pool: new(bufferPool), budget: newBudget(cfg.InFlightBytes),
		work: newBudget(cfg.WorkBytes), waiting: newBudget(cfg.WorkBytes), conns: newConnSet(cfg.Limits, listeners),
		ended: make(chan struct{}), opened: make(chan struct{}), draining: make(chan struct{}), hurry: make(chan struct{}), stopped: make(chan struct{}),
	}
	if !cfg.Held {
		s.Open()
	}
	return s, nil
}

// Start begins to accept connections, those of clients only if the server is not Held.
func (s *Server) Start(context.Context) error {
	s.mu.Lock()
	if s.started || s.stopping {
		s.mu.Unlock()
		return errors.New("server: started twice, or after its end")
	}
	s.started = true
	s.mu.Unlock()
	for i := range s.listeners {
		l := &s.listeners[i]
		s.spawn(func() { s.accept(l) })
	}
	s.spawn(s.sweep)
	return nil
}

// SetLimits replaces the connection limits. Connections that are open stay.
func (s *Server) SetLimits(l Limits) { s.conns.setLimits(l) }

// spawn runs f in a goroutine that Stop waits for.
func (s *Server) spawn(f func()) {
	s.mu.Lock()
	s.running++
	s.mu.Unlock()
	go func() {
		defer s.exited()
		f()
	}()
}

func (s *Server) exited() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.running == 0 && s.stopping {
		close(s.ended)
	}
}

func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// accept takes connections from one listener until it is closed.
func (s *Server) accept(l *Listener) {
	if !s.mayAccept(l) {
		return
	}
	backoff := time.Duration(0)
	for s.conns.waitRoom(l) {
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
				return
			}
			// Out of descriptors, most often. The next attempt may succeed.
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.log.Warn("cannot accept a connection", "listener", l.Name, "error", err)
			select {
			case <-time.After(backoff):
			case <-s.stopped:
				return
			}
			continue
		}
		backoff = 0
		c := newConn(s, l, nc)
		evict, why := s.conns.admit(c)
		if why != "" {
			if s.lines.Say() {
				s.log.Warn("connection refused", "client", nc.RemoteAddr().String(), "listener", l.Name, "reason", why)
			}
			c.cancel()
			nc.Close()
			continue
		}
		if evict != nil {
			evict.close()
		}
		s.spawn(func() {
			defer s.conns.remove(c)
			if s.isDraining() && !l.Internal {
				c.close()
				return
			}
			c.serve()
		})
	}
}

// sweep closes connections that are idle or hold memory too slowly.
func (s *Server) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stopped:
			return
		case <-tick.C:
		}
		s.sayUnsaid()
		now := time.Now().UnixNano()
		for _, c := range s.conns.all(func(c *conn) bool { return !c.listener.Internal }) {
			if s.cfg.MaxIdle > 0 && now-c.lastActive.Load() > int64(s.cfg.MaxIdle) {
				c.close()
			} else if due := c.frameDue.Load(); due != 0 && now > due {
				c.closeBecause("a large frame has been coming for too long")
			}
		}
	}
}

// sayUnsaid sums up the lines that were too many to be said one by one.
func (s *Server) sayUnsaid() {
	if n := s.lines.Unsaid(); n > 0 {
		s.log.Warn("more connections were closed or refused than are told of one by one", "number", n)
	}
}

// drainWrites is how long a client may take, once the broker stops, to read what it
// has asked for.
const drainWrites = 3 * time.Second

// Drain lets clients go: it closes the listeners that are not Internal, answers
// what has been read, and closes each connection when its last reply is written, or
// is not read. It returns when that is done or ctx ends, with what is left then.
func (s *Server) Drain(ctx context.Context) error {
	s.drainOnce.Do(func() {
		close(s.draining)
		for i := range s.listeners {
			if !s.listeners[i].Internal {
				s.listeners[i].Close()
			}
		}
	})
	for _, c := range s.conns.all(nil) {
		c.order.hurry()
	}
	external := func(c *conn) bool { return !c.listener.Internal }
	unread := time.Now().Add(drainWrites)
	hurry := time.AfterFunc(drainWrites, func() { s.hurryOnce.Do(func() { close(s.hurry) }) })
	defer hurry.Stop()
	for {
		// A connection that is admitted later sees for itself that it came too late.
		left := s.conns.all(external)
		if len(left) == 0 {
			return nil
		}
		for _, c := range left {
			c.net.SetReadDeadline(time.Unix(1, 0)) // ends the wait for a next frame
			c.net.SetWriteDeadline(unread)
		}
		select {
		case <-s.conns.removed:
		case <-ctx.Done():
			return fmt.Errorf("server: %d connections are not done: %w", len(left), ctx.Err())
		}
	}
}

// Stop closes everything and returns when all goroutines have ended. If ctx ends
// first, it says how many have not: a handler does not return.
func (s *Server) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		s.drainOnce.Do(func() { close(s.draining) })
		close(s.stopped)
		s.conns.close()
		for i := range s.listeners {
			s.listeners[i].Close()
		}
		for _, c := range s.conns.all(nil) {
			c.close()
		}
		s.sayUnsaid()
		s.mu.Lock()
		s.stopping = true
		if s.running == 0 {
			close(s.ended)
		}
		s.mu.Unlock()
	})
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return fmt.Errorf("server: %d goroutines are still running: %w", s.running, ctx.Err())
	}
}
