// Package zktest has what tests of ZooKeeper clients need: a server, embedded or
// real, and a relay that loses what it is told to lose.
package zktest

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// Dial opens a connection to a server.
type Dial func(ctx context.Context, addr string) (net.Conn, error)

// maxFrame bounds what a relay passes on.
const maxFrame = 16 << 20

// Relay sits between a client and a server and cuts connections at chosen points:
// before a request reaches the server, or after, when its reply is on its way back.
// The second is the interesting one: the client cannot know that it was done.
//
// Its Dial is what the client under test dials. All connections share its rules;
// mu guards them, and rules are called with mu held, one at a time.
type Relay struct {
	dial Dial

	mu          sync.Mutex
	links       map[*link]struct{}
	refuse      bool
	loseRequest func(zkproto.Op) bool
	loseReply   func(zkproto.Op) bool
	running     sync.WaitGroup
}

// NewRelay relays to what dial reaches.
func NewRelay(dial Dial) *Relay { return &Relay{dial: dial, links: map[*link]struct{}{}} }

// LoseRequest sets a rule: a request for which it returns true does not reach the
// server, and its connection is cut. nil loses nothing.
func (r *Relay) LoseRequest(rule func(zkproto.Op) bool) {
	r.mu.Lock()
	r.loseRequest = rule
	r.mu.Unlock()
}

// LoseReply sets a rule: a reply to a request for which it returns true does not
// reach the client, and its connection is cut. nil loses nothing.
func (r *Relay) LoseReply(rule func(zkproto.Op) bool) {
	r.mu.Lock()
	r.loseReply = rule
	r.mu.Unlock()
}

// Cut cuts all connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		l.cut()
	}
}

// Refuse refuses new connections, or accepts them again. It cuts none.
func (r *Relay) Refuse(refuse bool) {
	r.mu.Lock()
	r.refuse = refuse
	r.mu.Unlock()
}

// Close cuts all connections and waits for the relay's goroutines.
func (r *Relay) Close() {
	r.Refuse(true)
	r.Cut()
	r.running.Wait()
}

// Dial connects to the server by way of the relay.
func (r *Relay) Dial(ctx context.Context, addr string) (net.Conn, error) {
	r.mu.Lock()
	refused := r.refuse
	r.mu.Unlock()
	if refused {
		return nil, errors.New("the relay refuses connections")
	}
	server, err := r.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	l := &link{relay: r, client: far, server: server, ops: map[int32]zkproto.Op{}}
	r.mu.Lock()
	r.links[l] = struct{}{}
	r.mu.Unlock()
	r.running.Go(l.requests)
	r.running.Go(l.replies)
	return near, nil
}

// link is one relayed connection. ops is guarded by the relay's mu.
type link struct {
	relay          *Relay
	client, server net.Conn
	ops            map[int32]zkproto.Op // by xid, of requests without a reply
}

func (l *link) cut() {
	l.client.Close()
	l.server.Close()
}

func (l *link) end() {
	l.cut()
	l.relay.mu.Lock()
	delete(l.relay.links, l)
	l.relay.mu.Unlock()
}

// requests passes on what the client sends. The first frame is the connect request,
// which has no header.
func (l *link) requests() {
	defer l.end()
	for first := true; ; first = false {
		frame, err := zkproto.ReadFrame(l.client, maxFrame, nil)
		if err != nil {
			return
		}
		if !first {
			h, _, err := zkproto.ParseRequest(frame)
			if err != nil || l.lose(h) {
				return
			}
		}
		if !forward(l.server, frame) {
			return
		}
	}
}

func (l *link) lose(h zkproto.RequestHeader) bool {
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	if h.XID >= 0 {
		l.ops[h.XID] = h.Op
	}
	return l.relay.loseRequest != nil && l.relay.loseRequest(h.Op)
}

// replies passes on what the server sends.
func (l *link) replies() {
	defer l.end()
	for first := true; ; first = false {
		frame, err := zkproto.ReadFrame(l.server, maxFrame, nil)
		if err != nil {
			return
		}
		if !first {
			h, _, err := zkproto.ParseReply(frame)
			if err != nil || l.loseAnswer(h) {
				return
			}
		}
		if !forward(l.client, frame) {
			return
		}
	}
}

func (l *link) loseAnswer(h zkproto.ReplyHeader) bool {
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	op, ok := l.ops[h.XID]
	delete(l.ops, h.XID)
	return ok && l.relay.loseReply != nil && l.relay.loseReply(op)
}

func forward(to net.Conn, frame []byte) bool {
	_, err := to.Write(append(zkproto.AppendInt(nil, int32(len(frame))), frame...))
	return err == nil
}

// IsWrite tells whether an operation changes something.
func IsWrite(op zkproto.Op) bool {
	switch op {
	case zkproto.OpCreate, zkproto.OpCreate2, zkproto.OpDelete, zkproto.OpSetData, zkproto.OpMulti, zkproto.OpSetACL:
		return true
	}
	return false
}

// Nth returns a rule that is true once, for the n-th write from 0, and a function
// that tells whether that came.
func Nth(n int) (rule func(zkproto.Op) bool, came func() bool) {
	var mu sync.Mutex
	seen := 0
	rule = func(op zkproto.Op) bool {
		if !IsWrite(op) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		seen++
		return seen == n+1
	}
	came = func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen > n
	}
	return rule, came
}
