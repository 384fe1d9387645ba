package server

import (
	"context"

	"github.com/gracchus-mq/gracchus/protocol"
)

// A broker that starts must be reachable for other brokers, which tell it what the
// cluster looks like, before it can answer clients, who would be told that their
// topics do not exist. Until [Server.Open] is called a server that is [Config.Held]
// therefore accepts connections only on listeners that brokers use. There, requests
// of brokers are answered, and those of clients wait unread: nothing is set aside
// for what cannot be answered yet. Clients of other listeners wait in the kernel's
// queue.

// Open lets clients in. It may be called more than once.
func (s *Server) Open() { s.openOnce.Do(func() { close(s.opened) }) }

func (s *Server) isOpen() bool {
	select {
	case <-s.opened:
		return true
	default:
		return false
	}
}

// mayAccept waits until connections of a listener may be accepted. It reports false
// if the server ends first.
func (s *Server) mayAccept(l *Listener) bool {
	if l.Internal || l.InterBroker {
		return true
	}
	select {
	case <-s.opened:
		return true
	case <-s.draining:
	case <-s.stopped:
	}
	return false
}

// mayRead waits until requests of a key may be read, of which it knows nothing but
// that. errClosed means that the connection or the server ends first.
func (c *conn) mayRead(ctx context.Context, key int16) error {
	if c.srv.isOpen() {
		c.frames.admit = nil // from here on nothing has to be asked
		return nil
	}
	route := c.srv.routes.find(key)
	// What is not served is refused at once, and versions are asked for by brokers, too.
	if route == nil || route.InterBroker || route.Key == protocol.ApiVersions {
		return nil
	}
	select {
	case <-c.srv.opened:
		return nil
	case <-c.srv.draining:
	case <-ctx.Done():
	}
	return errClosed
}
