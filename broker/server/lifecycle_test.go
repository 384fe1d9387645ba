package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
)

func TestDrainAnswersWhatWasRead(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		hold, slots := holdRoute()
		h := start(t, network, Config{}, Listener{}, hold, echoRoute())
		busy, idle := h.dial(), h.dial()
		write(t, idle, frame(protocol.Metadata, 1, 1, "x"))
		expect(t, idle, 1, "x")
		write(t, busy, frame(protocol.Produce, 3, 2, "y"))
		s := <-slots

		drained := make(chan error, 1)
		go func() { drained <- h.srv.Drain(t.Context()) }()
		expectClosed(t, idle)
		select {
		case err := <-drained:
			t.Fatalf("Drain returned %v with a reply outstanding", err)
		default:
		}
		s.Release()
		expect(t, busy, 2, "y")
		expectClosed(t, busy)
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	hold, slots := holdRoute()
	h := start(t, "tcp", Config{}, Listener{}, hold)
	c := h.dial()
	write(t, c, frame(protocol.Produce, 3, 2, "y"))
	s := <-slots
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.srv.Drain(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 connections") {
		t.Errorf("Drain returned %v", err)
	}
	h.stop() // gives the held reply up
	s.Release()
}

func TestInternalListenerOutlivesDrain(t *testing.T) {
	self, client := inproc.Listen("self"), inproc.Listen("client")
	srv, err := New(Config{}, []Route{echoRoute()}, []Listener{
		{Listener: self, Name: "PLAINTEXT", Internal: true}, {Listener: client, Name: "PLAINTEXT"}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start(t.Context())
	c, err := self.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, c, frame(protocol.Metadata, 1, 1, "x"))
	expect(t, c, 1, "x")
	if err := srv.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectClosed(t, c)
}

// Stop tells when a handler does not come back, and waits for it when it does.
func TestStopReportsLeaks(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := start(t, "tcp", Config{}, Listener{}, Route{Key: protocol.Fetch, Max: 4, Handle: func(ctx context.Context, r *Request) error {
		close(entered)
		<-ctx.Done() // the connection's end reaches the handler
		<-leave
		return ctx.Err()
	}})
	write(t, h.dial(), frame(protocol.Fetch, 4, 1, ""))
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.srv.Stop(ctx); err == nil || !strings.Contains(err.Error(), "still running") {
		t.Errorf("Stop returned %v with a handler at work", err)
	}
	close(leave)
	h.stop()
}

func TestNewRefuses(t *testing.T) {
	l := []Listener{{Listener: inproc.Listen("x"), Name: "X"}}
	for name, try := range map[string]func() (*Server, error){
		"two routes for a key": func() (*Server, error) { return New(Config{}, []Route{echoRoute(), echoRoute()}, l) },
		"no handler":           func() (*Server, error) { return New(Config{}, []Route{{Key: 1}}, l) },
		"empty range":          func() (*Server, error) { return New(Config{}, []Route{{Key: 1, Min: 2, Max: 1, Handle: echo}}, l) },
		"no listener":          func() (*Server, error) { return New(Config{}, []Route{echoRoute()}, nil) },
		"nameless listener":    func() (*Server, error) { return New(Config{}, []Route{echoRoute()}, []Listener{{Listener: l[0]}}) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// In a bubble the clock is the test's: idle connections and frames that come too
// slowly go, an active one and the broker's own stay.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, self := inproc.Listen("client"), inproc.Listen("self")
		bulk := Route{Key: protocol.Produce, Max: 8, Bulk: true, Handle: echo}
		srv, err := New(Config{MaxIdle: 10 * time.Minute}, []Route{echoRoute(), bulk}, []Listener{
			{Listener: client, Name: "PLAINTEXT"}, {Listener: self, Name: "PLAINTEXT", Internal: true}})
		if err != nil {
			t.Fatal(err)
		}
		srv.Start(t.Context())
		dial := func(l *inproc.Listener) net.Conn {
			c, err := l.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		call := func(c net.Conn) {
			go c.Write(frame(protocol.Metadata, 1, 1, "x"))
			expect(t, c, 1, "x")
		}
		active, idle, slow, own := dial(client), dial(client), dial(client), dial(self)
		call(idle)
		call(own)

		half := frame(protocol.Produce, 3, 1, strings.Repeat("x", 20<<10))
		go func() { // a byte each second: never idle
			for len(half) > 0 {
				n := min(len(half), 1)
				if _, err := slow.Write(half[:n]); err != nil {
					return
				}
				half = half[n:]
				time.Sleep(time.Second)
			}
		}()
		time.Sleep(time.Minute)
		call(active)
		if srv.budget.inUse() != 0 {
			t.Error("a frame that came too slowly still holds memory after a minute")
		}
		time.Sleep(9*time.Minute + 10*time.Second)
		expectClosed(t, idle)
		call(active)
		call(own)
		slow.SetReadDeadline(time.Time{})
		time.Sleep(3 * time.Hour)
		expectClosed(t, slow)
		call(own)
		if err := srv.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range []net.Conn{active, idle, slow, own} {
			c.Close()
		}
	})
}

// onRelease is an owner of a range.
type onRelease func()

func (f onRelease) Release() { f() }

// diskFile is an os.File as the log hands it out.
type diskFile struct{ *os.File }

func (f diskFile) OSFile() *os.File { return f.File }

func TestRepliesWithFileRanges(t *testing.T) {
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var memory io.ReaderAt = strings.NewReader(string(content))
	ranges := []struct{ off, n int }{{0, 10}, {5, sendfileThreshold - 1}, {100, sendfileThreshold}, {1000, 2 << 20}, {7, 300 << 10}, {3<<20 - 1, 1}}
	onBoth(t, func(t *testing.T, network string) {
		released := make(chan struct{}, 100)
		h := start(t, network, Config{}, Listener{}, Route{Key: protocol.Fetch, Max: 4, Handle: func(_ context.Context, r *Request) error {
			src := memory
			if string(r.Body) == "disk" {
				src = diskFile{f}
			}
			p := r.NewReply()
			for _, rg := range ranges {
				p.Buf = append(p.Buf, '<')
				if err := p.AppendRange(Range{File: src, Offset: int64(rg.off), Len: rg.n, Owner: onRelease(func() { released <- struct{}{} })}); err != nil {
					t.Error(err)
				}
				p.Buf = append(p.Buf, '>')
			}
			r.Send(p)
			return nil
		}})
		want := ""
		for _, rg := range ranges {
			want += "<" + string(content[rg.off:rg.off+rg.n]) + ">"
		}
		c := h.dial()
		for i, src := range []string{"disk", "memory"} {
			write(t, c, frame(protocol.Fetch, 4, int32(i), src))
			expect(t, c, int32(i), want)
			for range ranges {
				<-released
			}
		}
	})
}

// A file that has lost bytes ends the connection instead of shifting the stream.
func TestTruncatedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	onBoth(t, func(t *testing.T, network string) {
		h := start(t, network, Config{}, Listener{}, Route{Key: protocol.Fetch, Max: 4, Handle: func(_ context.Context, r *Request) error {
			p := r.NewReply()
			before := len(p.Buf)
			if err := p.AppendRange(Range{File: f, Offset: 100<<10 - 5, Len: 10}); err == nil || len(p.Buf) != before {
				t.Errorf("a short read gave error %v and %d bytes", err, len(p.Buf)-before)
			}
			if err := p.AppendRange(Range{File: diskFile{f}, Len: 101 << 10}); err != nil {
				t.Error(err)
			}
			r.Send(p)
			return nil
		}})
		c := h.dial()
		write(t, c, frame(protocol.Fetch, 4, 1, ""))
		c.SetReadDeadline(time.Now().Add(testWait))
		if _, err := protocol.ReadFrame(c, 1<<20, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read of the reply ended with %v", err)
		}
	})
}

func TestTruncateReply(t *testing.T) {
	p := newReply(new(bufferPool))
	p.Buf = append(p.Buf, "keep"...)
	mark := len(p.Buf)
	p.Buf = append(p.Buf, "drop"...)
	released := false
	if err := p.AppendRange(Range{File: strings.NewReader(""), Len: sendfileThreshold, Owner: onRelease(func() { released = true })}); err != nil {
		t.Fatal(err)
	}
	p.TruncateTo(mark)
	if !released || p.Size() != int64(mark) || string(p.Buf[4:]) != "keep" {
		t.Errorf("after the cut: released %v, size %d, %q", released, p.Size(), p.Buf[4:])
	}
}

// A client that does not read what it has asked for does not keep the broker from
// stopping cleanly.
func TestDrainDoesNotWaitForUnreadReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, "pipe", Config{}, Listener{}, echoRoute())
		c := h.dial()
		write(t, c, frame(protocol.Metadata, 1, 1, "never read"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), drainWrites+time.Second)
		defer cancel()
		if err := h.srv.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
}
