package session

import (
	"context"
	"time"
)

// Client keeps one ZooKeeper session alive, and a new one after it expires.
type Client struct {
	cfg Config
}

// New checks cfg. Nothing is connected before Start.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg}, nil
}

// OnSession adds a listener to changes of the session's state. It must be called
// before Start. Listeners are called one at a time, in the order of the events and
// of their registration, under the same rule as watches: return at once, and never
// wait for an operation of the same client.
func (c *Client) OnSession(listen func(Event)) {}

// Start connects, creates the chroot if it is absent, and returns when operations
// can run: within Config.ConnectTimeout or with an error.
func (c *Client) Start(ctx context.Context) error { return nil }

// Stop closes the session, so that its ephemeral nodes go at once, and returns when
// all goroutines of the client have ended. If the session cannot be closed before
// ctx ends it is left to expire.
func (c *Client) Stop(ctx context.Context) error { return nil }

// Session returns the current session, 0 between an expiry and the next connect.
func (c *Client) SessionID() ID { return 0 }

// SessionSecret returns what Dissolve needs to end this session on behalf of a
// process that died.
func (c *Client) SessionSecret() (ID, []byte) { return 0, nil }

// SilentSince tells when ZooKeeper last heard from us for certain. While ok is
// true the session is connected and alive.
func (c *Client) DisconnectedSince() (since time.Time, disconnected bool) { return time.Time{}, false }

// Do sends ops in order without waiting in between, and returns one result for
// each. When the connection is lost it waits for the next one and sends again what
// has no answer. session ties the operations to a session: if that is gone,
// remaining results have ErrExpired; 0 ties them to the session that is current
// when the call begins. If ctx ends, remaining results have its error, and whether
// those operations were done is unknown.
func (c *Client) Do(ctx context.Context, session ID, ops ...Op) []Result {
	return make([]Result, len(ops))
}

// Do1 does a single operation; err is that of the result.
func (c *Client) Do1(ctx context.Context, session ID, op Op) (Result, error) {
	r := c.Do(ctx, session, op)[0]
	return r, r.Err
}
