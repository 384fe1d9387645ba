package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol"
)

// Peers that do not read their replies are closed, the oldest first, once the replies
// of all are too many, until half of them are gone; others are then answered.
func TestUnreadRepliesAreShed(t *testing.T) {
	large := Route{Key: protocol.Metadata, Max: 4, Handle: func(_ context.Context, r *Request) error {
		p := r.NewReply()
		p.Buf = append(p.Buf, make([]byte, 60<<10)...)
		r.Send(p)
		return nil
	}}
	synctest.Test(t, func(t *testing.T) {
		own := large
		own.Key, own.OwnReplies = protocol.ListOffsets, true
		h := start(t, "pipe", Config{UnsentBytes: 300 << 10}, Listener{}, large, own)
		expectReply := func(c net.Conn) {
			t.Helper()
			if _, body := read(t, c); len(body) != 60<<10 {
				t.Errorf("a reply of %d bytes", len(body))
			}
		}
		known := h.dial()
		write(t, known, frame(protocol.Metadata, 1, 1, ""))
		expectReply(known)
		var unread [3]net.Conn
		for i := range unread {
			unread[i] = h.dial()
			write(t, unread[i], frame(protocol.Metadata, 1, 1, ""))
			synctest.Wait()
			time.Sleep(time.Second)
		}
		begin := time.Now()
		write(t, known, frame(protocol.Metadata, 1, 1, ""))
		expectReply(known)
		if took := time.Since(begin); took > 0 {
			t.Errorf("a reply to one who has read one before after %v", took)
		}
		other := h.dial()
		write(t, other, frame(protocol.ListOffsets, 1, 1, ""))
		expectReply(other)
		if took := time.Since(begin); took > 0 {
			t.Errorf("a reply of another key after %v", took)
		}
		other = h.dial()
		write(t, other, frame(protocol.Metadata, 1, 1, "")) // has to wait
		expectReply(other)
		if took := time.Since(begin); took < stalledAfter || took > stalledAfter+2*unsentPoll {
			t.Errorf("a reply after %v", took)
		}
		expectClosed(t, unread[0])
		expectClosed(t, unread[1])
		expectReply(unread[2])
		synctest.Wait()
		if n := strings.Count(h.logs.String(), "replies are not read"); n != 2 {
			t.Errorf("%d lines:\n%s", n, h.logs)
		}
	})
}

// A slow peer is not one that does not read: its reply moves.
func TestSlowRepliesAreNotShed(t *testing.T) {
	const size = 16 << 20 // more than sockets hold
	large := Route{Key: protocol.Metadata, Max: 4, Handle: func(_ context.Context, r *Request) error {
		p := r.NewReply()
		p.Buf = append(p.Buf, make([]byte, size)...)
		r.Send(p)
		return nil
	}}
	h := start(t, "tcp", Config{UnsentBytes: 3 * size}, Listener{}, large)
	slow, stopped, other := h.dial(), h.dial(), h.dial()
	write(t, slow, frame(protocol.Metadata, 1, 1, ""))
	unsent := h.srv.routes.find(int16(protocol.Metadata)).unsent
	for unsent.number() < 1 {
		runtime.Gosched()
	}
	write(t, stopped, frame(protocol.Metadata, 1, 1, ""))
	for unsent.number() < 2 {
		runtime.Gosched()
	}
	write(t, other, frame(protocol.Metadata, 1, 1, "")) // has to wait
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		read(t, other)
	}()
	for got := 0; got < size; { // the oldest, but it reads
		select {
		case <-answered:
		case <-time.After(10 * time.Millisecond): // slow as it is
		}
		n, err := slow.Read(make([]byte, 128<<10))
		if got += n; err != nil {
			t.Fatalf("the slow one was closed after %d bytes: %v", got, err)
		}
	}
	<-answered
	if n, _ := io.Copy(io.Discard, stopped); n >= size {
		t.Error("the one that does not read was not closed")
	}
}

// number is how many connections have something on its way that counts.
func (u *unsent) number() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}

// A request that needs more memory than is free waits for those that have it, and
// is given up if they do not end.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{}, 1)
		h := start(t, "pipe", Config{WorkBytes: 100}, Listener{}, Route{Key: protocol.Metadata, Max: 4, Handle: func(ctx context.Context, r *Request) error {
			if err := r.Reserve(ctx, 60); err != nil {
				return err
			}
			<-gate
			return echo(ctx, r)
		}})
		defer close(gate)
		a, b := h.dial(), h.dial()
		write(t, a, frame(protocol.Metadata, 1, 1, "a"))
		synctest.Wait()
		write(t, b, frame(protocol.Metadata, 1, 2, "b"))
		time.Sleep(workWait / 2)
		gate <- struct{}{}
		expect(t, a, 1, "a")
		gate <- struct{}{} // for b, which has its turn now
		expect(t, b, 2, "b")
		write(t, a, frame(protocol.Metadata, 1, 3, "a"))
		synctest.Wait()
		write(t, b, frame(protocol.Metadata, 1, 4, "b"))
		time.Sleep(workWait + time.Second)
		gate <- struct{}{}
		expect(t, a, 3, "a")
		expectClosed(t, b)
		h.expectOneLine("no memory for the request")
		if used := h.srv.work.inUse(); used != 0 {
			t.Errorf("%d bytes are still reserved", used)
		}
	})
}

// Requests of a key that has slots take turns; those of other keys do not wait for
// them.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		gated := func(ctx context.Context, r *Request) error {
			<-gate
			return echo(ctx, r)
		}
		other := echoRoute()
		other.Key = protocol.ListOffsets
		h := start(t, "pipe", Config{}, Listener{}, Route{Key: protocol.Metadata, Max: 4, Slots: 2, Handle: gated}, other)
		a, b, c, d := h.dial(), h.dial(), h.dial(), h.dial()
		write(t, a, frame(protocol.Metadata, 1, 1, "a"))
		write(t, b, frame(protocol.Metadata, 1, 2, "b"))
		synctest.Wait()
		write(t, c, frame(protocol.Metadata, 1, 3, "c"))
		synctest.Wait()
		if n := len(h.srv.routes.find(int16(protocol.Metadata)).slots); n != 2 {
			t.Errorf("%d slots are taken", n)
		}
		select {
		case gate <- struct{}{}:
		default:
			t.Fatal("nobody is in the handler")
		}
		select {
		case gate <- struct{}{}:
		default:
			t.Fatal("one is in the handler")
		}
		select {
		case gate <- struct{}{}:
			t.Error("three were in the handler")
		default:
		}
		write(t, d, frame(protocol.ListOffsets, 1, 4, "d"))
		expect(t, d, 4, "d")
		expect(t, a, 1, "a")
		expect(t, b, 2, "b")
		close(gate)
		expect(t, c, 3, "c")
	})
}

// What may not wait is told so, at once; what waits has its bytes until it answers.
func TestMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		h := start(t, "pipe", Config{WorkBytes: 100}, Listener{}, Route{Key: protocol.Metadata, Max: 4, Handle: func(ctx context.Context, r *Request) error {
			if r.MayWait(60) {
				<-gate
				return echo(ctx, r)
			}
			return errors.New("may not wait")
		}})
		a, b := h.dial(), h.dial()
		write(t, a, frame(protocol.Metadata, 1, 1, "a"))
		synctest.Wait()
		write(t, b, frame(protocol.Metadata, 1, 2, "b"))
		expectClosed(t, b)
		close(gate)
		expect(t, a, 1, "a")
		write(t, a, frame(protocol.Metadata, 1, 3, "a"))
		expect(t, a, 3, "a")
	})
}

// Floods do not fill the log: the first are told of one by one, the rest by number.
func TestFloodOfClosedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, "pipe", Config{}, Listener{}, echoRoute())
		const all = 10 * loglimit.Lines
		for range all {
			c := h.dial()
			write(t, c, []byte{0xff, 0xff, 0xff, 0xff})
			expectClosed(t, c)
		}
		time.Sleep(sweepEvery)
		synctest.Wait()
		log := h.logs.String()
		if n := strings.Count(log, "request refused"); n != loglimit.Lines {
			t.Errorf("%d lines for %d connections", n, all)
		}
		if want := fmt.Sprintf("number=%d", all-loglimit.Lines); !strings.Contains(log, want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	})
}

// The same for those that are refused as soon as they come.
func TestFloodOfRefusedConnections(t *testing.T) {
	h := start(t, "tcp", Config{Limits: Limits{MaxPerIPOverrides: map[string]int{"127.0.0.1": 0}}}, Listener{}, echoRoute())
	for range 3 * loglimit.Lines {
		expectClosed(t, h.dial())
	}
	if n := strings.Count(h.logs.String(), "connection refused"); n != loglimit.Lines {
		t.Errorf("%d lines for %d connections", n, 3*loglimit.Lines)
	}
}
