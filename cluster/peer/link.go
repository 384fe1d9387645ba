package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// link is the way to one broker for one purpose: a bounded queue and at most one
// connection. One goroutine (run) takes calls from the queue in order, connects
// when it must, and writes; all fields but queue and gone are its own.
//
// A connection to a broker that has left the cluster is closed: it may be half open, and
// the broker come back.
//
// When the broker cannot be reached, every call that waits fails with the one
// dial, instead of each waiting for a dial of its own.
type link struct {
	pool  *Pool
	key   linkKey
	queue chan *call
	gone  chan struct{} // has room for one word that the broker has left the cluster

	conn     *conn
	failures int       // dials in a row that failed
	redial   time.Time // not before
}

type linkKey struct {
	broker  int32
	purpose Purpose
}

func (l *link) run(ctx context.Context) {
	for {
		select {
		case c := <-l.queue:
			l.handle(ctx, c)
		case <-l.gone:
			if l.conn != nil {
				l.conn.fail(ErrGone)
			}
		case <-ctx.Done():
			if l.conn != nil {
				l.conn.fail(ErrStopped)
			}
			l.failQueued(cap(l.queue), ErrStopped)
			return
		}
	}
}

// hangUp has the connection closed.
func (l *link) hangUp() {
	select {
	case l.gone <- struct{}{}:
	default:
	}
}

func (l *link) handle(ctx context.Context, c *call) {
	if err := c.ctx.Err(); err != nil {
		c.complete(nil, err) // nobody waits any more
		return
	}
	v, ok := versionOf(c.req.Key())
	if !ok {
		c.complete(nil, fmt.Errorf("%s: %w: brokers do not send it", kmsg.NameForKey(c.req.Key()), ErrUnsupportedVersion))
		return
	}
	if err := l.connect(ctx, c.endpoint); err != nil {
		// First those that waited behind it: what is sent after this call has failed
		// gets a dial of its own.
		l.failQueued(len(l.queue), err)
		c.complete(nil, err)
		return
	}
	if v.negotiate && l.conn.offered == nil {
		if err := l.negotiate(ctx); err != nil {
			c.complete(nil, err)
			return
		}
	}
	if err := choose(c.req, v, l.conn.offered); err != nil {
		c.complete(nil, err)
		return
	}
	l.write(ctx, c)
}

// write waits for a slot, then sends.
func (l *link) write(ctx context.Context, c *call) {
	select {
	case l.conn.slots <- struct{}{}:
		l.conn.write(c, l.pool.cfg.ClientID)
	case <-l.conn.dead:
		c.complete(nil, l.conn.err)
	case <-l.gone:
		l.conn.fail(ErrGone)
		c.complete(nil, ErrGone)
	case <-ctx.Done():
		c.complete(nil, ErrStopped)
	}
}

// connect makes sure of a connection to the endpoint. After a failed dial the
// next one waits its turn.
func (l *link) connect(ctx context.Context, e cluster.Endpoint) error {
	if l.conn != nil {
		if !l.conn.isDead() && l.conn.endpoint == e {
			return nil
		}
		l.conn.fail(errors.New("the broker moved to another address"))
		l.conn = nil
	}
	if wait := time.Until(l.redial); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ErrStopped
		}
	}
	dialCtx, cancel := context.WithTimeout(ctx, l.pool.cfg.DialTimeout)
	defer cancel()
	nc, err := l.pool.dial(dialCtx, l.key.broker, e)
	if err != nil {
		l.failures++
		backoff := l.pool.cfg.MinBackoff << min(l.failures-1, 16)
		l.redial = time.Now().Add(min(backoff, l.pool.cfg.MaxBackoff))
		if ctx.Err() != nil {
			return ErrStopped
		}
		return fmt.Errorf("connecting to broker %d: %w", l.key.broker, err)
	}
	l.failures, l.redial = 0, time.Time{}
	l.conn = newConn(nc, e, l.pool.cfg)
	l.pool.wg.Go(l.conn.read)
	return nil
}

// negotiate asks which versions the broker takes, once per connection. Requests
// behind this one wait for the answer, which keeps their order.
func (l *link) negotiate(ctx context.Context) error {
	for _, version := range []int16{3, 0} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.SetVersion(version)
		req.ClientSoftwareName, req.ClientSoftwareVersion = "gracchus", "3.9"
		resp, err := l.roundTrip(ctx, req)
		if err != nil {
			return err
		}
		answer := resp.(*kmsg.ApiVersionsResponse)
		switch answer.ErrorCode {
		case 0:
			l.conn.offered = make(map[int16]versionRange, len(answer.ApiKeys))
			for _, k := range answer.ApiKeys {
				l.conn.offered[k.ApiKey] = versionRange{k.MinVersion, k.MaxVersion}
			}
			return nil
		case kerr.UnsupportedVersion.Code:
			continue
		default:
			return fmt.Errorf("ApiVersions of broker %d: %w", l.key.broker, kerr.ErrorForCode(answer.ErrorCode))
		}
	}
	return fmt.Errorf("ApiVersions of broker %d: %w", l.key.broker, ErrUnsupportedVersion)
}

func (l *link) roundTrip(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	c := &call{ctx: ctx, req: req, done: make(chan outcome, 1)}
	l.write(ctx, c)
	select {
	case o := <-c.done:
		return o.resp, o.err
	case <-ctx.Done():
		return nil, ErrStopped
	}
}

// failQueued fails the first n calls that wait.
func (l *link) failQueued(n int, err error) {
	for range n {
		select {
		case c := <-l.queue:
			c.complete(nil, err)
		default:
			return
		}
	}
}
