package server

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gracchus-mq/gracchus/protocol"
)

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
		{"above every limit, before there is a key", size(1<<31 - 1), []string{"over the limit"}},
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

// A request that is refused ends the connection, but not before the requests in
// front of it have their replies.
func TestRefusalWaitsForItsTurn(t *testing.T) {
	fails := func(context.Context, *Request) error { return errors.New("cannot be decoded") }
	tests := map[string][]byte{
		"key that is not served":  frame(protocol.Heartbeat, 0, 2, ""),
		"size too small":          {0, 0, 0, 7},
		"handler error":           frame(protocol.Metadata, 1, 2, ""),
		"handler error, same key": frame(protocol.Produce, 3, 2, "fail"),
	}
	for name, refused := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hold, slots := holdRoute()
				holds := hold.Handle
				hold.Handle = func(ctx context.Context, r *Request) error {
					if string(r.Body) == "fail" {
						return fails(ctx, r)
					}
					return holds(ctx, r)
				}
				h := start(t, "pipe", Config{}, Listener{}, hold, Route{Key: protocol.Metadata, Max: 4, Handle: fails})
				c := h.dial()
				write(t, c, append(frame(protocol.Produce, 3, 1, "a"), refused...))
				s := <-slots
				synctest.Wait() // the reader comes to what it refuses
				s.Release()
				expect(t, c, 1, "a")
				expectClosed(t, c)
			})
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
