package zkserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// rawClient speaks frames: one request at a time or many, right or wrong.
type rawClient struct {
	nc      net.Conn
	in      *bufio.Reader
	xid     int32
	session zkproto.ConnectResponse
	lastOp  map[int32]zkproto.Op
}

func newRawClient(nc net.Conn) *rawClient {
	return &rawClient{nc: nc, in: bufio.NewReader(nc), lastOp: map[int32]zkproto.Op{}}
}

func rawDial(t testing.TB, addr string) *rawClient {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return newRawClient(nc)
}

// connect opens a session, or resumes one.
func (c *rawClient) connect(r zkproto.ConnectRequest) (zkproto.ConnectResponse, error) {
	if r.Password == nil {
		r.Password = make([]byte, 16)
	}
	if _, err := c.nc.Write(zkproto.AppendFrame(nil, &r)); err != nil {
		return zkproto.ConnectResponse{}, err
	}
	frame, err := zkproto.ReadFrame(c.in, 1<<20, nil)
	if err != nil {
		return zkproto.ConnectResponse{}, err
	}
	err = zkproto.Unmarshal(frame, &c.session)
	return c.session, err
}

// send sends a request and returns its xid.
func (c *rawClient) send(op zkproto.Op, body zkproto.Record) (int32, error) {
	var xid int32
	switch op {
	case zkproto.OpPing:
		xid = zkproto.XIDPing
	case zkproto.OpAuth:
		xid = zkproto.XIDAuth
	case zkproto.OpSetWatches, zkproto.OpSetWatches2:
		xid = zkproto.XIDSetWatches
	default:
		c.xid++
		xid = c.xid
	}
	c.lastOp[xid] = op
	_, err := c.nc.Write(zkproto.AppendRequest(nil, zkproto.RequestHeader{XID: xid, Op: op}, body))
	return xid, err
}

// message is a reply or an event.
type message struct {
	header zkproto.ReplyHeader
	op     zkproto.Op
	body   zkproto.Record // nil with an error
	event  *zkproto.WatcherEvent
}

func (c *rawClient) receive() (message, error) {
	frame, err := zkproto.ReadFrame(c.in, 64<<20, nil)
	if err != nil {
		return message{}, err
	}
	h, body, err := zkproto.ParseReply(frame)
	m := message{header: h}
	if err != nil {
		return m, err
	}
	if h.XID == zkproto.XIDWatch {
		m.event = &zkproto.WatcherEvent{}
		return m, zkproto.Unmarshal(body, m.event)
	}
	m.op = c.lastOp[h.XID]
	if h.Err != 0 {
		if len(body) != 0 {
			return m, fmt.Errorf("%d bytes behind error %v", len(body), h.Err)
		}
		return m, nil
	}
	if m.body = zkproto.NewResponse(m.op); m.body == nil {
		return m, nil
	}
	d := zkproto.NewDecoder(body)
	m.body.Decode(d)
	if d.Err() == nil && d.Len() != 0 {
		return m, fmt.Errorf("%d bytes left of the reply to %v", d.Len(), m.op)
	}
	return m, d.Err()
}

// do sends a request and returns its reply; events that come first are passed
// to onEvent, if it is not nil.
func (c *rawClient) do(op zkproto.Op, body zkproto.Record, onEvent func(message)) (message, error) {
	xid, err := c.send(op, body)
	if err != nil {
		return message{}, err
	}
	for {
		m, err := c.receive()
		if err != nil {
			return m, err
		}
		if m.event != nil {
			if onEvent != nil {
				onEvent(m)
			}
			continue
		}
		if m.header.XID != xid {
			return m, fmt.Errorf("reply to %d, want %d", m.header.XID, xid)
		}
		return m, m.header.Err.AsError()
	}
}

// mustDo fails the test if the request fails.
func (c *rawClient) mustDo(t testing.TB, op zkproto.Op, body zkproto.Record) message {
	t.Helper()
	m, err := c.do(op, body, nil)
	if err != nil {
		t.Fatalf("%v %+v: %v", op, body, err)
	}
	return m
}

// closed tells whether err means that the server hung up.
func closed(err error) bool {
	var timeout net.Error
	return err != nil && !errors.As(err, new(zkproto.Error)) && (!errors.As(err, &timeout) || !timeout.Timeout())
}

var openACL = zkproto.WorldACL(zkproto.PermAll)

func createRequest(path string, data []byte, mode zkproto.CreateMode) *zkproto.CreateRequest {
	return &zkproto.CreateRequest{Path: path, Data: data, ACL: openACL, Mode: mode}
}
