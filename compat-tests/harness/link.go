package harness

import (
	"encoding/binary"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
)

// Link is the way to one address of a server. It can be cut as a network is: nothing
// is refused, what is sent just does not arrive, until the link is whole again.
//
// A link to the listener that brokers use among themselves can also be cut for the
// connections of one of them, whom it knows by the client id of the first request.
type Link struct {
	Addr string // host:port where it listens

	server string

	mu      sync.Mutex
	changed sync.Cond // of what follows
	whole   bool
	without map[int]bool // brokers for whom it is cut
	ended   bool
	conns   map[net.Conn]struct{}

	running sync.WaitGroup
}

// StartLink makes a link to the server at an address, which need not listen yet. It
// ends with the test.
func StartLink(t TB, server string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{Addr: listener.Addr().String(), server: server, whole: true, without: map[int]bool{}, conns: map[net.Conn]struct{}{}}
	l.changed.L = &l.mu
	l.running.Go(func() { l.accept(listener) })
	t.Cleanup(func() {
		listener.Close()
		l.change(func() { l.ended = true })
		l.Reset()
		l.running.Wait()
	})
	return l
}

// Cut stops everything on its way.
func (l *Link) Cut() { l.change(func() { l.whole = false }) }

// CutFrom stops what comes from one broker, and the answers to it.
func (l *Link) CutFrom(broker int) { l.change(func() { l.without[broker] = true }) }

// Heal takes back Cut. Connections that neither side has given up go on.
func (l *Link) Heal() { l.change(func() { l.whole = true }) }

// HealFrom takes back CutFrom.
func (l *Link) HealFrom(broker int) { l.change(func() { delete(l.without, broker) }) }

// Reset closes the connections that there are.
func (l *Link) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

func (l *Link) change(what func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what()
	l.changed.Broadcast()
}

// nobody is who has not said yet that it is a broker.
const nobody = -1

// wait returns when what a broker, or somebody else, sends may pass. It reports false
// if the link has ended.
func (l *Link) wait(who int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for (!l.whole || l.without[who]) && !l.ended {
		l.changed.Wait()
	}
	return !l.ended
}

func (l *Link) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.serve(client) })
	}
}

// serve connects a client with the server, once the link is whole.
func (l *Link) serve(client net.Conn) {
	if !l.keep(client) {
		return
	}
	defer l.drop(client)
	first, who := readFirst(client)
	if len(first) == 0 || !l.wait(who) {
		return
	}
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		client.(*net.TCPConn).SetLinger(0) // as a machine without the server: no orderly end
		return
	}
	if !l.keep(server) {
		return
	}
	defer l.drop(server)
	if _, err := server.Write(first); err != nil {
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() { l.pass(client, server, who) })
	l.pass(server, client, who)
	answers.Wait()
}

// keep makes Reset close a connection. It closes it itself if the link has ended.
func (l *Link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) drop(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// pass passes bytes on until one side ends, and then ends the other.
func (l *Link) pass(to, from net.Conn, who int) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !l.wait(who) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			l.wait(who) // the end does not arrive either
			return
		}
	}
}

var firstNumber = regexp.MustCompile(`[0-9]+`)

// readFirst reads the beginning of a connection as far as it takes to know which
// broker it is of: the client id of Kafka's brokers is or has their number. A
// connection of something else than Kafka's protocol is nobody's.
func readFirst(c net.Conn) (read []byte, who int) {
	const clientID = 4 + 2 + 2 + 4 // size, key, version and correlation id come before
	head := make([]byte, clientID+2)
	n, err := io.ReadFull(c, head)
	if err != nil {
		return head[:n], nobody
	}
	length := int(int16(binary.BigEndian.Uint16(head[clientID:])))
	if length <= 0 || length > 100 || 4+int(binary.BigEndian.Uint32(head)) < len(head)+length {
		return head, nobody
	}
	id := make([]byte, length)
	n, err = io.ReadFull(c, id)
	read = append(head, id[:n]...)
	if err != nil {
		return read, nobody
	}
	number, err := strconv.Atoi(string(firstNumber.Find(id)))
	if err != nil {
		return read, nobody
	}
	return read, number
}
