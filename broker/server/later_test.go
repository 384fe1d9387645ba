package server

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

// waiter is a Fetch-like handler: it answers later, and hands what it needs for that to the
// test.
type waiter struct {
	laters chan *Later
	ends   atomic.Int32
}

func laterRoute() (Route, *waiter) {
	w := &waiter{laters: make(chan *Later, 100)}
	return Route{Key: protocol.Fetch, Max: 4, Handle: func(_ context.Context, r *Request) error {
		if !r.MayWait(len(r.Body)) {
			r.NoReply()
			return nil
		}
		r.ReleaseBody()
		w.laters <- r.Later(func() { w.ends.Add(1) })
		return nil
	}}, w
}

func answer(l *Later, body string) {
	p := l.NewReply()
	p.Buf = append(p.Buf, body...)
	l.Send(p)
}

func TestAnsweredLater(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		route, w := laterRoute()
		h := start(t, network, Config{WorkBytes: 10}, Listener{}, route, echoRoute())
		c := h.dial()
		for i := range int32(3) { // and what MayWait has allowed is given back
			write(t, c, frame(protocol.Fetch, 4, i, "8 bytes."))
			answer(<-w.laters, "now")
			expect(t, c, i, "now")
		}
		// Other requests wait for their turn.
		write(t, c, frame(protocol.Fetch, 4, 3, "8 bytes."))
		write(t, c, frame(protocol.Metadata, 1, 4, "next"))
		answer(<-w.laters, "now")
		expect(t, c, 3, "now")
		expect(t, c, 4, "next")
		if n := w.ends.Load(); n != 0 {
			t.Errorf("%d answers were asked for", n)
		}
	})
}

// Who answers does not wait for a client that does not read: the rest of the reply is sent
// when it does.
func TestSlowReaderIsAnsweredLater(t *testing.T) {
	route, w := laterRoute()
	h := start(t, "tcp", Config{}, Listener{}, route, echoRoute())
	c := h.dial()
	write(t, c, append(frame(protocol.Fetch, 4, 1, ""), frame(protocol.Metadata, 1, 2, "next")...))
	l := <-w.laters
	p := l.NewReply()
	body := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16) // more than the socket buffers take
	p.Buf = append(p.Buf, body...)
	l.Send(p)
	if _, got := read(t, c); got != string(body) {
		t.Errorf("%d bytes have come of %d, or others", len(got), len(body))
	}
	expect(t, c, 2, "next")
}

// What is no longer worth waiting for is asked for.
func TestLaterIsAskedFor(t *testing.T) {
	for name, end := range map[string]func(h *harness, c net.Conn){
		"the client closes":     func(_ *harness, c net.Conn) { c.Close() },
		"the broker drains":     func(h *harness, _ net.Conn) { go h.srv.Drain(context.Background()) },
		"the broker stops":      func(h *harness, _ net.Conn) { go h.srv.Stop(context.Background()) },
		"the client closes, in": func(_ *harness, c net.Conn) { c.(*net.TCPConn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			ended, laters := make(chan struct{}, 10), make(chan *Later, 1)
			h := start(t, "tcp", Config{}, Listener{}, Route{Key: protocol.Fetch, Max: 4, Handle: func(_ context.Context, r *Request) error {
				laters <- r.Later(func() { ended <- struct{}{} })
				return nil
			}})
			c := h.dial()
			write(t, c, frame(protocol.Fetch, 4, 1, ""))
			l := <-laters
			end(h, c)
			<-ended
			if l.Context().Err() != nil {
				l.Drop()
				return
			}
			answer(l, "in time")
			if name == "the client closes, in" || name == "the broker drains" {
				expect(t, c, 1, "in time")
				expectClosed(t, c)
			}
		})
	}
}

// One that comes when the broker drains already is asked for at once.
func TestLaterWhileDraining(t *testing.T) {
	gate, came := make(chan struct{}), make(chan struct{})
	h := start(t, "tcp", Config{}, Listener{}, Route{Key: protocol.Fetch, Max: 4, Handle: func(_ context.Context, r *Request) error {
		close(came)
		<-gate
		ended := false
		l := r.Later(func() { ended = true })
		if !ended {
			t.Error("nobody has asked for the answer")
		}
		answer(l, "bye")
		return nil
	}})
	c := h.dial()
	write(t, c, frame(protocol.Fetch, 4, 1, ""))
	<-came
	drained := make(chan error, 1)
	go func() { drained <- h.srv.Drain(t.Context()) }()
	<-h.srv.draining
	close(gate)
	expect(t, c, 1, "bye")
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A large frame behind an answer that is waited for holds no memory of others.
func TestLargeFrameWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route, w := laterRoute()
		echo := echoRoute()
		echo.Bulk = true
		const budget = 1 << 20
		h := start(t, "pipe", Config{InFlightBytes: budget}, Listener{}, route, echo)
		c := h.dial()
		large := strings.Repeat("x", budget/2)
		go func() {
			write(t, c, append(frame(protocol.Fetch, 4, 1, ""), frame(protocol.Metadata, 1, 2, large)...))
		}()
		l := <-w.laters
		synctest.Wait()
		if !h.srv.budget.tryAcquire(budget) {
			t.Error("it has memory of the budget already")
		}
		h.srv.budget.release(budget)
		answer(l, "now")
		expect(t, c, 1, "now")
		expect(t, c, 2, large)
	})
}

// A panic of who answers is an error of this connection only.
func TestPanicLater(t *testing.T) {
	route, w := laterRoute()
	h := start(t, "tcp", Config{}, Listener{}, route, echoRoute())
	c, other := h.dial(), h.dial()
	write(t, c, frame(protocol.Fetch, 4, 1, ""))
	(<-w.laters).Protect(func() { panic("no such luck") })()
	expectClosed(t, c)
	write(t, other, frame(protocol.Metadata, 1, 2, "still here"))
	expect(t, other, 2, "still here")
	h.expectOneLine("no such luck", "api=Fetch", "stack=")
}

// A quota holds a client back for an answer that came later, too.
func TestThrottleLater(t *testing.T) {
	var clients []string
	cfg := Config{Throttle: func(r *Request, n int64) time.Duration {
		clients = append(clients, r.Header.ClientID)
		return 40 * time.Millisecond
	}}
	route, w := laterRoute()
	h := start(t, "tcp", cfg, Listener{}, route)
	c := h.dial()
	begin := time.Now()
	write(t, c, append(frame(protocol.Fetch, 4, 1, ""), frame(protocol.Fetch, 4, 2, "")...))
	for i := range int32(2) {
		l := <-w.laters
		if i == 1 {
			if d := time.Since(begin); d < 40*time.Millisecond {
				t.Errorf("second request was handled %v after the first", d)
			}
		}
		p := l.NewReply()
		p.ThrottleAt = len(p.Buf)
		p.Buf = append(p.Buf, 0, 0, 0, 0)
		l.Send(p)
		expect(t, c, i+1, "\x00\x00\x00\x28")
	}
	h.stop()
	if len(clients) != 2 || clients[0] != "c" {
		t.Errorf("the quota was asked for %q", clients)
	}
}

// The server's end waits for those who work for an answer: what they read is still there.
func TestStopWaitsForAnswers(t *testing.T) {
	ended, laters := make(chan struct{}), make(chan *Later, 1)
	h := start(t, "tcp", Config{}, Listener{}, Route{Key: protocol.Fetch, Max: 4, Handle: func(_ context.Context, r *Request) error {
		laters <- r.Later(func() { close(ended) })
		return nil
	}})
	c := h.dial()
	write(t, c, frame(protocol.Fetch, 4, 1, ""))
	l := <-laters
	stopped := make(chan error, 1)
	go func() { stopped <- h.srv.Stop(context.Background()) }()
	<-ended
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := h.srv.Stop(ctx); err == nil { // what must not happen has no event to wait for
		t.Error("stopped with an answer under way")
	}
	l.Drop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// More tells of what was read with the request.
func TestMore(t *testing.T) {
	more := make(chan bool, 3)
	h := start(t, "tcp", Config{}, Listener{}, Route{Key: protocol.Metadata, Max: 4, Handle: func(ctx context.Context, r *Request) error {
		more <- r.More()
		return echo(ctx, r)
	}})
	c := h.dial()
	write(t, c, append(frame(protocol.Metadata, 1, 1, "a"), frame(protocol.Metadata, 1, 2, "b")...))
	expect(t, c, 1, "a")
	expect(t, c, 2, "b")
	write(t, c, frame(protocol.Metadata, 1, 3, strings.Repeat("c", 100<<10)))
	read(t, c)
	if a, b, large := <-more, <-more, <-more; !a || b || large {
		t.Errorf("more: %v, %v, and after a large frame %v", a, b, large)
	}
}
