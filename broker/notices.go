package broker

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gracchus-mq/gracchus/config"
)

// sayReport tells once what was found in the configuration.
func sayReport(logger *slog.Logger, r config.Report) {
	if len(r.Unknown) > 0 {
		logger.Warn("unknown properties are ignored", "names", strings.Join(r.Unknown, " "))
	}
	if len(r.Ignored) > 0 {
		logger.Warn("properties that have no effect yet", "names", strings.Join(r.Ignored, " "))
	}
	for _, w := range r.Warnings {
		logger.Warn(w)
	}
}

// sayReady tells in plain words where the broker listens and where it sends
// clients, the two things that are wrong most often.
func (p *parts) sayReady(took time.Duration) {
	for _, l := range p.listeners {
		socket := l.socket.Addr().String()
		a := l.advertised
		if a.Name == "" {
			p.logger.Warn("a listener is not advertised: clients that come by it are sent nowhere; add it to advertised.listeners", "listener", l.Name, "address", socket)
			continue
		}
		to := net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
		p.logger.Info("listening", "listener", l.Name, "address", socket, "clients are sent to", to)
		if !isLoopback(hostOf(socket)) && isLoopback(a.Host) {
			p.logger.Warn("clients on other machines will be sent to themselves: the listener is open to the network, but a loopback address is advertised; set advertised.listeners", "listener", l.Name, "advertised", to)
		}
	}
	p.logger.Info("ready", "broker", p.id, "cluster", p.clusterID, "took", took.Round(time.Millisecond))
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
