package broker

import (
	"log/slog"
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
	if len(r.Assumed) > 0 {
		logger.Info("not set, and for a cluster of one because ZooKeeper is embedded", "properties", strings.Join(r.Assumed, " "))
	}
	for _, w := range r.Warnings {
		logger.Warn(w)
	}
}

// sayReady tells in plain words where the broker listens and where it sends
// clients, the two things that are wrong most often.
func (p *parts) sayReady(took time.Duration) {
	var listeners []string
	for _, l := range p.sockets.bound {
		listeners = append(listeners, l.Name+"://"+l.socket.Addr().String())
	}
	for _, e := range p.sockets.endpoints {
		if sentence, surprising := p.cfg.DescribeListener(e); surprising {
			p.logger.Warn(sentence)
		} else {
			p.logger.Info(sentence)
		}
	}
	p.logger.Info("ready", "broker", p.id, "cluster", p.clusterID, "listeners", strings.Join(listeners, ","), "took", took.Round(time.Millisecond))
}
