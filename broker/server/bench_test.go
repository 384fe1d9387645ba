package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/race"
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
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

// BenchmarkFetchSend is a reply of one file range over loopback, read into memory
// and sent by the kernel: where they cross is where sendfileThreshold belongs.
func BenchmarkFetchSend(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 20); err != nil {
		b.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("records "), 1<<17), 0); err != nil {
		b.Fatal(err)
	}
	for size := 1 << 10; size <= 1<<20; size *= 4 {
		send := map[string]func(*Reply) error{
			"copied": func(p *Reply) error {
				p.Grow(size)
				n := len(p.Buf)
				p.Buf = p.Buf[:n+size]
				_, err := f.ReadAt(p.Buf[n:], 0)
				return err
			},
			"sendfile": func(p *Reply) error {
				p.files = append(p.files, filePart{Range{File: diskFile{f}, Len: size}, len(p.Buf)})
				p.fileBytes += int64(size)
				return nil
			},
		}
		for _, way := range []string{"copied", "sendfile"} {
			b.Run(byteName(size)+"/"+way, func(b *testing.B) {
				fetch := func(_ context.Context, r *Request) error {
					p := r.NewReply()
					p.Buf = append(p.Buf, make([]byte, 60)...) // what a response has beside the records
					if err := send[way](p); err != nil {
						return err
					}
					r.Send(p)
					return nil
				}
				c := benchConn(b, Route{Key: protocol.Fetch, Max: 4, Handle: fetch})
				request, reply := frame(protocol.Fetch, 4, 1, ""), make([]byte, 8+60+size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					ask(b, c, request, reply)
				}
			})
		}
	}
}

func TestAllocationsPerRequest(t *testing.T) {
	race.Skip(t, "the race detector allocates")
	for _, size := range []int{100, 16 << 10, 1 << 20} {
		c, send := benchServer(t, size)
		send(c)
		send(c)
		if n := testing.AllocsPerRun(200, func() { send(c) }); n > 2 {
			t.Errorf("a request of %d bytes costs %.1f allocations", size, n)
		}
	}
}

func benchServer(tb testing.TB, size int) (net.Conn, func(net.Conn)) {
	c := benchConn(tb, Route{Key: protocol.Produce, Max: 8, Bulk: true, Handle: sink})
	request := frame(protocol.Produce, 3, 1, strings.Repeat("x", size))
	var reply [12]byte
	return c, func(c net.Conn) { ask(tb, c, request, reply[:]) }
}

// benchConn starts a server with one route and connects to it.
func benchConn(tb testing.TB, route Route) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	srv, err := New(Config{Log: slog.New(slog.DiscardHandler)}, []Route{route}, []Listener{{Listener: l, Name: "PLAINTEXT"}})
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
	return c
}

// ask sends a request and reads a reply of a known size.
func ask(tb testing.TB, c net.Conn, request, reply []byte) {
	if _, err := c.Write(request); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(c, reply); err != nil {
		tb.Fatal(err)
	}
	if int(binary.BigEndian.Uint32(reply)) != len(reply)-4 {
		tb.Fatalf("reply of %d bytes", binary.BigEndian.Uint32(reply))
	}
}
