package server

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
)

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
	if used := h.srv.budget.inUse(); used > 50*(32<<10) { // three times what each has sent, however much was announced
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
		// Brokers use the only listener, too, and have no privilege on it.
		h := start(t, "tcp", Config{Limits: Limits{MaxConnections: 1}}, Listener{InterBroker: true}, echoRoute())
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

// A frame may be larger than the budget of all: it then has to have it for
// itself, but not to wait for what it holds.
func TestFrameLargerThanTheBudget(t *testing.T) {
	echo := echoRoute()
	echo.Key, echo.Bulk = protocol.Produce, true
	h := start(t, "tcp", Config{InFlightBytes: 100 << 10}, Listener{}, echo)
	c := h.dial()
	body := strings.Repeat("x", 300<<10)
	for i := range int32(2) {
		write(t, c, frame(protocol.Produce, 3, i, body))
		expect(t, c, i, body)
	}
	if used := h.srv.budget.inUse(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
}
