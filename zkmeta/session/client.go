package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// Client keeps one ZooKeeper session alive, and opens a new one when it expires.
// All methods may be called concurrently.
//
// One goroutine connects (run), one calls back (dispatcher.run), and each connection
// has a writer and a reader. mu guards the state that callers look at; changed is
// closed and replaced whenever that state changes, so that waiting needs no polling.
// watches and lastZxid belong to the reader of the live connection and, between
// connections, to run; run waits for a connection's goroutines to end before it
// makes the next, which hands them over. mu is never held while waiting for
// anything.
type Client struct {
	cfg       Config
	dispatch  *dispatcher
	slots     chan struct{} // one token for each group in flight
	listeners []func(Event)

	watches  watches
	lastZxid int64

	mu       sync.Mutex
	changed  chan struct{}
	who      identity  // the current session, its id 0 if there is none
	conn     *conn     // nil while disconnected
	lastHere time.Time // when something was sent that ZooKeeper has since answered
	lapse    *time.Timer
	stopping bool
	starting error // why there is no connection

	cancel  context.CancelFunc
	stopped chan struct{} // closed when all goroutines have ended; nil before Start
}

// New checks cfg. Nothing is connected before Start.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Client{
		cfg:      cfg,
		dispatch: newDispatcher(),
		slots:    make(chan struct{}, cfg.MaxInFlight),
		watches:  newWatches(),
		changed:  make(chan struct{}),
		who:      identity{timeout: cfg.SessionTimeout},
	}, nil
}

// OnSession adds a listener to changes of the session's state. It must be called
// before Start. Listeners are called one at a time, in the order of the events and
// of their registration, under the same rule as watches: return at once, and never
// wait for an operation of the same client.
func (c *Client) OnSession(listen func(Event)) { c.listeners = append(c.listeners, listen) }

// Start connects, creates the chroot if it is absent, and returns when operations
// can run. If that takes longer than Config.ConnectTimeout, or ctx ends, it returns
// why the last attempt failed, and nothing is left running. ctx does not bound the
// client's life; Stop ends it.
func (c *Client) Start(ctx context.Context) error {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel, c.stopped = cancel, make(chan struct{})
	go func() {
		defer close(c.stopped)
		stopDispatch := make(chan struct{})
		var dispatching sync.WaitGroup
		dispatching.Go(func() { c.dispatch.run(stopDispatch) })
		c.run(run)
		close(stopDispatch)
		dispatching.Wait()
	}()
	ctx, done := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer done()
	if err := c.createChroot(ctx); err != nil {
		c.mu.Lock()
		reason := c.starting
		c.mu.Unlock()
		c.shutdown()
		if reason != nil {
			err = fmt.Errorf("%w: %w", err, reason)
		}
		return fmt.Errorf("connect to zookeeper at %v within %v: %w", c.cfg.Servers, c.cfg.ConnectTimeout, err)
	}
	return nil
}

// createChroot waits for the first session and makes sure of the chroot's path.
func (c *Client) createChroot(ctx context.Context) error {
	if c.cfg.Chroot == "" {
		_, _, err := c.await(ctx, 0)
		return err
	}
	exists := Exists(c.cfg.Chroot, nil)
	exists.raw = true
	_, err := c.Do1(ctx, 0, exists)
	if !errors.Is(err, ErrNoNode) {
		return err
	}
	for i := 1; i <= len(c.cfg.Chroot); i++ {
		if i < len(c.cfg.Chroot) && c.cfg.Chroot[i] != '/' {
			continue
		}
		create := Create(c.cfg.Chroot[:i], nil, Persistent)
		create.raw = true
		if _, err := c.Do1(ctx, 0, create); err != nil && !errors.Is(err, ErrNodeExists) {
			return fmt.Errorf("create the chroot %s: %w", c.cfg.Chroot, err)
		}
	}
	return nil
}

// Stop closes the session, so that its ephemeral nodes go at once, and returns when
// all goroutines of the client have ended. While disconnected it waits for a
// connection for at most a third of the session timeout; if the session cannot be
// closed by then or before ctx ends, it is left to expire, and the error says so.
// Operations that wait or come later fail with ErrStopped. No further events or
// watches are told once Stop has returned.
func (c *Client) Stop(ctx context.Context) error {
	if c.stopped == nil {
		return nil
	}
	c.mu.Lock()
	c.stopping = true
	timeout := c.who.timeout
	c.signal()
	c.mu.Unlock()
	ctx, done := context.WithTimeout(ctx, timeout/3)
	defer done()
	err := c.closeSession(ctx)
	c.shutdown()
	if err != nil {
		return fmt.Errorf("close the zookeeper session: %w", err)
	}
	return nil
}

// closeSession waits for a connection and closes the session on it.
func (c *Client) closeSession(ctx context.Context) error {
	op := Op{kind: zkproto.OpCloseSession}
	for {
		c.mu.Lock()
		cn, id, changed := c.conn, c.who.id, c.changed
		c.mu.Unlock()
		if id == 0 {
			return nil
		}
		if cn != nil {
			// A dead connection is about to be taken away, which signals.
			g := newGroup([]*call{{op: &op, body: &zkproto.Empty{}}}, func() {})
			if cn.send(g) {
				select {
				case <-g.done:
					if err := g.calls[0].result.Err; !errors.Is(err, errConnection) {
						return err
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.stopped:
			if c.SessionID() == 0 { // it changed, and then all ended
				return nil
			}
			return ErrStopped
		}
	}
}

// shutdown ends all goroutines and waits for them.
func (c *Client) shutdown() {
	c.mu.Lock()
	c.stopping = true
	c.signal()
	c.mu.Unlock()
	c.cancel()
	<-c.stopped
}

// SessionID returns the current session, 0 between an expiry and the next connect.
func (c *Client) SessionID() ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.who.id
}

// SessionSecret returns what Dissolve needs to end the current session on behalf of
// this process when it has died. It is a secret: it is as good as the session.
func (c *Client) SessionSecret() (ID, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.who.id, slices.Clone(c.who.password)
}

// SessionTimeout is what the server granted; before the first connect what was asked
// for.
func (c *Client) SessionTimeout() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.who.timeout
}

// DisconnectedSince tells whether the client is disconnected, and since when
// ZooKeeper may not have heard from it: the time of the last request that was
// answered. Counted from then the session timeout ends no later than the server's
// own count does, and Lapsed is told.
func (c *Client) DisconnectedSince() (since time.Time, disconnected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastHere, c.conn == nil
}

// heard records that a request sent at that time was answered.
func (c *Client) heard(sentAt time.Time) {
	c.mu.Lock()
	if sentAt.After(c.lastHere) {
		c.lastHere = sentAt
	}
	c.mu.Unlock()
}

// signal wakes all that wait for a change of state. mu is held.
func (c *Client) signal() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// tell queues an event for the listeners.
func (c *Client) tell(kind EventKind, id ID) {
	c.dispatch.put(func() {
		for _, listen := range c.listeners {
			listen(Event{kind, id})
		}
	})
}
