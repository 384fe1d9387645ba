package differential

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A broker that is talked to.
type target struct {
	name string
	addr string
	zk   string // where its ZooKeeper answers
}

// A conversation is one case in one version with one broker: what is asked, and
// what comes back in a form that can be compared.
type conversation struct {
	t       *testing.T
	target  *target
	key     int16
	version int16
	prefix  string // of the names of this conversation's topics; not seen in what is compared
	conn    net.Conn
	correl  int32
	norm    *normaliser
	replies []any
}

const (
	// patience is how long an answer may take.
	patience = 20 * time.Second
	// silence is how long no answer counts as none.
	silence = 300 * time.Millisecond
)

func (c *conversation) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *conversation) dial() net.Conn {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.target.addr, patience)
		if err != nil {
			c.t.Fatalf("%s: %v", c.target.name, err)
		}
		c.conn = conn
	}
	return c.conn
}

// topic is a name that no other conversation uses.
func (c *conversation) topic(name string) string { return c.prefix + name }

// ask sends a request, of the key under test in the version under test, and
// puts the reply on record.
func (c *conversation) ask(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	if req.Key() == c.key {
		req.SetVersion(c.version)
	}
	return c.exchange(req, true)
}

// quietly sends a request that prepares the state and must get an answer, in
// the newest version of Kafka 3.9.
func (c *conversation) quietly(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	req.SetVersion(newest[req.Key()])
	resp := c.exchange(req, false)
	if resp == nil {
		c.t.Fatalf("%s: no answer to key %d", c.target.name, req.Key())
	}
	return resp
}

// newest versions of the requests that prepare a state.
var newest = map[int16]int16{0: 9, 1: 12, 2: 7, 3: 12, 8: 9, 9: 9, 10: 6, 11: 9, 12: 4, 13: 5, 14: 5, 15: 5, 16: 5, 18: 3, 19: 7, 20: 6, 21: 2, 22: 4,
	24: 3, 25: 3, 26: 3, 32: 4, 37: 3, 42: 2, 44: 1, 47: 0, 65: 0}

func (c *conversation) exchange(req kmsg.Request, record bool) kmsg.Response {
	c.t.Helper()
	if err := c.send(req); err != nil {
		return c.ended(err, record)
	}
	return c.receive(req, record)
}

func (c *conversation) send(req kmsg.Request) error {
	c.correl++
	header, body := encode(req, c.correl)
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(header)+len(body))), append(header, body...)...)
	conn := c.dial()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err := conn.Write(frame)
	return err
}

// receive reads the reply to a request that was sent.
func (c *conversation) receive(req kmsg.Request, record bool) kmsg.Response {
	c.t.Helper()
	body, err := c.frame()
	if err != nil {
		return c.ended(err, record)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.Key() != 18 && resp.IsFlexible() {
		if len(body) == 0 || body[0] != 0 {
			c.t.Fatalf("%s: a reply header with tags: %x", c.target.name, body[:min(len(body), 40)])
		}
		body = body[1:]
	}
	if resp.Key() == 18 && len(body) >= 2 && binary.BigEndian.Uint16(body) == 35 {
		resp.SetVersion(0) // what a broker answers to a version that it does not know
	}
	if err := resp.ReadFrom(body); err != nil {
		c.t.Errorf("%s: the reply to key %d version %d cannot be decoded: %v", c.target.name, req.Key(), req.GetVersion(), err)
		c.note(record, map[string]any{"undecodable": fmt.Sprintf("%x", body)})
		return nil
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		c.note(record, map[string]any{"surplus": len(body) - len(again)})
	}
	if record {
		c.note(true, c.norm.reply(resp))
	} else {
		c.norm.learn(resp)
	}
	return resp
}

// frame reads one reply and takes off size and correlation id.
func (c *conversation) frame() ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 4 || size > 64<<20 {
		c.t.Fatalf("%s: a reply of %d bytes", c.target.name, size)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != c.correl {
		c.t.Errorf("%s: correlation id %d instead of %d", c.target.name, got, c.correl)
	}
	body := make([]byte, size-4)
	_, err := io.ReadFull(c.conn, body)
	return body, err
}

func (c *conversation) ended(err error, record bool) kmsg.Response {
	c.close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.note(record, "no answer")
	} else {
		c.note(record, "connection closed")
	}
	return nil
}

func (c *conversation) note(record bool, what any) {
	if record {
		c.replies = append(c.replies, what)
	}
}

// raw sends bytes as they are, with a size in front, as if they were a request
// of the kind of req.
func (c *conversation) raw(req kmsg.Request, frame []byte) kmsg.Response {
	c.t.Helper()
	c.correl++
	return c.bytes(req, binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame)
}

func (c *conversation) bytes(req kmsg.Request, parts ...[]byte) kmsg.Response {
	c.t.Helper()
	conn := c.dial()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	for _, p := range parts {
		if _, err := conn.Write(p); err != nil {
			return c.ended(err, true)
		}
	}
	return c.receive(req, true)
}

// encode returns a request's header and body.
func encode(req kmsg.Request, correlation int32) (header, body []byte) {
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("differential")).AppendRequest(nil, req, correlation)[4:]
	body = req.AppendTo(nil)
	if req.Key() == 7 && req.GetVersion() == 0 {
		return frame, body // the request without client id, for which kmsg writes no body
	}
	header = frame[:len(frame)-len(body)]
	if req.Key() == 5 && req.GetVersion() == 4 {
		// Kafka has the byte of KIP-866 before the controller's epoch, kmsg behind it.
		body = slices.Concat(body[:4], body[8:9], body[4:8], body[9:])
	}
	return header, body
}

// unanswered sends a request to which no answer may come.
func (c *conversation) unanswered(req kmsg.Request) {
	c.t.Helper()
	req.SetVersion(c.version)
	c.correl++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("differential")).AppendRequest(nil, req, c.correl)
	conn := c.dial()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(frame); err != nil {
		c.ended(err, true)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(silence))
	var b [1]byte
	_, err := conn.Read(b[:])
	if err == nil {
		c.note(true, "an answer")
		c.close()
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.note(true, "no answer")
		return
	}
	c.ended(err, true)
}
