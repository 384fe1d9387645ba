package server

import (
	"context"
	"errors"
	"time"
)

// Some requests take much more memory while they are answered than their frames
// have. Each says, before that memory is allocated, how much it may become, and
// waits for its turn if others have it. This is beside the budget of the frames:
// one who has a frame and waits here would else be waited for there.

// workWait bounds how long a request waits for its turn.
const workWait = 10 * time.Second

// errNoWork closes the connection of one whose turn has not come.
var errNoWork = errors.New("no memory for the request: other requests that are as large have it")

// Reserve waits until the broker has n bytes for what the handler is about to
// allocate. They are given back when the response is encoded. An error is for the
// handler to return.
func (r *Request) Reserve(ctx context.Context, n int) error {
	if r.Listener.Internal {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, workWait)
	defer cancel()
	got, err := r.conn.srv.work.acquire(bounded, int64(n))
	if errors.Is(err, context.DeadlineExceeded) {
		err = errNoWork
	}
	r.conn.reserved += got
	return err
}

// Unreserve gives back what Reserve has got before the handler returns, for handlers
// that go on to wait for long, with little in their hands.
func (r *Request) Unreserve() {
	r.conn.srv.work.release(r.conn.reserved)
	r.conn.reserved = 0
}

// MayWait reports whether the handler may keep n bytes while it waits for
// something to happen, which can be long. If not, it has to answer with what there
// is, as if the time were up. They are given back when the response is encoded.
func (r *Request) MayWait(n int) bool {
	if r.Listener.Internal {
		return true
	}
	if !r.conn.srv.waiting.tryAcquire(int64(n)) {
		return false
	}
	r.conn.waiting += int64(n)
	return true
}

// takeSlot waits for one of the route's slots.
func (c *conn) takeSlot(route *Route) error {
	if route.slots == nil {
		return nil
	}
	select {
	case route.slots <- struct{}{}:
		c.slot = route
		return nil
	case <-c.srv.hurry:
	case <-c.ctx.Done():
	}
	return errClosed
}

// endWork gives back what the request has been given.
func (c *conn) endWork() {
	if c.slot != nil {
		<-c.slot.slots
		c.slot = nil
	}
	c.srv.work.release(c.reserved)
	c.srv.waiting.release(c.waiting)
	c.reserved, c.waiting = 0, 0
}
