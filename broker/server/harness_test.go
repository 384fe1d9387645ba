package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testWait is a deadline for what must happen; nothing waits for it to pass.
const testWait = 10 * time.Second

// harness is a server with one client listener and the lines it logged.
type harness struct {
	t    *testing.T
	srv  *Server
	dial func() net.Conn
	logs *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a server on a loopback socket ("tcp") or on pipes ("pipe").
func start(t *testing.T, network string, cfg Config, listener Listener, routes ...Route) *harness {
	t.Helper()
	h := &harness{t: t, logs: &logBuffer{}}
	cfg.Log = slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	listener.Name = "PLAINTEXT"
	switch network {
	case "tcp":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener.Listener = l
		h.dial = func() net.Conn {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
	case "pipe":
		l := inproc.Listen("test")
		listener.Listener = l
		h.dial = func() net.Conn {
			c, err := l.Dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
	}
	srv, err := New(cfg, routes, []Listener{listener})
	if err != nil {
		t.Fatal(err)
	}
	h.srv = srv
	if err := srv.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *harness) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	if err := h.srv.Stop(ctx); err != nil {
		h.t.Error(err)
	}
}

// frame is a request of the given key and version: header with client id "c",
// then body.
func frame(key protocol.APIKey, version int16, correlation int32, body string) []byte {
	b := make([]byte, 4)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = binary.BigEndian.AppendUint16(b, 1)
	b = append(b, 'c')
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func write(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	c.SetWriteDeadline(time.Now().Add(testWait))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// read returns the next reply's correlation id and body.
func read(t *testing.T, c net.Conn) (int32, string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(testWait))
	b, err := protocol.ReadFrame(c, 200<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return int32(binary.BigEndian.Uint32(b)), string(b[4:])
}

func expect(t *testing.T, c net.Conn, correlation int32, body string) {
	t.Helper()
	if gotID, got := read(t, c); gotID != correlation || got != body {
		t.Fatalf("reply %d %.80q, want %d %.80q", gotID, got, correlation, body)
	}
}

// expectClosed fails unless the server closes the connection without a reply.
func expectClosed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(testWait))
	var b [1]byte
	n, err := c.Read(b[:])
	var timeout net.Error
	if n != 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("read %d bytes, error %v; want a closed connection", n, err)
	}
}

// expectOneLine fails unless exactly one line was logged and holds all words.
func (h *harness) expectOneLine(words ...string) {
	h.t.Helper()
	h.stop()
	got := h.logs.String()
	if strings.Count(got, "\n") != 1 {
		h.t.Fatalf("want one line in the log, have %q", got)
	}
	for _, w := range words {
		if !strings.Contains(got, w) {
			h.t.Fatalf("log %q does not say %q", got, w)
		}
	}
}

// echo answers with the body.
func echo(_ context.Context, r *Request) error {
	p := r.NewReply()
	p.Buf = append(p.Buf, r.Body...)
	r.Send(p)
	return nil
}

// The keys that tests use: low versions, so that headers have no tags.
func echoRoute() Route { return Route{Key: protocol.Metadata, Max: 4, Handle: echo} }

// holder is a Produce-like handler: it holds every reply and hands the slots to
// the test.
type holder struct {
	slots chan *Slot
}

func (h holder) handle(_ context.Context, r *Request) error {
	p := r.NewReply()
	p.Buf = append(p.Buf, r.Body...)
	h.slots <- r.Hold(p)
	return nil
}

func holdRoute() (Route, chan *Slot) {
	h := holder{slots: make(chan *Slot, 2000)}
	return Route{Key: protocol.Produce, Max: 8, Overlap: true, Bulk: true, Handle: h.handle}, h.slots
}

func onBoth(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "pipe"} {
		t.Run(network, func(t *testing.T) { f(t, network) })
	}
}
