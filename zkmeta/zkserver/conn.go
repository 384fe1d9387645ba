package zkserver

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// Bounds on what one connection may make the server hold, beside the watches:
// bytes of requests not served yet (and one frame more), and of replies not
// sent yet (and one reply more). Events are not asked for one by one; a client
// that lets eventBacklog bytes pile up is disconnected.
const (
	inboundBytes  = 1 << 20
	outboundBytes = 1 << 20
	eventBacklog  = 8 << 20
	// strangersShare is what part of that others than the owner have: they are many.
	strangersShare = 8
)

// share is the connection's part of one of these bounds.
func (c *conn) share(bound int) int {
	if c.owner {
		return bound
	}
	return bound / strangersShare
}

// request is a decoded frame of a client, or a four-letter word.
type request struct {
	header zkproto.RequestHeader
	body   zkproto.Record
	bad    bool   // body could not be decoded
	word   string // four letters instead of a frame
	size   int
	at     time.Time
}

// conn is one connection.
//
// Three goroutines touch it. The reader decodes frames into queue; the loop
// takes them out, keeps what is between it and the client in the fields at the
// end, and stages output, which release moves to out; the writer sends out. mu
// guards queue and out and the counters beside them, is held for moments and
// never together with another lock. Neither the loop nor anybody else waits
// for a connection: the loop leaves requests in the queue while too much is
// unsent (next), which the writer ends by handing the connection in again, and
// the reader pauses while too much is queued (roomFor), which the loop ends.
type conn struct {
	nc    net.Conn
	cfg   *Config
	inbox *inbox
	clock clock
	owner bool // see ServeOwner; set before the goroutines start

	mu         sync.Mutex
	queue      []request
	queueBytes int
	handedIn   bool // in the inbox, or in the loop's hands
	parked     bool // has requests, but too much is unsent
	out        []byte
	outEvents  int  // bytes of out that are events
	sending    int  // bytes taken from out and not sent yet
	finishing  bool // close once everything is sent

	roomy chan struct{} // tells the reader that there is room again
	ready chan struct{} // tells the writer that there is output
	ended chan struct{} // closed with the connection
	once  sync.Once

	session  atomic.Pointer[session] // set by the loop, touched by the reader
	received atomic.Int64
	sent     atomic.Int64

	// Owned by the loop:
	staged     []byte
	touched    bool // among those with staged output
	eventBytes int  // of staged that is events
	closing    bool // nothing more is served
	lost       bool // reader and writer have ended
	connected  bool // the connect request has been served
	who        []identity
	watched    map[string]struct{}
	watchBytes int
}

func newConn(nc net.Conn, cfg *Config, in *inbox, clk clock) *conn {
	return &conn{
		nc: nc, cfg: cfg, inbox: in, clock: clk,
		roomy:   make(chan struct{}, 1),
		ready:   make(chan struct{}, 1),
		ended:   make(chan struct{}),
		who:     addressIdentity(nc.RemoteAddr()),
		watched: map[string]struct{}{},
	}
}

// close ends the connection at once. It may be called by anyone, repeatedly.
func (c *conn) close() {
	c.once.Do(func() {
		close(c.ended)
		_ = c.nc.Close()
	})
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// read takes frames off the connection until it ends. Any error ends it: with
// ZooKeeper's protocol a client just connects again.
func (c *conn) read() {
	defer c.close()
	in := bufio.NewReaderSize(c.nc, 16<<10)
	if c.nc.SetReadDeadline(time.Now().Add(handshakeTimeout)) != nil || !c.readFirst(in) {
		return
	}
	if c.nc.SetReadDeadline(time.Time{}) != nil {
		return
	}
	for c.roomFor() {
		frame, err := zkproto.ReadFrame(in, c.cfg.MaxRequestBytes, nil)
		if err != nil {
			return
		}
		if s := c.session.Load(); s != nil {
			s.touch(c.clock.now())
		}
		r := request{size: len(frame), at: time.Now()}
		var body []byte
		if r.header, body, err = zkproto.ParseRequest(frame); err != nil {
			return
		}
		if r.body = zkproto.NewRequest(r.header.Op); r.body != nil {
			r.bad = zkproto.Unmarshal(body, r.body) != nil
		}
		c.enqueue(r)
	}
}

// readFirst reads the connect request, or a four-letter word, which stands
// where the length of a frame would.
func (c *conn) readFirst(in *bufio.Reader) bool {
	var head [4]byte
	for i := range head {
		b, err := in.ReadByte()
		if err != nil {
			return false
		}
		head[i] = b
	}
	if word := string(head[:]); knownWord(word) {
		c.enqueue(request{word: word, at: time.Now()})
		// Nothing more is expected; the reply ends the connection.
		<-c.ended
		return false
	}
	n := int(int32(binary.BigEndian.Uint32(head[:])))
	if n < 0 || n > c.cfg.MaxRequestBytes {
		return false
	}
	frame, err := zkproto.ReadBody(in, n, nil)
	if err != nil {
		return false
	}
	connect := &zkproto.ConnectRequest{}
	if zkproto.Unmarshal(frame, connect) != nil {
		return false
	}
	c.enqueue(request{header: zkproto.RequestHeader{Op: zkproto.OpCreateSession}, body: connect, size: len(frame), at: time.Now()})
	return true
}

func (c *conn) enqueue(r request) {
	c.received.Add(1)
	c.mu.Lock()
	c.queue = append(c.queue, r)
	c.queueBytes += r.size
	hand := !c.handedIn && !c.parked
	if hand {
		c.handedIn = true
	}
	c.mu.Unlock()
	if hand {
		c.inbox.put(c, false)
	}
}

// roomFor waits until another request may be read; false means that the
// connection has ended.
func (c *conn) roomFor() bool {
	for {
		c.mu.Lock()
		room := len(c.queue) < c.cfg.MaxOutstanding && c.queueBytes < c.share(inboundBytes)
		c.mu.Unlock()
		if room {
			return true
		}
		select {
		case <-c.roomy:
		case <-c.ended:
			return false
		}
	}
}

// next gives the loop the next request. false means that there is none to serve
// now, and that the connection will be handed in when there is.
func (c *conn) next() (request, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.queue, c.handedIn = nil, false
		return request{}, false
	}
	if !c.lost && len(c.staged)+len(c.out)+c.sending >= c.share(outboundBytes) {
		c.parked, c.handedIn = true, false
		return request{}, false
	}
	r := c.queue[0]
	c.queue[0] = request{}
	c.queue = c.queue[1:]
	c.queueBytes -= r.size
	signal(c.roomy)
	return r, true
}

// adopt marks the connection as handed in, and tells whether it was not.
func (c *conn) adopt() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	adopted := !c.handedIn
	c.handedIn, c.parked = true, false
	return adopted
}

// release lets staged output go; finish closes the connection behind it. It
// returns false, and does nothing, if the client leaves too many events unread.
func (c *conn) release(finish bool) bool {
	c.mu.Lock()
	if c.outEvents > 0 && c.outEvents+c.eventBytes > c.share(eventBacklog) {
		c.mu.Unlock()
		return false
	}
	c.out = append(c.out, c.staged...)
	c.outEvents += c.eventBytes
	c.finishing = c.finishing || finish
	c.mu.Unlock()
	c.eventBytes = 0
	if cap(c.staged) > c.share(outboundBytes) {
		c.staged = nil
	}
	c.staged = c.staged[:0]
	signal(c.ready)
	return true
}

// write sends what is released until the connection ends.
func (c *conn) write() {
	defer c.close()
	var spare []byte // the buffer that is not out, between two writes
	for {
		c.mu.Lock()
		batch, finishing := c.out, c.finishing
		if len(batch) > 0 {
			c.out, c.outEvents, c.sending = spare[:0], 0, len(batch)
		}
		c.mu.Unlock()
		if len(batch) == 0 {
			if finishing {
				return
			}
			select {
			case <-c.ready:
				continue
			case <-c.ended:
				return
			}
		}
		if finishing && c.nc.SetWriteDeadline(time.Now().Add(handshakeTimeout)) != nil {
			return
		}
		if _, err := c.nc.Write(batch); err != nil {
			return
		}
		if spare = batch; cap(spare) > c.share(outboundBytes) {
			spare = nil
		}
		c.mu.Lock()
		c.sending = 0
		hand := c.parked && len(c.out) < c.share(outboundBytes)
		if hand {
			c.parked, c.handedIn = false, true
		}
		c.mu.Unlock()
		if hand {
			c.inbox.put(c, false)
		}
	}
}
