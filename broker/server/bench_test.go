package server

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

// sink answers with four bytes, as a produce would.
func sink(_ context.Context, r *Request) error {
	p := r.NewReply()
	p.Buf = append(p.Buf, 0, 0, 0, 0)
	r.Send(p)
	return nil
}

// BenchmarkRequest is one request and its reply over loopback. The server's
// allocations must not grow with the request: TestAllocationsPerRequest holds
// that.
func BenchmarkRequest(b *testing.B) {
	for _, size := range []int{100, 16 << 10, 1 << 20} {
		b.Run(byteName(size), func(b *testing.B) {
			c, send := benchServer(b, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				send(c)
			}
		})
	}
}

func byteName(n int) string {
	switch {
	case n >= 1<<20:
		return "1MiB"
	case n >= 1<<10:
		return "16KiB"
	}
	return "100B"
}

func TestAllocationsPerRequest(t *testing.T) {
	for _, size := range []int{100, 16 << 10, 1 << 20} {
		c, send := benchServer(t, size)
		send(c)
		send(c)
		if n := testing.AllocsPerRun(200, func() { send(c) }); n > 2 && !raceEnabled {
			t.Errorf("a request of %d bytes costs %.1f allocations", size, n)
		}
	}
}

func benchServer(tb testing.TB, size int) (net.Conn, func(net.Conn)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	srv, err := New(Config{Log: slog.New(slog.DiscardHandler)},
		[]Route{{Key: protocol.Produce, Max: 8, Bulk: true, Handle: sink}}, []Listener{{Listener: l, Name: "PLAINTEXT"}})
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start(context.Background())
	tb.Cleanup(func() { srv.Stop(context.Background()) })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	request := frame(protocol.Produce, 3, 1, strings.Repeat("x", size))
	var reply [12]byte
	return c, func(c net.Conn) {
		if _, err := c.Write(request); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(c, reply[:]); err != nil {
			tb.Fatal(err)
		}
		if binary.BigEndian.Uint32(reply[:]) != 8 {
			tb.Fatalf("reply %x", reply)
		}
	}
}
