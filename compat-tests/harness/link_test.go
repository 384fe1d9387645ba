package harness

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echoServer sends back what it gets.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// request is the beginning of a request of a client.
func request(clientID string) []byte {
	b := make([]byte, 12, 100)
	b = binary.BigEndian.AppendUint16(b, uint16(len(clientID)))
	b = append(b, clientID...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// caller asks an echo server and says whether there is an answer.
type caller struct {
	t    *testing.T
	conn net.Conn
	id   string
	owed int // bytes of answers that have not come yet
}

func call(t *testing.T, l *Link, id string) *caller {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &caller{t: t, conn: c, id: id}
}

func (c *caller) ask() {
	c.t.Helper()
	b := request(c.id)
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
	c.owed += len(b)
}

func (c *caller) answered() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c.conn, make([]byte, c.owed)); err != nil {
		c.t.Fatalf("%q has no answer: %v", c.id, err)
	}
	c.owed = 0
}

// notAnswered can only wait for a while.
func (c *caller) notAnswered() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("%q: read %d bytes, error %v, over a link that is cut", c.id, n, err)
	}
}

// A link that is cut says nothing, and what was sent meanwhile arrives when it is whole
// again, on old connections and new ones.
func TestLinkCut(t *testing.T) {
	l := StartLink(t, echoServer(t))
	old := call(t, l, "2")
	old.ask()
	old.answered()
	l.Cut()
	young := call(t, l, "2")
	old.ask()
	young.ask()
	old.notAnswered()
	young.notAnswered()
	l.Heal()
	old.answered()
	young.answered()
	l.Reset()
	if _, err := old.conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection lives on after a reset: %v", err)
	}
}

// A link may be cut for one broker only, which is known by its client id.
func TestLinkCutFromOneBroker(t *testing.T) {
	l := StartLink(t, echoServer(t))
	l.CutFrom(2)
	callers := map[string]*caller{}
	for _, id := range []string{"1", "2", "broker-2-fetcher-0", "somebody"} {
		callers[id] = call(t, l, id)
		callers[id].ask()
	}
	callers["1"].answered()
	callers["somebody"].answered()
	callers["2"].notAnswered()
	callers["broker-2-fetcher-0"].notAnswered()
	l.HealFrom(2)
	callers["2"].answered()
	callers["broker-2-fetcher-0"].answered()
}
