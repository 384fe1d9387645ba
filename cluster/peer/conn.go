package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// call is one request and where its outcome goes. Whoever takes a call out of
// the place it waits in (queue or inFlight) completes it, once.
type call struct {
	ctx      context.Context
	req      kmsg.Request
	endpoint cluster.Endpoint
	done     chan outcome // capacity 1
}

type outcome struct {
	resp kmsg.Response
	err  error
}

func (c *call) complete(resp kmsg.Response, err error) { c.done <- outcome{resp, err} }

// conn is one connection. The link's goroutine writes, a goroutine of its own
// reads; they share the list of requests in flight under mu, which is held for
// bookkeeping only, never while reading or writing. The connection dies once,
// in fail, whoever calls it; everything in flight then fails, and dead is closed.
type conn struct {
	nc       net.Conn
	endpoint cluster.Endpoint
	timeout  time.Duration
	maxFrame int32
	offered  map[int16]versionRange // of the link's goroutine; nil until asked
	slots    chan struct{}          // one token per request in flight
	dead     chan struct{}

	mu       sync.Mutex
	inFlight []flight // in the order they were written
	err      error    // why it is dead
	nextID   int32
}

type flight struct {
	*call
	id       int32
	deadline time.Time
}

func newConn(nc net.Conn, e cluster.Endpoint, cfg Config) *conn {
	return &conn{
		nc:       nc,
		endpoint: e,
		timeout:  cfg.RequestTimeout,
		maxFrame: cfg.MaxResponse,
		slots:    make(chan struct{}, cfg.MaxInFlight),
		dead:     make(chan struct{}),
	}
}

// write sends one request, whose version is set. The call completes when its
// response comes or the connection dies. A slot must have been taken.
func (c *conn) write(cl *call, clientID string) {
	c.mu.Lock()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		cl.complete(nil, err)
		return
	}
	f := flight{call: cl, id: c.nextID, deadline: time.Now().Add(c.timeout)}
	c.nextID = (c.nextID + 1) & 0x7fffffff
	c.inFlight = append(c.inFlight, f)
	if len(c.inFlight) == 1 {
		c.nc.SetReadDeadline(f.deadline)
	}
	c.mu.Unlock()

	frame := protocol.EncodeRequest(nil, f.id, clientID, cl.req)
	c.nc.SetWriteDeadline(f.deadline)
	if _, err := c.nc.Write(frame); err != nil {
		c.fail(err)
	}
}

// read runs until the connection is dead. It always has a read pending, so that
// a connection which the broker closed while idle is noticed before it is used.
func (c *conn) read() {
	for {
		frame, err := protocol.ReadFrame(c.nc, c.maxFrame, nil)
		if err != nil {
			c.fail(err)
			return
		}
		f, err := c.pop()
		if err != nil {
			c.fail(err)
			return
		}
		resp, err := decode(frame, f)
		f.complete(resp, err)
		if err != nil {
			c.fail(err)
			return
		}
		<-c.slots
	}
}

// pop takes the oldest request out and moves the deadline to the next.
func (c *conn) pop() (flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inFlight) == 0 {
		return flight{}, errors.New("a response came that nobody asked for")
	}
	f := c.inFlight[0]
	c.inFlight = c.inFlight[1:]
	if len(c.inFlight) > 0 {
		c.nc.SetReadDeadline(c.inFlight[0].deadline)
	} else {
		c.inFlight = nil
		c.nc.SetReadDeadline(time.Time{})
	}
	return f, nil
}

// fail closes the connection and fails what is in flight. Only the first call
// does anything.
func (c *conn) fail(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if !errors.Is(cause, ErrStopped) {
		cause = fmt.Errorf("%w: %w", ErrDisconnected, cause)
	}
	c.err = cause
	failed := c.inFlight
	c.inFlight = nil
	c.mu.Unlock()
	c.nc.Close()
	close(c.dead)
	for _, f := range failed {
		f.complete(nil, cause)
	}
}

func (c *conn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// decode parses a response frame (without its size) for the request in flight.
func decode(frame []byte, f flight) (kmsg.Response, error) {
	name := kmsg.NameForKey(f.req.Key())
	if len(frame) < 4 {
		return nil, fmt.Errorf("response to %s is %d bytes short", name, 4-len(frame))
	}
	if id := int32(binary.BigEndian.Uint32(frame)); id != f.id {
		return nil, fmt.Errorf("response to %s has correlation id %d, not %d", name, id, f.id)
	}
	body := frame[4:]
	// The response to ApiVersions has no tagged fields in its header whatever its
	// version, so that a client can read the refusal of a version (KIP-511).
	if f.req.IsFlexible() && f.req.Key() != int16(kmsg.ApiVersions) {
		var ok bool
		if body, ok = skipTags(body); !ok {
			return nil, fmt.Errorf("response to %s has a malformed header", name)
		}
	}
	resp := f.req.ResponseKind()
	resp.SetVersion(f.req.GetVersion())
	if f.req.Key() == int16(kmsg.ApiVersions) && len(body) >= 2 && int16(binary.BigEndian.Uint16(body)) == kerr.UnsupportedVersion.Code {
		resp.SetVersion(0) // a version that is not known is refused in version 0 (KIP-511)
	}
	if err := protocol.DecodeResponse(resp, body); err != nil {
		return nil, err
	}
	return resp, nil
}

// skipTags steps over a header's tagged fields.
func skipTags(b []byte) ([]byte, bool) {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	b = b[n:]
	for ; count > 0; count-- {
		if _, n = binary.Uvarint(b); n <= 0 {
			return nil, false
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		b = b[n+int(size):]
	}
	return b, true
}
