package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

// conn is one connection. The reader goroutine owns every field that is not
// marked otherwise.
type conn struct {
	srv      *Server
	number   uint64 // see Request.Connection
	listener *Listener
	net      net.Conn
	tcp      *net.TCPConn    // nil unless net is one
	host     string          // the peer's address without port
	ctx      context.Context // ends when the connection is closed
	cancel   context.CancelFunc
	frames   frameReader
	sender   sender // used by whoever writes
	order    order
	request  Request // reused: a handler may not keep it

	pause atomic.Int64 // Unix nanoseconds before which no request is handled (quota), 0: none

	closeOnce sync.Once
	answered  atomic.Bool // a reply has been written
	software  atomic.Pointer[clientSoftware]
	// lastActive is when bytes last moved, frameDue when the large frame that is
	// coming must be here, 0 if none is; both in Unix nanoseconds. The sweeper
	// reads them.
	lastActive atomic.Int64
	frameDue   atomic.Int64
	single     [1]*Reply
	because    atomic.Pointer[string] // why the server closed it

	reserved, waiting int64  // of the budgets of Reserve and MayWait
	slot              *Route // whose slot the request has
}

func newConn(s *Server, l *Listener, nc net.Conn) *conn {
	c := &conn{srv: s, number: s.connections.Add(1), listener: l, net: nc, host: remoteHost(nc)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.frames = frameReader{conn: nc, turn: c.awaitTurn, pool: s.pool, max: int(s.cfg.MaxFrameBytes), limit: c.frameLimit, touch: c.touch, due: &c.frameDue}
	c.sender = sender{conn: nc, touch: c.touch}
	if !l.Internal {
		c.frames.budget = s.budget
	}
	if !l.Internal && !s.isOpen() {
		c.frames.admit = c.mayRead
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			c.tcp, c.frames.raw, c.sender.raw = tcp, raw, raw
		}
	}
	c.frames.init()
	c.sender.init()
	c.order.init(c.write, c.writeNow, s.spawn)
	c.touch()
	return c
}

func remoteHost(nc net.Conn) string {
	addr := nc.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

func (c *conn) touch() { c.lastActive.Store(time.Now().UnixNano()) }

// frameLimit is the largest frame a request of that key may have. It is asked
// before the frame is believed, so unknown keys get the small limit: they are
// refused once their header is here.
func (c *conn) frameLimit(key, _ int16) int32 {
	cfg := &c.srv.cfg
	route := c.srv.routes.find(key)
	if route != nil && (route.Bulk || route.InterBroker && c.listener.InterBroker) {
		return cfg.MaxFrameBytes
	}
	return min(cfg.MaxFrameBytes, cfg.MaxClientFrameBytes)
}

// serve reads and handles requests until the connection ends.
func (c *conn) serve() {
	err := c.loop()
	if err == nil {
		// The broker drains or the peer has closed its side: what is under way
		// is still answered, and nothing waited for.
		c.order.hurry()
		err = c.order.waitEmpty()
	}
	if c.ctx.Err() != nil {
		err = errClosed // somebody else has ended it: what came of that is no news
	}
	c.close()
	c.order.waitKnown()
	c.frames.close()
	c.endWork()
	if why := c.because.Load(); why != nil {
		err = &frameError{*why}
	}
	c.report(err)
}

// loop returns nil at a regular end.
func (c *conn) loop() error {
	for {
		if err := c.hold(); err != nil {
			return err
		}
		frame, err := c.frames.next(c.ctx)
		switch {
		case err == nil:
		case err == io.EOF:
			return nil
		case c.srv.isDraining() && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		default:
			var violation *frameError
			if errors.As(err, &violation) {
				c.finish()
			}
			return err
		}
		if err := c.one(frame); err != nil {
			var crash *panicError
			if !errors.As(err, &crash) { // after which nobody may release its slot
				c.finish()
			}
			return err
		}
		c.frames.release()
		if c.srv.isDraining() && !c.listener.Internal {
			return nil
		}
	}
}

// finish lets the requests before one that is refused have their replies: to
// Kafka's clients it is as if it had not been read before they were answered.
func (c *conn) finish() {
	c.frames.release()
	c.order.waitEmpty()
}

// hold waits before the next request is read: for a quota's pause, and for room
// when too much is outstanding.
func (c *conn) hold() error {
	if err := c.holdBack(); err != nil {
		return err
	}
	return c.order.waitRoom(c.srv.cfg.ConnectionInFlightBytes)
}

// holdBack waits for a quota's pause.
func (c *conn) holdBack() error {
	until := c.pause.Swap(0)
	if until == 0 {
		return nil
	}
	t := time.NewTimer(time.Until(time.Unix(0, until)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.srv.draining:
	case <-c.ctx.Done():
		return errClosed
	}
	return nil
}

// awaitTurn returns when a request of the key can be handled. A large frame is not read
// before: it would hold memory that others need for as long as an answer is waited for.
func (c *conn) awaitTurn(key int16) error {
	if c.order.empty() || c.overlaps(c.srv.routes.find(key)) {
		return nil
	}
	return c.order.waitEmpty()
}

// overlaps reports whether a request can be handled while those before it wait.
func (c *conn) overlaps(route *Route) bool {
	return route != nil && route.Overlap && c.request.Header.Key == route.Key
}

// one handles the request in the frame.
func (c *conn) one(frame []byte) error {
	h, body, err := protocol.ParseRequestHeaderReusing(frame, c.request.Header.ClientID)
	if err != nil {
		return &frameError{err.Error()}
	}
	route := c.srv.routes.find(int16(h.Key))
	switch {
	case route == nil:
		return &frameError{fmt.Sprintf("%s (key %d, version %d) is not served", h.Key, int16(h.Key), h.Version)}
	case (h.Version < route.Min || h.Version > route.Max) && !route.AnyVersion:
		return &frameError{fmt.Sprintf("%s version %d is not served, only %d to %d", h.Key, h.Version, route.Min, route.Max)}
	case route.InterBroker && !c.listener.InterBroker:
		return &frameError{fmt.Sprintf("%s is for brokers and not served on listener %s", h.Key, c.listener.Name)}
	}
	alone := c.order.empty()
	if !alone && !c.overlaps(route) {
		if err := c.order.waitEmpty(); err != nil {
			return err
		}
		alone = true
	}
	if err := c.holdBack(); err != nil { // again: for what was sent since the frame was read
		return err
	}
	if !c.listener.Internal {
		if err := c.takeSlot(route); err != nil {
			return err
		}
		if err := route.unsent.waitRoom(c); err != nil {
			return err
		}
	}
	c.request = Request{Header: h, Body: body, Listener: c.listener, ClientHost: c.host, Principal: Anonymous, conn: c, route: route}
	if err := c.handle(&c.request); err != nil {
		return err
	}
	return c.answer(&c.request, alone)
}

// handle runs the handler; a panic in it is an error of this connection only.
func (c *conn) handle(r *Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	return r.route.Handle(c.ctx, r)
}

// panicError is a handler's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// answer does what the handler decided. Every reply passes here or Hold, and
// with it the quota.
func (c *conn) answer(r *Request, alone bool) error {
	var p *Reply
	switch r.outcome {
	case held, silent:
		c.endWork()
		return nil
	case send:
		p = r.reply
		c.throttle(r, p)
	case respond:
		p = c.encode(r)
	default:
		return errUndecided
	}
	r.reply, r.response = nil, nil
	c.endWork()
	if !alone {
		c.order.push(p, int64(len(r.Body)), nil).Release()
		return nil
	}
	c.frames.release()
	c.single[0] = p
	err := c.write(c.single[:])
	p.recycle()
	return err
}

func (c *conn) encode(r *Request) *Reply {
	p := r.NewReply()
	p.Grow(r.expected)
	start := len(p.Buf)
	r.response.SetVersion(r.version)
	p.Buf = r.response.AppendTo(p.Buf)
	if d := c.throttle(r, p); d > 0 {
		if t, ok := r.response.(kmsg.SetThrottleResponse); ok {
			t.SetThrottle(throttleMillis(d))
			p.Buf = r.response.AppendTo(p.Buf[:start])
		}
	}
	return p
}

// throttle is the one point where a quota can hold a client back (KIP-219: the
// reply goes out at once and says for how long; then the connection is not read
// for that time).
func (c *conn) throttle(r *Request, p *Reply) time.Duration {
	if c.srv.cfg.Throttle == nil {
		return 0
	}
	d := c.srv.cfg.Throttle(r, p.Size())
	if d <= 0 {
		return 0
	}
	c.pause.Store(time.Now().Add(d).UnixNano())
	if p.ThrottleAt > 0 {
		putInt32(p.Buf[p.ThrottleAt:], throttleMillis(d))
	}
	return d
}

func throttleMillis(d time.Duration) int32 { return int32(min(d.Milliseconds(), math.MaxInt32)) }

// close may be called from any goroutine.
func (c *conn) close() {
	first := false
	c.closeOnce.Do(func() {
		first = true
		c.cancel()
		c.net.Close()
		c.order.close()
	})
	if first {
		c.order.hurry()
	}
}

// closeBecause closes a connection that has not asked for it. It may be called from
// any goroutine.
func (c *conn) closeBecause(why string) {
	c.because.CompareAndSwap(nil, &why)
	c.close()
}

// report writes the one line that says why a connection was closed.
func (c *conn) report(err error) {
	log := c.srv.log.With("client", c.net.RemoteAddr().String(), "listener", c.listener.Name)
	var violation *frameError
	var crash *panicError
	switch {
	case err == nil || errors.Is(err, errClosed):
		log.Debug("connection closed")
	case errors.As(err, &violation) && c.srv.lines.Say():
		log.Warn("connection closed: request refused", "reason", violation.msg)
	case errors.As(err, &crash):
		log.Error("connection closed: handler failed", "api", c.request.Header.Key.String(), "version", c.request.Header.Version,
			"panic", fmt.Sprint(crash.value), "stack", string(crash.stack))
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe), errors.Is(err, io.ErrUnexpectedEOF), isDisconnect(err):
		log.Debug("connection ended", "reason", err)
	case errors.As(err, &violation):
	case c.srv.lines.Say():
		log.Warn("connection closed", "api", c.request.Header.Key.String(), "version", c.request.Header.Version, "reason", err)
	}
}

// isDisconnect reports whether the error says no more than that the peer went.
func isDisconnect(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
