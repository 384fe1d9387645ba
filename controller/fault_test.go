package controller

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// fault strikes the connection of broker 1 to ZooKeeper at one of the writes that go
// over it. From then on nothing passes in either direction, as if the process had
// stopped there; a second later strike is called, which decides how it goes on.
type fault struct {
	mu        sync.Mutex
	left      int  // writes that still pass
	delivered bool // the write that it strikes at is done, and its reply is lost
	struck    bool
	then      func()
}

// pass says what becomes of a request: whether it goes on to ZooKeeper, and whether the
// connection is dead from then on.
func (f *fault) pass(op uint32) (forward, dead bool) {
	if f == nil {
		return true, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.struck {
		return true, false // it strikes once
	}
	switch op {
	case 1, 2, 5, 14: // create, delete, setData, multi
	default:
		return true, false
	}
	if f.left--; f.left > 0 {
		return true, false
	}
	f.struck = true
	time.AfterFunc(time.Second, f.then)
	return f.delivered, true
}

// faultyConn takes the requests to ZooKeeper apart and has the lab's fault look at
// each.
type faultyConn struct {
	net.Conn
	current func() *fault

	mu        sync.Mutex
	connected bool // the first frame, which opens the session, has passed
	rest      []byte
	dead      bool
}

func (c *faultyConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, b...)
	for !c.dead && len(c.rest) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(c.rest))
		if len(c.rest) < size {
			break
		}
		frame := c.rest[:size]
		c.rest = c.rest[size:]
		forward := true
		if c.connected {
			forward, c.dead = c.current().pass(binary.BigEndian.Uint32(frame[8:]))
		}
		c.connected = true
		if forward {
			if _, err := c.Conn.Write(frame); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

func (c *faultyConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.mu.Lock()
		dead := c.dead
		c.mu.Unlock()
		if err != nil || !dead {
			return n, err
		}
	}
}
