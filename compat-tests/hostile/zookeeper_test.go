package hostile

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// The embedded ZooKeeper, where it is open to tools, has no access control: who reaches
// it may write what it likes. But it cannot be filled with anything but nodes, and the
// broker keeps its session.
func TestZooKeeperPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	t.Setenv(zookeeperVariable, address)
	v := start(t, "gracchus.zookeeper.listen="+address)
	v.while("zookeeper's port")
	v.expectGrowth(manyClients)
	v.create("after")
	for _, bad := range []string{"panic", "level=ERROR", "session lost", "expired"} {
		if v.lines(bad) > 0 {
			t.Errorf("the log has %q:\n%s", bad, v.Tail(40))
		}
	}
	v.expectStop()
}

// zookeeperVariable tells the attacker where the port is.
const zookeeperVariable = "HOSTILE_ZOOKEEPER"

func zookeeperPort(v *target) func() {
	address := os.Getenv(zookeeperVariable)
	dial := func() net.Conn {
		c, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			v.t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		return c
	}
	// A session of the longest timeout.
	connect := append(make([]byte, 12), 0, 1, 0, 0)
	connect = append(connect, make([]byte, 8)...)
	connect = append(binary.BigEndian.AppendUint32(connect, 16), make([]byte, 16)...)
	connect = framed(connect)
	const exists, getChildren = 3, 8
	request := func(op uint32, path string, watch byte) []byte {
		b := binary.BigEndian.AppendUint32(make([]byte, 4), op)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(path))), path...)
		return framed(append(b, watch))
	}
	noise := rand.New(rand.NewPCG(1, 2))
	return func() {
		for range 500 { // random bytes, with and without a session
			c := dial()
			if noise.IntN(2) == 0 {
				c.Write(connect)
			}
			b := make([]byte, noise.IntN(200))
			for i := range b {
				b[i] = byte(noise.Uint32()) & byte(noise.Uint32()) & byte(noise.Uint32())
			}
			c.Write(b)
			c.Close()
		}
		for range 5000 { // sessions that nobody ends
			c := dial()
			c.Write(connect)
			receive(c)
			c.Close()
		}
		together := func(n int, attack func(c net.Conn, i int)) {
			var all sync.WaitGroup
			for i := range n {
				c := dial()
				all.Go(func() { attack(c, i) })
			}
			all.Wait()
		}
		together(100, func(c net.Conn, _ int) { // announced, and not sent
			c.Write(connect)
			receive(c)
			c.Write([]byte{0, 0x0f, 0xff, 0xff})
			c.Write(make([]byte, 1<<19))
		})
		question := request(getChildren, "/", 0)
		for len(question) < 1<<20 {
			question = append(question, question...)
		}
		together(50, func(c net.Conn, _ int) { // asked for, and not read
			c.Write(connect)
			c.SetWriteDeadline(time.Now().Add(time.Second))
			c.Write(question)
			c.Write(question)
		})
		together(50, func(c net.Conn, i int) { // watches on what there is not
			c.Write(connect)
			go io.Copy(io.Discard, c)
			path := make([]byte, 0, 1000)
			for n := range 200_000 {
				path = fmt.Appendf(path[:0], "/watched-%d-%d-%0100d", i, n, 0)
				if _, err := c.Write(request(exists, string(path), 1)); err != nil {
					return
				}
			}
		})
	}
}

// framed puts the size in front.
func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}
