package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// sockets are the open listeners of a broker.
type sockets struct {
	bound     []bound
	endpoints []config.Listener // what clients and brokers are told
}

// bound is a configured listener and its socket.
type bound struct {
	config.Listener
	socket net.Listener
}

// bind opens every configured listener; none is open after an error.
func bind(ctx context.Context, env Env, cfg *config.Broker) (s *sockets, err error) {
	s = &sockets{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	ports := map[string]int{}
	for _, l := range cfg.Listeners {
		address := net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
		socket, err := env.Listen(ctx, address)
		if err != nil {
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err
			}
			hint := ""
			if errors.Is(err, syscall.EADDRINUSE) {
				hint = " (is another broker running there?)"
			}
			return s, fmt.Errorf("listener %s cannot listen on %s%s: %w", l.Name, address, hint, err)
		}
		if tcp, ok := socket.Addr().(*net.TCPAddr); ok {
			l.Port = tcp.Port
		}
		ports[l.Name] = l.Port
		s.bound = append(s.bound, bound{Listener: l, socket: socket})
	}
	var host string
	if slices.ContainsFunc(cfg.Advertised, func(l config.Listener) bool { return l.Host == "" }) {
		host = env.Hostname(ctx)
	}
	s.endpoints = cfg.Endpoints(ports, host)
	return s, nil
}

// forServer is what the server accepts on.
func (s *sockets) forServer(cfg *config.Broker) []server.Listener {
	var out []server.Listener
	for _, b := range s.bound {
		out = append(out, server.Listener{
			Listener:    b.socket,
			Name:        b.Name,
			Protocol:    b.SecurityProtocol,
			InterBroker: b.Name == cfg.InterBroker || b.Name == cfg.ControlPlane,
		})
	}
	return out
}

// registered is how the endpoints stand in the broker's registration.
func (s *sockets) registered() []zkmeta.Endpoint {
	var out []zkmeta.Endpoint
	for _, e := range s.endpoints {
		out = append(out, zkmeta.Endpoint{Listener: e.Name, SecurityProtocol: e.SecurityProtocol, Host: e.Host, Port: int32(e.Port)})
	}
	return out
}

func (s *sockets) close() {
	for _, b := range s.bound {
		b.socket.Close()
	}
}
