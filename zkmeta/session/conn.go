package session

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// errConnection is what operations without an answer get when their connection is
// lost. It never leaves the package: Do sends them again.
var errConnection = errors.New("connection lost")

// errClosed ends a connection whose session was closed at our request.
var errClosed = errors.New("session closed")

// call is one operation on its way. It belongs to whoever called Do; the second half
// of its fields is the connection's until the call's group is done.
type call struct {
	op   *Op
	body zkproto.Record
	at   int // index of the operation and its result
	lost int // connections lost while it was on its way

	group  *group
	xid    int32
	sentAt time.Time
	result Result
}

// group is a run of calls that are sent together and count as one in flight.
type group struct {
	calls   []*call
	left    int           // calls without an outcome; owned by the dispatcher
	release func()        // gives back the place in flight
	done    chan struct{} // closed when every call has its outcome
}

// finish marks one call as having its outcome. It runs on the dispatcher.
func (g *group) finish() {
	if g.left--; g.left == 0 {
		g.release()
		close(g.done)
	}
}

// conn is one connection on which a session has been established. A writer and a
// reader goroutine live as long as it does.
//
// ZooKeeper answers in order, so replies are matched with the front of pending, and
// an answer out of order ends the connection. mu guards what callers and the two
// goroutines share; it is never held across a read, a write or a callback.
type conn struct {
	c       *Client
	session ID
	net     net.Conn
	in      *bufio.Reader
	timeout time.Duration // of the session, as the server granted it
	wake    chan struct{} // holds a token while out may have something
	dead    chan struct{} // closed by fail
	ended   sync.WaitGroup
	useful  bool // something was answered; the reader's

	mu      sync.Mutex
	out     []byte  // frames to write
	pending []*call // sent or in out, in order
	xid     int32
	pingAt  time.Time // when the last ping was sent that has no answer yet
	err     error     // why the connection is dead
}

func (cn *conn) start() {
	cn.ended.Add(2)
	go cn.write()
	go cn.read()
}

// send queues the calls of g behind what was sent before. It returns false, and has
// done nothing, if the connection is dead.
func (cn *conn) send(g *group) bool {
	cn.mu.Lock()
	if cn.err != nil {
		cn.mu.Unlock()
		return false
	}
	now := time.Now()
	for _, call := range g.calls {
		if cn.xid++; cn.xid <= 0 { // negative ones have meanings of their own
			cn.xid = 1
		}
		call.xid, call.sentAt = cn.xid, now
		cn.out = zkproto.AppendRequest(cn.out, zkproto.RequestHeader{XID: call.xid, Op: call.op.kind}, call.body)
	}
	cn.pending = append(cn.pending, g.calls...)
	cn.mu.Unlock()
	cn.wakeWriter()
	return true
}

func (cn *conn) wakeWriter() {
	select {
	case cn.wake <- struct{}{}:
	default:
	}
}

// fail ends the connection. The first reason stands.
func (cn *conn) fail(err error) {
	cn.mu.Lock()
	if cn.err != nil {
		cn.mu.Unlock()
		return
	}
	cn.err = err
	cn.out = nil
	cn.mu.Unlock()
	close(cn.dead)
	cn.net.Close()
}

// abandon gives errConnection to the calls that will have no answer. The reader does
// it last, so that an answer that had arrived when the connection failed still
// counts.
func (cn *conn) abandon() {
	cn.mu.Lock()
	pending := cn.pending
	cn.pending = nil
	cn.mu.Unlock()
	for _, call := range pending {
		cn.c.dispatch.put(func() {
			call.result = Result{Err: errConnection}
			call.group.finish()
		})
	}
}

// write sends what is queued, and a ping when a third of the session's time has
// passed without anything to send, so that the server hears from us in time and we
// from it.
func (cn *conn) write() {
	defer cn.ended.Done()
	interval := cn.timeout / 3
	ping := time.NewTimer(interval)
	defer ping.Stop()
	var buf []byte
	for {
		select {
		case <-cn.wake:
		case <-ping.C:
			cn.mu.Lock()
			if cn.pingAt.IsZero() {
				cn.pingAt = time.Now()
			}
			cn.out = zkproto.AppendRequest(cn.out, zkproto.RequestHeader{XID: zkproto.XIDPing, Op: zkproto.OpPing}, nil)
			cn.mu.Unlock()
		case <-cn.dead:
			return
		}
		cn.mu.Lock()
		buf, cn.out = cn.out, buf[:0]
		cn.mu.Unlock()
		if len(buf) == 0 {
			continue
		}
		cn.net.SetWriteDeadline(time.Now().Add(cn.silence()))
		if _, err := cn.net.Write(buf); err != nil {
			cn.fail(fmt.Errorf("write: %w", err))
			return
		}
		if cap(buf) > 1<<20 {
			buf = nil
		}
		ping.Reset(interval)
	}
}

// silence is how long a live server can be quiet: pings go out after a third of the
// session's time, and one third is left to find another server.
func (cn *conn) silence() time.Duration { return cn.timeout * 2 / 3 }

// read takes replies and events until the connection fails.
func (cn *conn) read() {
	defer cn.ended.Done()
	defer cn.abandon()
	for {
		cn.net.SetReadDeadline(time.Now().Add(cn.silence()))
		h, body, err := cn.readFrame()
		if err == nil {
			err = cn.handle(h, body)
		}
		if err != nil {
			cn.fail(err)
			return
		}
		cn.useful = true
	}
}

// errTooLargeReply stands for a body that was skipped.
var errTooLargeReply = []byte("too large")

// readFrame reads one reply. A body above the limit is skipped, so that the one
// operation it answers fails, and not the connection, which would come back only to
// be asked the same again.
func (cn *conn) readFrame() (h zkproto.ReplyHeader, body []byte, err error) {
	const headerSize = 16
	var head [4]byte
	if _, err := io.ReadFull(cn.in, head[:]); err != nil {
		return h, nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < headerSize {
		return h, nil, fmt.Errorf("%w: %d", zkproto.ErrFrameTooLarge, size)
	}
	if size <= cn.c.cfg.MaxPacketBytes {
		frame, err := zkproto.ReadBody(cn.in, size, nil)
		if err != nil {
			return h, nil, err
		}
		return zkproto.ParseReply(frame)
	}
	frame, err := zkproto.ReadBody(cn.in, headerSize, nil)
	if err != nil {
		return h, nil, err
	}
	if h, _, err = zkproto.ParseReply(frame); err != nil {
		return h, nil, err
	}
	if h.XID < 0 {
		return h, nil, fmt.Errorf("%w: %d", zkproto.ErrFrameTooLarge, size)
	}
	_, err = io.CopyN(io.Discard, cn.in, int64(size-headerSize))
	return h, errTooLargeReply, err
}

// handle acts on one frame from the server.
func (cn *conn) handle(h zkproto.ReplyHeader, body []byte) error {
	switch h.XID {
	case zkproto.XIDWatch:
		return cn.event(body)
	case zkproto.XIDPing:
		cn.mu.Lock()
		at := cn.pingAt
		cn.pingAt = time.Time{}
		cn.mu.Unlock()
		cn.c.heard(at)
		return nil
	case zkproto.XIDAuth:
		return h.Err.AsError()
	case zkproto.XIDSetWatches:
		if h.Err != 0 {
			return fmt.Errorf("re-arm the watches: %w", h.Err)
		}
		return nil
	}
	cn.mu.Lock()
	if len(cn.pending) == 0 || cn.pending[0].xid != h.XID {
		cn.mu.Unlock()
		return fmt.Errorf("reply %d is to no request, or out of order", h.XID)
	}
	call := cn.pending[0]
	if h.Err == zkproto.ErrSessionMoved || h.Err == zkproto.ErrSessionExpired {
		// Not an answer: connecting again tells what became of the session.
		cn.mu.Unlock()
		return h.Err
	}
	cn.pending[0] = nil
	cn.pending = cn.pending[1:]
	cn.mu.Unlock()
	return cn.reply(call, h, body)
}

// reply completes a call that has been taken off pending.
func (cn *conn) reply(call *call, h zkproto.ReplyHeader, body []byte) error {
	if h.Zxid > 0 {
		cn.c.lastZxid = h.Zxid
	}
	cn.c.heard(call.sentAt)
	result := Result{}
	var bad error
	if h.Err == 0 && len(body) > 0 && &body[0] == &errTooLargeReply[0] {
		result.Err = call.op.fail(ErrTooLarge)
	} else {
		bad = call.op.answer(cn.c.cfg.Chroot, h.Err, body, &result)
	}
	if bad != nil {
		result = Result{Err: errConnection}
	} else if call.op.watch != nil {
		cn.c.watches.arm(call.op.kind, call.op.absolutePath(cn.c.cfg.Chroot), call.op.watch, h.Err)
	}
	cn.c.dispatch.put(func() {
		call.result = result
		call.group.finish()
	})
	if bad == nil && call.op.kind == zkproto.OpCloseSession && h.Err == 0 {
		return errClosed
	}
	return bad
}

// event passes a watch event on to the watches that it fires.
func (cn *conn) event(body []byte) error {
	var e zkproto.WatcherEvent
	if err := zkproto.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("watch event: %w", err)
	}
	told := WatchEvent{Type: e.Type, Path: relative(cn.c.cfg.Chroot, e.Path)}
	for _, w := range cn.c.watches.disarm(e.Type, e.Path) {
		cn.c.dispatch.put(func() { w.fire(told) })
	}
	return nil
}
