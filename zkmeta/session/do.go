package session

import (
	"context"
	"errors"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// Bounds of a group, the part of a Do that is sent at once and counts as one request
// in flight.
const (
	groupOps   = 64
	groupBytes = 256 << 10
)

// deadlyLosses is how many connections a request above ZooKeeper's own default limit
// on packets may cost. A server with that limit closes the connection on such a
// request, and sending it again forever would keep everything else from working.
const deadlyLosses = 3

// Do sends ops in order without waiting in between, and returns one result for each,
// in the same order. When the connection is lost it waits for the next one and sends
// again what has no answer; see Result.Resent.
//
// session ties the operations to a session: if that is not, or no longer, the
// current one, what remains has ErrExpired. 0 ties them to the session that is
// current when the call begins, or to the next if there is none. If ctx ends,
// remaining results have its error, and whether those operations were done is
// unknown. Do must not be called from a watch or a listener.
func (c *Client) Do(ctx context.Context, session ID, ops ...Op) []Result {
	results := make([]Result, len(ops))
	calls := make([]*call, 0, len(ops))
	for i := range ops {
		body, err := ops[i].record(c.cfg.Chroot)
		if err == nil && ops[i].size() > c.cfg.MaxPacketBytes {
			err = ErrTooLarge
		}
		if err != nil {
			results[i].Err = ops[i].fail(err)
			continue
		}
		calls = append(calls, &call{op: &ops[i], body: body, at: i})
	}
	for len(calls) > 0 {
		cn, id, err := c.await(ctx, session)
		if err != nil {
			for _, k := range calls {
				results[k.at] = k.failed(err)
			}
			return results
		}
		session = id
		done, rest := c.attempt(ctx, cn, calls)
		for _, k := range done {
			results[k.at] = k.outcome()
		}
		calls = calls[:0]
		for _, k := range rest {
			if k.lost >= deadlyLosses && k.op.size() > zkproto.DefaultMaxFrame {
				results[k.at] = k.failed(ErrTooLarge)
				continue
			}
			calls = append(calls, k)
		}
	}
	return results
}

// Do1 does a single operation; err is that of the result.
func (c *Client) Do1(ctx context.Context, session ID, op Op) (Result, error) {
	r := c.Do(ctx, session, op)[0]
	return r, r.Err
}

// await waits for a connection of the given session, or with 0 of any.
func (c *Client) await(ctx context.Context, session ID) (*conn, ID, error) {
	for {
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		c.mu.Lock()
		cn, id, changed, stopping := c.conn, c.who.id, c.changed, c.stopping
		c.mu.Unlock()
		if session == 0 {
			session = id // lost from here on, the session is not replaced
		}
		switch {
		case stopping:
			return nil, 0, ErrStopped
		case session != 0 && id != session:
			return nil, 0, ErrExpired
		case cn != nil:
			select {
			case <-cn.dead: // about to be taken away
			default:
				return cn, session, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}

// attempt sends calls on one connection. It returns those that have an outcome, and
// the rest in order, which is empty unless the connection or ctx has ended.
func (c *Client) attempt(ctx context.Context, cn *conn, calls []*call) (done, rest []*call) {
	var sent []*group
	for len(calls) > 0 {
		n := groupSize(calls)
		select {
		case c.slots <- struct{}{}:
		case <-cn.dead:
			n = 0
		case <-ctx.Done():
			n = 0
		}
		if n == 0 {
			break
		}
		g := newGroup(calls[:n:n], func() { <-c.slots })
		if !cn.send(g) {
			<-c.slots
			break
		}
		sent = append(sent, g)
		calls = calls[n:]
	}
	for _, g := range sent {
		select {
		case <-g.done:
			for _, k := range g.calls {
				if errors.Is(k.result.Err, errConnection) {
					k.lost++
					rest = append(rest, k)
				} else {
					done = append(done, k)
				}
			}
		case <-ctx.Done():
			// The connection still owns these calls. New ones stand for them, which are
			// failed and never sent.
			for _, k := range g.calls {
				rest = append(rest, &call{op: k.op, at: k.at, lost: k.lost})
			}
		}
	}
	return done, append(rest, calls...)
}

func newGroup(calls []*call, release func()) *group {
	g := &group{calls: calls, left: len(calls), release: release, done: make(chan struct{})}
	for _, k := range calls {
		k.group = g
	}
	return g
}

// groupSize tells how many of calls make the next group, at least one.
func groupSize(calls []*call) int {
	size := 0
	for i, k := range calls {
		size += k.op.size()
		if i == groupOps || i > 0 && size > groupBytes {
			return i
		}
	}
	return len(calls)
}

// size is about how many bytes the request takes.
func (op *Op) size() int {
	size := 64 + len(op.path) + len(op.data)
	for _, a := range op.acl {
		size += 16 + len(a.Scheme) + len(a.ID)
	}
	for i := range op.multi {
		size += op.multi[i].size()
	}
	return size
}

// outcome is the result of a call that was answered.
func (k *call) outcome() Result {
	r := k.result
	r.Resent = k.lost > 0
	if e, ok := r.Err.(*OpError); ok {
		e.Resent = r.Resent
	}
	return r
}

// failed is the result of a call that will not be answered.
func (k *call) failed(err error) Result {
	e := k.op.fail(err)
	e.Resent = k.lost > 0
	return Result{Err: e, Resent: e.Resent}
}
