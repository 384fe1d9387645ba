package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// run connects, and connects again, until ctx ends or the session was closed.
func (c *Client) run(ctx context.Context) {
	servers := newServerList(c.cfg.Servers)
	defer c.disconnected(ErrStopped)
	for ctx.Err() == nil {
		server := servers.next()
		cn, err := c.connect(ctx, server)
		switch {
		case err == nil:
			if c.serve(ctx, cn, server) == errClosed {
				c.forget()
				return
			}
			if cn.useful {
				servers.succeeded()
			}
			servers.pause(ctx)
		case errors.Is(err, errSessionGone):
			servers.succeeded()
			if id, stopping := c.forget(); !stopping {
				c.expired(ctx, id)
			} else {
				return // closed, and the reply was lost
			}
		case ctx.Err() == nil:
			c.cfg.Logger.Debug("zookeeper connect failed", "server", server, "err", err)
			c.mu.Lock()
			c.starting = fmt.Errorf("%s: %w", server, err)
			c.mu.Unlock()
			servers.pause(ctx)
		}
	}
}

// connect makes a connection to one server and establishes or resumes the session
// on it. Credentials and watches are queued before anything else can be.
func (c *Client) connect(ctx context.Context, server string) (*conn, error) {
	c.mu.Lock()
	who := c.who
	c.mu.Unlock()
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout(who.timeout, len(c.cfg.Servers)))
	defer cancel()
	nc, err := c.cfg.Dial(attempt, server)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(nc)
	asked := who
	asked.timeout = c.cfg.SessionTimeout
	sentAt := time.Now()
	granted, err := handshake(attempt, nc, in, asked, c.lastZxid, c.cfg.MaxPacketBytes)
	if err != nil {
		nc.Close()
		return nil, err
	}
	cn := &conn{
		c:       c,
		session: granted.id,
		net:     nc,
		in:      in,
		timeout: granted.timeout,
		wake:    make(chan struct{}, 1),
		dead:    make(chan struct{}),
	}
	for _, a := range c.cfg.Auth {
		cn.out = zkproto.AppendRequest(cn.out, zkproto.RequestHeader{XID: zkproto.XIDAuth, Op: zkproto.OpAuth},
			&zkproto.AuthRequest{Scheme: a.Scheme, Auth: a.Auth})
	}
	for _, r := range c.watches.rearm(c.lastZxid) {
		cn.out = zkproto.AppendRequest(cn.out, zkproto.RequestHeader{XID: zkproto.XIDSetWatches, Op: zkproto.OpSetWatches}, &r)
	}
	c.mu.Lock()
	c.who = granted
	c.mu.Unlock()
	c.heard(sentAt)
	return cn, nil
}

// serve makes a connection available to operations until it is lost, and returns
// why.
func (c *Client) serve(ctx context.Context, cn *conn, server string) error {
	c.cfg.Logger.Info("connected to zookeeper", "server", server, "session", cn.session, "timeout", cn.timeout)
	c.tell(Connected, cn.session)
	cn.start()
	cn.wakeWriter()
	c.mu.Lock()
	if c.lapse != nil {
		c.lapse.Stop()
		c.lapse = nil
	}
	c.conn = cn
	c.starting = nil
	c.signal()
	c.mu.Unlock()

	select {
	case <-cn.dead:
	case <-ctx.Done():
		cn.fail(ErrStopped)
	}
	cn.ended.Wait()
	c.disconnected(cn.err)
	return cn.err
}

// disconnected takes away a connection whose goroutines have ended.
func (c *Client) disconnected(why error) {
	c.mu.Lock()
	cn := c.conn
	c.conn = nil
	stopping := c.stopping
	if cn != nil && !stopping {
		c.starting = why
		c.lapse = time.AfterFunc(time.Until(c.lastHere.Add(cn.timeout)), func() { c.lapsed(cn.session) })
	} else if c.lapse != nil {
		c.lapse.Stop()
		c.lapse = nil
	}
	c.signal()
	c.mu.Unlock()
	if cn != nil && !stopping {
		c.cfg.Logger.Warn("lost the connection to zookeeper", "session", cn.session, "err", why)
		c.tell(Disconnected, cn.session)
	}
}

// lapsed tells that the session may be gone, unless a connection came at the last
// moment.
func (c *Client) lapsed(id ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil || c.who.id != id || c.lapse == nil || time.Since(c.lastHere) < c.who.timeout {
		return
	}
	c.lapse = nil
	c.cfg.Logger.Warn("not heard by zookeeper for the session timeout: the session may have expired", "session", id)
	c.tell(Lapsed, id)
}

// forget ends the current session on our side: what is tied to it fails, and its
// watches are gone. It returns the session and whether the client is being stopped.
func (c *Client) forget() (old ID, stopping bool) {
	c.watches = newWatches()
	c.lastZxid = 0
	c.mu.Lock()
	defer c.mu.Unlock()
	old = c.who.id
	c.who = identity{timeout: c.cfg.SessionTimeout}
	if c.lapse != nil {
		c.lapse.Stop()
		c.lapse = nil
	}
	c.signal()
	return old, c.stopping
}

// expired tells of the end of a session and returns when all listeners have heard.
func (c *Client) expired(ctx context.Context, old ID) {
	c.cfg.Logger.Warn("the zookeeper session has expired", "session", old)
	c.tell(Expired, old)
	told := make(chan struct{})
	c.dispatch.put(func() { close(told) })
	select {
	case <-told:
	case <-ctx.Done():
	}
}
