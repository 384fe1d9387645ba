package session

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a ZooKeeper server whose every answer the test writes by hand. It shows
// what the client sends, and when.
type peer struct {
	t     *testing.T
	conns chan net.Conn

	mu     sync.Mutex
	refuse bool // refuse connections
	dials  []string
}

func newPeer(t *testing.T) *peer { return &peer{t: t, conns: make(chan net.Conn, 16)} }

func (p *peer) dial(ctx context.Context, addr string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials = append(p.dials, addr)
	if p.refuse {
		return nil, errors.New("refused")
	}
	client, server := net.Pipe()
	p.conns <- server
	return client, nil
}

// dialed returns the addresses dialled so far.
func (p *peer) dialed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.dials...)
}

func (p *peer) setRefuse(refuse bool) {
	p.mu.Lock()
	p.refuse = refuse
	p.mu.Unlock()
}

func (p *peer) config() Config {
	return Config{Servers: []string{"zk:1"}, SessionTimeout: 9 * time.Second, Dial: p.dial}
}

// peerConn is one connection as the server sees it.
type peerConn struct {
	t       *testing.T
	nc      net.Conn
	connect zkproto.ConnectRequest
}

// accept takes the next connection and reads its connect request.
func (p *peer) accept() *peerConn {
	p.t.Helper()
	c := &peerConn{t: p.t, nc: <-p.conns}
	frame, err := zkproto.ReadFrame(c.nc, 1<<20, nil)
	if err == nil {
		err = zkproto.Unmarshal(frame, &c.connect)
	}
	if err != nil {
		p.t.Fatalf("connect request: %v", err)
	}
	return c
}

var testPassword = bytes.Repeat([]byte{7}, 16)

// grant answers the connect request.
func (c *peerConn) grant(id ID) {
	c.t.Helper()
	c.write(zkproto.AppendFrame(nil, &zkproto.ConnectResponse{
		TimeoutMS: c.connect.TimeoutMS, SessionID: int64(id), Password: testPassword, HasReadOnly: true,
	}))
}

// expired answers the connect request of a session that is gone.
func (c *peerConn) expired() {
	c.t.Helper()
	c.write(zkproto.AppendFrame(nil, &zkproto.ConnectResponse{Password: make([]byte, 16), HasReadOnly: true}))
	c.nc.Close()
}

func (c *peerConn) write(frame []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(frame); err != nil {
		c.t.Errorf("server cannot write: %v", err)
	}
}

// next reads a request.
func (c *peerConn) next() (h zkproto.RequestHeader, body zkproto.Record) {
	c.t.Helper()
	frame, err := zkproto.ReadFrame(c.nc, 8<<20, nil)
	if err != nil {
		c.t.Fatalf("server cannot read: %v", err)
	}
	h, rest, err := zkproto.ParseRequest(frame)
	if err != nil {
		c.t.Fatal(err)
	}
	body = zkproto.NewRequest(h.Op)
	if err := zkproto.Unmarshal(rest, body); err != nil {
		c.t.Fatal(err)
	}
	return h, body
}

// want reads a request of one kind, answering pings on the way.
func (c *peerConn) want(op zkproto.Op) (xid int32, body zkproto.Record) {
	c.t.Helper()
	for {
		h, body := c.next()
		if h.Op == op {
			return h.XID, body
		}
		if h.Op != zkproto.OpPing {
			c.t.Fatalf("got a request of %v, want %v", h.Op, op)
		}
		c.reply(zkproto.XIDPing, 1, 0, nil)
	}
}

func (c *peerConn) reply(xid int32, zxid int64, code zkproto.Error, body zkproto.Record) {
	c.t.Helper()
	c.write(zkproto.AppendReply(nil, zkproto.ReplyHeader{XID: xid, Zxid: zxid, Err: code}, body))
}

func (c *peerConn) event(kind zkproto.EventType, path string) {
	c.t.Helper()
	c.write(zkproto.AppendEvent(nil, -1, zkproto.WatcherEvent{Type: kind, State: zkproto.StateSyncConnected, Path: path}))
}

// answerAll answers every request with success, and closes, until the connection
// ends. It runs in the background.
func (c *peerConn) answerAll() {
	go func() {
		for {
			frame, err := zkproto.ReadFrame(c.nc, 8<<20, nil)
			if err != nil {
				return
			}
			h, _, _ := zkproto.ParseRequest(frame)
			if _, err := c.nc.Write(zkproto.AppendReply(nil, zkproto.ReplyHeader{XID: h.XID, Zxid: 1}, zkproto.NewResponse(h.Op))); err != nil {
				return
			}
			if h.Op == zkproto.OpCloseSession {
				c.nc.Close()
			}
		}
	}()
}

// log collects the events of a client.
type log struct {
	mu     sync.Mutex
	events []Event
}

func (l *log) listen(e Event) {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
}

func (l *log) all() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Event(nil), l.events...)
}

// client starts a client in session id and returns the server's side of its
// connection.
func (p *peer) client(cfg Config, id ID) (*Client, *log, *peerConn) {
	p.t.Helper()
	c, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	l := &log{}
	c.OnSession(l.listen)
	started := make(chan error, 1)
	go func() { started <- c.Start(context.Background()) }()
	pc := p.accept()
	pc.grant(id)
	if err := <-started; err != nil {
		p.t.Fatal(err)
	}
	return c, l, pc
}

// stop ends a client whose current connection is pc.
func stop(t *testing.T, c *Client, pc *peerConn) {
	t.Helper()
	pc.answerAll()
	if err := c.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// do does ops in the background.
func do(c *Client, session ID, ops ...Op) <-chan []Result {
	results := make(chan []Result, 1)
	go func() { results <- c.Do(context.Background(), session, ops...) }()
	return results
}
