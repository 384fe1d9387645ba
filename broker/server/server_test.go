package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
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

func TestEcho(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		h := start(t, network, Config{}, Listener{}, echoRoute())
		c := h.dial()
		sizes := []int{0, 1, 100, chunkSize - 20, chunkSize - 19, chunkSize - 11, chunkSize - 10, chunkSize, 2 * chunkSize, firstBody, 200 << 10, 1<<20 - 100, 3, 0}
		for i, n := range sizes {
			body := strings.Repeat(string(rune('a'+i)), n)
			go c.Write(frame(protocol.Metadata, 1, int32(i), body))
			expect(t, c, int32(i), body)
		}
		if used := h.srv.budget.inUse(); used != 0 {
			t.Errorf("%d bytes of the budget are still in use", used)
		}
	})
}

// Many frames in one write, cut anywhere, are the same frames.
func TestPipelinedInPieces(t *testing.T) {
	h := start(t, "tcp", Config{}, Listener{}, echoRoute())
	c := h.dial()
	var all []byte
	for i := range 400 {
		all = append(all, frame(protocol.Metadata, 1, int32(i), strings.Repeat("x", i*7%300))...)
	}
	go func() {
		for i := 0; len(all) > 0; i++ {
			n := min(len(all), 1+i*37%1000)
			c.Write(all[:n])
			all = all[n:]
		}
	}()
	for i := range 400 {
		expect(t, c, int32(i), strings.Repeat("x", i*7%300))
	}
}

func TestRepliesKeepTheOrderOfRequests(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		hold, slots := holdRoute()
		h := start(t, network, Config{}, Listener{}, hold, echoRoute())
		c := h.dial()
		const n = 100
		go func() {
			for i := range n {
				c.Write(frame(protocol.Produce, 3, int32(i), "p"))
			}
			c.Write(frame(protocol.Metadata, 1, n, "after"))
		}()
		// All of them are handled although none is answered: Produce passes Produce.
		var held []*Slot
		for range n {
			held = append(held, <-slots)
		}
		var wg sync.WaitGroup
		for i := range held { // released backwards, by many goroutines
			wg.Go(held[len(held)-1-i].Release)
		}
		for i := range n {
			expect(t, c, int32(i), "p")
		}
		expect(t, c, n, "after")
		wg.Wait()
	})
}

// Any other request is handled only when all held replies are written.
func TestOtherKeysWaitForHeldReplies(t *testing.T) {
	hold, slots := holdRoute()
	var handled = make(chan struct{}, 1)
	other := Route{Key: protocol.Metadata, Max: 4, Handle: func(ctx context.Context, r *Request) error {
		handled <- struct{}{}
		return echo(ctx, r)
	}}
	h := start(t, "tcp", Config{}, Listener{}, hold, other)
	c, probe := h.dial(), h.dial()
	write(t, c, append(frame(protocol.Produce, 3, 1, "a"), frame(protocol.Metadata, 1, 2, "b")...))
	s := <-slots
	// A whole request on another connection gives the first one time to err.
	write(t, probe, frame(protocol.Metadata, 1, 3, "probe"))
	<-handled
	expect(t, probe, 3, "probe")
	select {
	case <-handled:
		t.Fatal("Metadata was handled while a Produce waited")
	default:
	}
	s.Release()
	expect(t, c, 1, "a")
	expect(t, c, 2, "b")
}

func TestViolationsCloseTheConnection(t *testing.T) {
	size := func(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	tests := []struct {
		name  string
		send  []byte
		words []string
	}{
		{"unknown key", frame(99, 0, 1, ""), []string{"malformed"}},
		{"key that is not served", frame(protocol.Heartbeat, 0, 1, ""), []string{"Heartbeat", "not served"}},
		{"version above", frame(protocol.Metadata, 5, 1, ""), []string{"version 5", "0 to 4"}},
		{"negative version", frame(protocol.Metadata, -1, 1, ""), []string{"version -1"}},
		{"negative size", size(-1), []string{"-1 bytes"}},
		{"size too small", size(7), []string{"7 bytes"}},
		{"above the client limit", append(size(1<<20+1), 0, 3, 0, 1, 0, 0, 0, 1), []string{"over the limit"}},
		{"bulk above its limit", append(size(100<<20+1), 0, 0, 0, 3, 0, 0, 0, 1), []string{"over the limit"}},
		{"client id beyond the frame", []byte{0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff}, []string{"client id"}},
		{"for brokers only", frame(protocol.LeaderAndIsr, 0, 1, ""), []string{"for brokers"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hold, _ := holdRoute()
			h := start(t, "tcp", Config{}, Listener{}, hold, echoRoute(),
				Route{Key: protocol.LeaderAndIsr, InterBroker: true, Max: 7, Handle: echo})
			c := h.dial()
			write(t, c, tt.send)
			expectClosed(t, c)
			words := tt.words
			if tt.name == "unknown key" {
				words = []string{"key 99"}
			}
			h.expectOneLine(words...)
		})
	}
}

func TestInterBrokerListener(t *testing.T) {
	h := start(t, "tcp", Config{MaxClientFrameBytes: 1000}, Listener{InterBroker: true},
		Route{Key: protocol.LeaderAndIsr, InterBroker: true, Max: 3, Handle: echo})
	c := h.dial()
	big := strings.Repeat("x", 100<<10)
	go c.Write(frame(protocol.LeaderAndIsr, 0, 1, big))
	expect(t, c, 1, big)
}

func TestPanicClosesOnlyItsConnection(t *testing.T) {
	h := start(t, "tcp", Config{}, Listener{}, echoRoute(),
		Route{Key: protocol.Fetch, Max: 4, Handle: func(context.Context, *Request) error { panic("no such luck") }})
	c, other := h.dial(), h.dial()
	write(t, c, frame(protocol.Fetch, 4, 1, ""))
	expectClosed(t, c)
	write(t, other, frame(protocol.Metadata, 1, 2, "still here"))
	expect(t, other, 2, "still here")
	h.expectOneLine("no such luck", "api=Fetch", "stack=")
}

func TestHandlerError(t *testing.T) {
	h := start(t, "tcp", Config{}, Listener{},
		Route{Key: protocol.Produce, Max: 4, Handle: func(context.Context, *Request) error { return errors.New("acks=0 failed") }})
	c := h.dial()
	write(t, c, frame(protocol.Produce, 3, 1, ""))
	expectClosed(t, c)
	h.expectOneLine("acks=0 failed")
}

func TestHandlerWithoutAnswer(t *testing.T) {
	h := start(t, "tcp", Config{}, Listener{},
		Route{Key: protocol.Produce, Max: 4, Handle: func(context.Context, *Request) error { return nil }})
	c := h.dial()
	write(t, c, frame(protocol.Produce, 3, 1, ""))
	expectClosed(t, c)
	h.expectOneLine("without an answer")
}

func TestNoReply(t *testing.T) {
	h := start(t, "tcp", Config{}, Listener{}, echoRoute(),
		Route{Key: protocol.Produce, Max: 4, Handle: func(_ context.Context, r *Request) error { r.NoReply(); return nil }})
	c := h.dial()
	write(t, c, append(frame(protocol.Produce, 3, 1, "silent"), frame(protocol.Metadata, 1, 2, "next")...))
	expect(t, c, 2, "next")
}

// A client that sends and never reads stops at the connection's limit.
func TestSlowReaderIsHeldBack(t *testing.T) {
	hold, slots := holdRoute()
	h := start(t, "tcp", Config{ConnectionInFlightBytes: 100 << 10}, Listener{}, hold)
	c := h.dial()
	body := strings.Repeat("x", 10<<10)
	wrote := make(chan error, 1)
	go func() {
		var err error
		for i := range 2000 { // 20 MB, more than the socket buffers take
			if _, err = c.Write(frame(protocol.Produce, 3, int32(i), body)); err != nil {
				break
			}
		}
		wrote <- err
	}()
	held := []*Slot{}
	for range 10 {
		held = append(held, <-slots)
	}
	select {
	case <-slots:
		t.Fatal("an eleventh request was handled with 100 KiB outstanding")
	case <-time.After(50 * time.Millisecond): // what must not happen has no event to wait for
	}
	for _, s := range held {
		s.Release()
	}
	for i := range 10 {
		expect(t, c, int32(i), body)
	}
	(<-slots).Release()
	expect(t, c, 10, body)
	c.Close()
	if err := <-wrote; err == nil {
		t.Error("20 MB were taken from a client that had 100 KiB outstanding")
	}
	h.stop()
	for { // slots of a closed connection can be released, to no effect
		select {
		case s := <-slots:
			s.Release()
			continue
		default:
		}
		break
	}
}

// Frames of all connections share one budget; a frame waits for its turn.
func TestBudgetIsShared(t *testing.T) {
	gate := make(chan struct{})
	entered := make(chan struct{}, 10)
	h := start(t, "tcp", Config{InFlightBytes: 100 << 10}, Listener{},
		Route{Key: protocol.Produce, Max: 4, Bulk: true, Handle: func(ctx context.Context, r *Request) error {
			entered <- struct{}{}
			<-gate
			return echo(ctx, r)
		}})
	a, b := h.dial(), h.dial()
	body := strings.Repeat("x", 80<<10)
	write(t, a, frame(protocol.Produce, 3, 1, body))
	<-entered
	write(t, b, frame(protocol.Produce, 3, 2, body))
	select {
	case <-entered:
		t.Fatal("160 KiB were held with a budget of 100")
	case <-time.After(50 * time.Millisecond):
	}
	close(gate)
	expect(t, a, 1, body)
	expect(t, b, 2, body)
}

// A connection that announces much and sends little holds little.
func TestAnnouncedBytesAreNotBelieved(t *testing.T) {
	hold, _ := holdRoute()
	h := start(t, "tcp", Config{}, Listener{}, hold, echoRoute())
	for range 50 {
		c := h.dial()
		b := frame(protocol.Produce, 3, 1, strings.Repeat("x", 10<<10))
		binary.BigEndian.PutUint32(b, 100<<20)
		write(t, c, b)
	}
	probe := h.dial()
	write(t, probe, frame(protocol.Metadata, 1, 1, "alive"))
	expect(t, probe, 1, "alive")
	if used := h.srv.budget.inUse(); used > 50*firstBody {
		t.Errorf("50 connections that announced 100 MiB each hold %d bytes", used)
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Run("per address", func(t *testing.T) {
		h := start(t, "tcp", Config{Limits: Limits{MaxPerIP: 2}}, Listener{}, echoRoute())
		a, b := h.dial(), h.dial()
		for _, c := range []net.Conn{a, b} {
			write(t, c, frame(protocol.Metadata, 1, 1, "x"))
			expect(t, c, 1, "x")
		}
		expectClosed(t, h.dial())
		h.expectOneLine("too many connections", "127.0.0.1")
	})
	t.Run("override", func(t *testing.T) {
		h := start(t, "tcp", Config{Limits: Limits{MaxPerIPOverrides: map[string]int{"127.0.0.1": 0}}}, Listener{}, echoRoute())
		expectClosed(t, h.dial())
	})
	t.Run("all", func(t *testing.T) {
		h := start(t, "tcp", Config{Limits: Limits{MaxConnections: 1}}, Listener{}, echoRoute())
		a := h.dial()
		write(t, a, frame(protocol.Metadata, 1, 1, "x"))
		expect(t, a, 1, "x")
		b := h.dial() // waits in the kernel's queue
		write(t, b, frame(protocol.Metadata, 1, 2, "y"))
		b.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := b.Read(make([]byte, 1)); n != 0 || err == io.EOF {
			t.Fatalf("second of one allowed connections: %d bytes, %v", n, err)
		}
		a.Close()
		expect(t, b, 2, "y")
	})
	t.Run("broker evicts client", func(t *testing.T) {
		client, broker := inproc.Listen("client"), inproc.Listen("broker")
		srv, err := New(Config{Limits: Limits{MaxConnections: 1}}, []Route{echoRoute()}, []Listener{
			{Listener: client, Name: "CLIENT"}, {Listener: broker, Name: "BROKER", InterBroker: true}})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start(t.Context())
		defer srv.Stop(context.Background())
		a, err := client.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		write(t, a, frame(protocol.Metadata, 1, 1, "x"))
		expect(t, a, 1, "x")
		b, err := broker.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		write(t, b, frame(protocol.Metadata, 1, 2, "y"))
		expect(t, b, 2, "y")
		expectClosed(t, a)
		a.Close()
		b.Close()
	})
}

func TestThrottleHoldsTheNextRequest(t *testing.T) {
	var sizes []int64
	cfg := Config{Throttle: func(r *Request, n int64) time.Duration {
		sizes = append(sizes, n)
		return 40 * time.Millisecond
	}}
	h := start(t, "tcp", cfg, Listener{}, Route{Key: protocol.Metadata, Max: 4, Handle: func(_ context.Context, r *Request) error {
		p := r.NewReply()
		p.ThrottleAt = len(p.Buf)
		p.Buf = append(p.Buf, 0, 0, 0, 0)
		r.Send(p)
		return nil
	}})
	c := h.dial()
	begin := time.Now()
	write(t, c, append(frame(protocol.Metadata, 1, 1, ""), frame(protocol.Metadata, 1, 2, "")...))
	expect(t, c, 1, "\x00\x00\x00\x28")
	expect(t, c, 2, "\x00\x00\x00\x28")
	if d := time.Since(begin); d < 40*time.Millisecond {
		t.Errorf("second request was answered %v after the first", d)
	}
	h.stop()
	if len(sizes) != 2 || sizes[0] != 12 {
		t.Errorf("quota saw replies of %v bytes", sizes)
	}
}
