package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/config"
)

// bound is a configured listener with its socket and the address that clients
// are told.
type bound struct {
	config.Listener
	socket     *heldListener
	advertised config.Listener
}

// bind opens every configured listener. After an error none is open.
func bind(ctx context.Context, env Env, cfg *config.Broker) (listeners []bound, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.socket.Close()
			}
			listeners = nil
		}
	}()
	for _, l := range cfg.Listeners {
		socket, err := env.Listen(ctx, net.JoinHostPort(l.Host, strconv.Itoa(l.Port)))
		if err != nil {
			return listeners, fmt.Errorf("listener %s cannot be opened at %s (is another broker running there? see listeners in the configuration): %w",
				l.Name, net.JoinHostPort(l.Host, strconv.Itoa(l.Port)), errors.Unwrap(err))
		}
		if tcp, ok := socket.Addr().(*net.TCPAddr); ok {
			l.Port = tcp.Port
		}
		listeners = append(listeners, bound{Listener: l, socket: hold(socket)})
	}
	for i := range listeners {
		if listeners[i].advertised, err = advertise(listeners[i].Listener, cfg.Advertised); err != nil {
			return listeners, err
		}
	}
	return listeners, nil
}

// advertise says where clients of a listener are sent. As in Kafka a listener
// on all interfaces is advertised under the machine's own name, and one that is
// not in advertised.listeners is not advertised at all.
func advertise(l config.Listener, advertised []config.Listener) (config.Listener, error) {
	for _, a := range advertised {
		if a.Name != l.Name {
			continue
		}
		if a.Port == 0 {
			a.Port = l.Port
		}
		if a.Host == "" {
			host, err := os.Hostname()
			if err != nil {
				return a, fmt.Errorf("listener %s listens everywhere and the machine has no name to advertise; set advertised.listeners: %w", l.Name, err)
			}
			a.Host = host
		}
		return a, nil
	}
	return config.Listener{}, nil
}

// serverListeners is what the server accepts on.
func serverListeners(listeners []bound, cfg *config.Broker) []server.Listener {
	var out []server.Listener
	for _, l := range listeners {
		out = append(out, server.Listener{
			Listener:    l.socket,
			Name:        l.Name,
			Protocol:    l.SecurityProtocol,
			InterBroker: l.Name == cfg.InterBroker || l.Name == cfg.ControlPlane,
		})
	}
	return out
}

// heldListener keeps clients waiting in the kernel's queue until the broker can
// answer them: a client that asks earlier would be told that its topics do not
// exist.
type heldListener struct {
	net.Listener
	open   chan struct{}
	closed chan struct{}

	openOnce, closeOnce sync.Once
}

func hold(l net.Listener) *heldListener {
	return &heldListener{Listener: l, open: make(chan struct{}), closed: make(chan struct{})}
}

// Open lets Accept go.
func (h *heldListener) Open() { h.openOnce.Do(func() { close(h.open) }) }

// Accept waits until the listener is open.
func (h *heldListener) Accept() (net.Conn, error) {
	select {
	case <-h.open:
		return h.Listener.Accept()
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close ends waiting and later calls of Accept.
func (h *heldListener) Close() error {
	h.closeOnce.Do(func() { close(h.closed) })
	return h.Listener.Close()
}
