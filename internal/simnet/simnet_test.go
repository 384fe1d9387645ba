package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a connection from machine a to machine b.
type pair struct {
	n        *Network
	a, b     *Process
	near, to net.Conn
}

func connect(t *testing.T, seed uint64) *pair {
	t.Helper()
	n := New(seed)
	p := &pair{n: n, a: n.Process("a"), b: n.Process("b")}
	l, err := p.b.Listen("b:1")
	if err != nil {
		t.Fatal(err)
	}
	if p.near, err = p.a.Dial(t.Context(), "b:1"); err != nil {
		t.Fatal(err)
	}
	if p.to, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) write(t *testing.T, b []byte) {
	t.Helper()
	if _, err := p.near.Write(b); err != nil {
		t.Fatal(err)
	}
}

func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestMessagesTakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, 1)
		p.n.SetWeather("a", "b", Weather{Delay: time.Second, Jitter: time.Second})
		began := time.Now()
		var want []byte
		for i := range byte(100) {
			p.write(t, []byte{i, i})
			want = append(want, i, i)
		}
		p.near.Close()
		got, err := io.ReadAll(p.to)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%x (%v)", got, err)
		}
		if took := time.Since(began); took < time.Second || took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := p.to.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a connection that the other end has closed: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, 1)
		p.to.SetReadDeadline(time.Now().Add(time.Minute))
		time.AfterFunc(time.Second, func() { p.to.SetReadDeadline(time.Now().Add(time.Second)) })
		began := time.Now()
		if _, err := p.to.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What is on its way when a link is cut comes when it is mended; the other direction works.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, 1)
		p.n.Cut("a", "b")
		p.write(t, []byte("late"))
		p.to.Write([]byte("now"))
		b := make([]byte, 10)
		if n, err := p.near.Read(b); string(b[:n]) != "now" {
			t.Errorf("%q (%v)", b[:n], err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, from := range []*Process{p.a, p.b} {
			from.Listen("x:" + from.machine)
			to := map[*Process]string{p.a: "b:1", p.b: "x:a"}[from]
			if _, err := from.Dial(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dial %s: %v", to, err)
			}
		}
		time.AfterFunc(time.Minute, func() { p.n.Mend("a", "b") })
		began := time.Now()
		if n, err := p.to.Read(b); string(b[:n]) != "late" || time.Since(began) < time.Minute {
			t.Errorf("%q (%v) after %v", b[:n], err, time.Since(began))
		}
	})
}

// A connection that tears brings a prefix of what was sent, any, and then an error at
// both ends.
func TestTear(t *testing.T) {
	tear := map[string]func(p *pair){
		"by hand": func(p *pair) { p.near.Write(make([]byte, 100)); p.n.Tear("a", "b") },
		"by weather": func(p *pair) {
			p.n.SetWeather("a", "b", Weather{Tears: 1})
			p.near.Write(make([]byte, 100))
		},
	}
	for name, how := range tear {
		inBubble(t, name, func(t *testing.T) {
			lengths := map[int]bool{}
			for seed := range uint64(50) {
				p := connect(t, seed)
				how(p)
				got, err := io.ReadAll(p.to)
				if !errors.Is(err, syscall.ECONNRESET) || len(got) > 100 {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if _, err := io.ReadAll(p.near); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the other end: %v", err)
				}
				lengths[len(got)] = true
			}
			if len(lengths) < 20 {
				t.Errorf("only %d different lengths", len(lengths))
			}
		})
	}
}

// A killed process reaches nobody any more. What it had sent arrives, and then the end.
func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, 1)
		p.write(t, []byte("before"))
		p.a.Kill()
		if _, err := p.near.Write([]byte("after")); err == nil {
			t.Error("a dead process writes")
		}
		if _, err := p.a.Dial(t.Context(), "b:1"); err == nil {
			t.Error("a dead process dials")
		}
		if _, err := p.a.Listen("a:1"); err == nil {
			t.Error("a dead process listens")
		}
		got, err := io.ReadAll(p.to)
		if string(got) != "before" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q, %v", got, err)
		}
		p.b.Kill()
		if _, err := p.n.Process("a").Dial(t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial a dead process: %v", err)
		}
	})
}

// Of a loss of power nobody is told, until the machine is on again and asked.
func TestPowerOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, 1)
		p.b.PowerOff()
		p.near.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := p.near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read from a machine without power: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := p.a.Dial(ctx, "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial a machine without power: %v", err)
		}
		p.n.Process("b")
		p.near.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := p.near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nothing was asked: %v", err)
		}
		p.near.SetReadDeadline(time.Time{})
		p.write(t, []byte("hello?"))
		if _, err := p.near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the machine knows nothing of the connection: %v", err)
		}
	})
}

// The same seed does the same to the same connection.
func TestSeedDecides(t *testing.T) {
	arrivals := func(seed uint64) (at []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, seed)
			began := time.Now()
			for range 10 {
				p.write(t, []byte{1})
				p.to.Read(make([]byte, 1))
				at = append(at, time.Since(began))
			}
		})
		return at
	}
	if a, b := arrivals(1), arrivals(1); !slices.Equal(a, b) {
		t.Errorf("%v and %v", a, b)
	}
	if a, b := arrivals(1), arrivals(2); slices.Equal(a, b) {
		t.Errorf("two seeds, and both times %v", a)
	}
}
