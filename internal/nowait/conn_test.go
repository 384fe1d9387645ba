package nowait

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// connections returns both ends of a TCP connection, the first one wrapped.
func connections(t *testing.T) (wrapped *Conn, plain net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	plain, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plain.Close() })
	return Wrap(c).(*Conn), plain
}

func TestConn(t *testing.T) {
	c, plain := connections(t)
	ended := make(chan error, 1)
	go func() { // sends back what comes
		_, err := io.Copy(plain, plain)
		plain.(*net.TCPConn).CloseWrite()
		ended <- err
	}()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sizes := []int{1, 3, 100 << 10, 1, patience, patience + 1, 5, len(sent)}
	go func() {
		for _, size := range sizes {
			if n, err := c.Write(sent[:size]); n != size || err != nil {
				t.Errorf("write of %d: %d, %v", size, n, err)
			}
		}
		c.CloseWrite()
	}()
	for _, size := range sizes {
		got := make([]byte, size)
		n, err := c.ReadFull(got[:size-1])
		if n != size-1 || err != nil {
			t.Fatalf("of %d bytes: %d, %v", size, n, err)
		}
		// The last byte comes alone: whoever waits for it must be woken.
		if n, err := c.Read(got[size-1:]); n != 1 || err != nil {
			t.Fatalf("the last byte of %d: %d, %v", size, n, err)
		}
		if !bytes.Equal(got, sent[:size]) {
			t.Fatalf("other bytes than were sent, of %d", size)
		}
	}
	if n, err := c.ReadFull(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Who waits for much hears at once that the rest will not come.
func TestConnEndsEarly(t *testing.T) {
	for name, end := range map[string]struct {
		how  func(c *Conn, plain net.Conn)
		want error
	}{
		"by the other side": {func(_ *Conn, plain net.Conn) { plain.Close() }, io.ErrUnexpectedEOF},
		"by a deadline":     {func(c *Conn, _ net.Conn) { c.SetDeadline(time.Now().Add(-time.Second)) }, os.ErrDeadlineExceeded},
		"by this side":      {func(c *Conn, _ net.Conn) { c.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			c, plain := connections(t)
			if _, err := plain.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			type result struct {
				n   int
				err error
			}
			results := make(chan result)
			go func() {
				n, err := c.ReadFull(make([]byte, 1<<20))
				results <- result{n, err}
			}()
			end.how(c, plain)
			if r := <-results; !errors.Is(r.err, end.want) {
				t.Errorf("after %d bytes: %v, want %v", r.n, r.err, end.want)
			}
		})
	}
}

func TestWrapOthers(t *testing.T) {
	c, _ := net.Pipe()
	defer c.Close()
	if Wrap(c) != c {
		t.Error("a pipe is wrapped")
	}
}
