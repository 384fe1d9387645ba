// Package zkserver is a ZooKeeper server of one node, made to be embedded: the
// znodes, sessions, watches and errors of Apache ZooKeeper 3.8 behind its own
// client protocol, over a store that is one plain file, or memory.
//
// One goroutine, the loop, owns all state and serves one request after the
// other (loop.go). It gathers whatever waits, serves it from memory, stores all
// changes with one commit, and only then lets replies and watch events out: a
// client never learns of anything that a crash could take back, and a hundred
// writers that wait share one fsync. Each connection has a goroutine that reads
// and decodes and one that writes (conn.go), so that a slow client stops
// nobody but itself.
package zkserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
)

// ErrStopped is what Serve returns when the server was stopped.
var ErrStopped = errors.New("zkserver: stopped")

// Server is the embedded ZooKeeper. Its methods are safe for concurrent use.
//
// mu guards which connections and listeners there are and whether more are
// welcome. The inbox has a lock of its own, which each request takes for an
// instant; no two locks of this package are ever held together, and none while
// waiting.
type Server struct {
	cfg   Config
	loop  *loop
	inbox inbox

	mu        sync.Mutex
	started   bool
	stopped   bool
	conns     map[*conn]struct{}
	strangers int // of conns, those that are not the owner's
	listeners map[net.Listener]struct{}

	refusals loglimit.Limit

	stop    chan struct{} // closed by Stop
	done    chan struct{} // closed when the loop has ended
	failure error         // why the loop ended by itself; read it after done
	wg      sync.WaitGroup
}

// inbox is how connections reach the loop: those with requests to serve, those
// that are gone, and a signal that there are any.
type inbox struct {
	mu    sync.Mutex
	ready []*conn
	gone  []*conn
	wake  chan struct{} // holds at most one signal
}

func (in *inbox) put(c *conn, gone bool) {
	in.mu.Lock()
	if gone {
		in.gone = append(in.gone, c)
	} else {
		in.ready = append(in.ready, c)
	}
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take empties the inbox into the two slices.
func (in *inbox) take(ready, gone []*conn) ([]*conn, []*conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	ready, gone = append(ready, in.ready...), append(gone, in.gone...)
	clear(in.ready)
	clear(in.gone)
	in.ready, in.gone = in.ready[:0], in.gone[:0]
	return ready, gone
}

// New returns a server of the state in store. The store stays the caller's: it
// is in use from Start to Stop, and is closed by the caller after that.
func New(cfg Config, store Store) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if store == nil {
		return nil, errors.New("zkserver: no store")
	}
	s := &Server{
		cfg:       cfg,
		inbox:     inbox{wake: make(chan struct{}, 1)},
		conns:     map[*conn]struct{}{},
		listeners: map[net.Listener]struct{}{},
		stop:      make(chan struct{}),
		done:      make(chan struct{}),
	}
	s.loop = newLoop(cfg, store, &s.inbox)
	return s, nil
}

// Start loads the store. Once it has returned, listeners can be served. The
// sessions of an earlier run start with their full timeout.
func (s *Server) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.stopped {
		return errors.New("zkserver: started twice, or after Stop")
	}
	if err := s.loop.load(); err != nil {
		return fmt.Errorf("zkserver: load: %w", err)
	}
	s.started = true
	s.wg.Go(func() {
		s.failure = s.loop.run(s.stop)
		close(s.done)
		s.closeAll()
	})
	return nil
}

// Serve accepts connections from l until the server is stopped or l is closed,
// and closes l. Several listeners can be served at once, each by a call of its
// own. It returns ErrStopped after Stop, and the store's error if that failed.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, false) }

// ServeOwner is Serve for those whom the server belongs to: their connections and
// sessions do not count for MaxConnections, MaxSessions and MaxWatchBytes, so that no
// stranger can take the place they need, and their requests, replies and events may
// take more room.
func (s *Server) ServeOwner(l net.Listener) error { return s.serve(l, true) }

func (s *Server) serve(l net.Listener, owner bool) error {
	s.mu.Lock()
	if !s.started || s.stopped {
		s.mu.Unlock()
		return errors.Join(ErrStopped, l.Close())
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		_ = l.Close()
	}()
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err != nil {
			select {
			case <-s.stop:
				return ErrStopped
			case <-s.done:
				return s.Err()
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("zkserver: accept: %w", err)
			}
			// Out of descriptors, most likely, and not for ever.
			pause = min(max(2*pause, 10*time.Millisecond), time.Second)
			s.cfg.Logger.Warn("zkserver: cannot accept a connection", "listener", l.Addr().String(), "error", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-s.stop:
				return ErrStopped
			case <-s.done:
				return s.Err()
			}
			continue
		}
		pause = 0
		s.admit(nc, owner)
	}
}

func (s *Server) admit(nc net.Conn, owner bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || !owner && s.strangers >= s.cfg.MaxConnections {
		if !s.stopped && s.refusals.Say() {
			s.cfg.Logger.Warn("zkserver: too many connections", "limit", s.cfg.MaxConnections, "refused", nc.RemoteAddr().String(), "others_refused", s.refusals.Unsaid())
		}
		_ = nc.Close()
		return
	}
	select {
	case <-s.done:
		_ = nc.Close()
		return
	default:
	}
	c := newConn(nc, &s.cfg, &s.inbox, s.loop.clock)
	c.owner = owner
	s.conns[c] = struct{}{}
	if !owner {
		s.strangers++
	}
	s.wg.Go(func() {
		var both sync.WaitGroup
		both.Go(c.write)
		both.Go(c.read)
		both.Wait()
		s.mu.Lock()
		delete(s.conns, c)
		if !owner {
			s.strangers--
		}
		s.mu.Unlock()
		s.inbox.put(c, true)
	})
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		c.close()
	}
}

// Stop ends the server: connections are closed as by a crash, sessions stay in
// the store. It returns when every goroutine has ended, or with ctx's error.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	first := !s.stopped
	select {
	case <-s.stop:
	default:
		close(s.stop)
		if !s.started {
			close(s.done)
		}
	}
	s.mu.Unlock()
	if first {
		s.closeAll()
	}
	ended := make(chan struct{})
	go func() { s.wg.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("zkserver: stop: %w", ctx.Err())
	}
}

// Done is closed when the server no longer serves: after Stop, or because the
// store failed, which Err then tells.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why the server ended, once Done is closed, and nil before that.
func (s *Server) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	if s.failure != nil {
		return s.failure
	}
	return ErrStopped
}
