package server

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/gracchus-mq/gracchus/protocol"
)

// replyHeader is what makes replies to one request.
type replyHeader struct {
	pool        *bufferPool
	unsent      *unsent
	key         protocol.APIKey
	version     int16
	correlation int32
}

// newReply returns a reply that already has its header.
func (h *replyHeader) newReply() *Reply {
	p := newReply(h.pool)
	p.unsent = h.unsent
	p.Buf = protocol.AppendResponseHeader(p.Buf, h.key, h.version, h.correlation)
	return p
}

func (r *Request) replyHeader() replyHeader {
	return replyHeader{r.conn.srv.pool, r.route.unsent, r.Header.Key, r.Header.Version, r.Header.CorrelationID}
}

// Later is the place in line of an answer that is not known yet. It outlives the handler,
// whose goroutine goes on reading the connection.
type Later struct {
	header  replyHeader
	conn    *conn
	slot    *Slot
	waiting int64    // what MayWait has allowed
	request *Request // for the quota, nil if there is none
}

// Later puts an answer that is not known yet in line. What MayWait has allowed is given
// back with it. end is called, perhaps more than once and before Later returns, when it is
// no longer worth waiting for: the client has closed its side, the broker drains, or the
// connection is closed; it has the answer sent, or dropped, soon: until then the connection
// does not end.
func (r *Request) Later(end func()) *Later {
	c := r.conn
	l := &Later{header: r.replyHeader(), conn: c, waiting: c.waiting}
	c.waiting = 0
	if c.srv.cfg.Throttle != nil {
		kept := *r
		kept.Body = nil
		l.request = &kept
	}
	r.outcome = held
	l.slot = c.order.push(nil, 0, end)
	if c.srv.isDraining() || c.ctx.Err() != nil {
		end() // who drains or closes may have looked for it before it was here
	}
	return l
}

// Context ends when the connection is closed.
func (l *Later) Context() context.Context { return l.conn.ctx }

// NewReply returns a reply that already has its header.
func (l *Later) NewReply() *Reply { return l.header.newReply() }

// Send answers with an encoded reply, which it takes over. It may write what the socket
// takes at once, and does not block. Either it or Drop is called, once.
func (l *Later) Send(p *Reply) {
	l.release()
	if l.request != nil {
		l.conn.throttle(l.request, p)
	}
	l.slot.send(p)
}

// Drop gives up the answer of a connection that is closed.
func (l *Later) Drop() {
	l.release()
	l.slot.giveUp()
}

func (l *Later) release() {
	l.conn.srv.waiting.release(l.waiting)
	l.waiting = 0
}

// Protect wraps a function that works for the answer, in the goroutine of somebody else too:
// a panic in it is an error of this connection only.
func (l *Later) Protect(f func()) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				l.conn.srv.log.Error("connection closed: handler failed", "client", l.conn.net.RemoteAddr().String(), "listener", l.conn.listener.Name,
					"api", l.header.key.String(), "version", l.header.version, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				l.conn.close()
				l.Drop()
			}
		}()
		f()
	}
}
