package harness

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// maxRelayed bounds, in bytes, a frame that a Relay passes on.
const maxRelayed = 100 << 20

// A Watcher is shown the frames of one connection, without their sizes, before
// they are passed on. Request and Reply are called by two goroutines. It may keep
// no frame.
type Watcher interface {
	Request(frame []byte) // of the client
	Reply(frame []byte)   // of the server
}

// Relay passes on what a server and its clients say, frame by frame: both Kafka's
// and ZooKeeper's are bytes behind a 4-byte size.
type Relay struct {
	Addr string // host:port where it listens

	server string
	watch  func() Watcher

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	ended   bool
	running sync.WaitGroup
}

// StartRelay relays to the server at an address, which need not listen yet. Each
// connection has a Watcher of its own. The relay ends with the test.
func StartRelay(t TB, server string, watch func() Watcher) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: l.Addr().String(), server: server, watch: watch, conns: map[net.Conn]struct{}{}}
	r.running.Go(func() { r.accept(l) })
	t.Cleanup(func() {
		l.Close()
		r.cut()
		r.running.Wait()
	})
	return r
}

func (r *Relay) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.server)
		if err != nil {
			client.Close()
			continue
		}
		if !r.add(client, server) {
			return
		}
		w := r.watch()
		r.running.Go(func() { r.pass(server, client, w.Request) })
		r.running.Go(func() { r.pass(client, server, w.Reply) })
	}
}

// add makes cut close the connections. It closes them itself if the relay has ended.
func (r *Relay) add(client, server net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[client], r.conns[server] = struct{}{}, struct{}{}
	if r.ended {
		client.Close()
		server.Close()
	}
	return !r.ended
}

func (r *Relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for c := range r.conns {
		c.Close()
	}
}

// pass passes frames on until one side ends, and then ends the other.
func (r *Relay) pass(to, from net.Conn, see func([]byte)) {
	defer to.Close()
	defer from.Close()
	for {
		frame, err := readFrame(from)
		if err != nil {
			return
		}
		see(frame[4:])
		if _, err := to.Write(frame); err != nil {
			return
		}
	}
}

// readFrame reads a frame with its size.
func readFrame(from io.Reader) ([]byte, error) {
	size := make([]byte, 4)
	if _, err := io.ReadFull(from, size); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size)
	if n > maxRelayed {
		return nil, fmt.Errorf("a frame of %d bytes, more than %d", n, maxRelayed)
	}
	frame := append(size, make([]byte, n)...)
	_, err := io.ReadFull(from, frame[4:])
	return frame, err
}
