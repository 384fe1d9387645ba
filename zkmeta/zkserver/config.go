package zkserver

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// Config of a server. The zero value of each field stands for its default.
type Config struct {
	// TickTime is ZooKeeper's unit of time, default 2 s. It only gives the
	// session bounds their defaults.
	TickTime time.Duration
	// Clients ask for a session timeout and get what lies nearest within
	// these bounds; defaults are 2 and 20 ticks.
	MinSessionTimeout time.Duration
	MaxSessionTimeout time.Duration
	// MaxRequestBytes bounds a request's frame, as jute.maxbuffer does;
	// default 1 MiB - 1, at most 64 MiB.
	MaxRequestBytes int
	// MaxConnections bounds the connections open at one time; further ones
	// are closed at once. Default 64.
	MaxConnections int
	// MaxOutstanding bounds the requests of one connection that wait for an
	// answer; a client with more is not read from until some are answered.
	// Default 1000.
	MaxOutstanding int
	// MaxSessions bounds the sessions, connected or not; further clients are
	// turned away. Default 10,000.
	MaxSessions int
	// MaxWatchBytes bounds what the watches of all connections may cost, about
	// 300 bytes and the path each; beyond it the client with the most is
	// disconnected. Default 32 MiB.
	MaxWatchBytes int
	// Logger, default none.
	Logger *slog.Logger
}

// maxPathBytes bounds the length of a znode's path: a store's key is at most
// 32 KiB. ZooKeeper has no bound of its own but the frame's.
const maxPathBytes = 16 << 10

// handshakeTimeout is how long a connection may take to say what it wants.
const handshakeTimeout = 10 * time.Second

// containerInterval is how often empty containers are looked for.
const containerInterval = time.Minute

func (c Config) withDefaults() (Config, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.TickTime, 2*time.Second)
	def(&c.MinSessionTimeout, 2*c.TickTime)
	def(&c.MaxSessionTimeout, 20*c.TickTime)
	defInt := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	defInt(&c.MaxRequestBytes, zkproto.DefaultMaxFrame)
	defInt(&c.MaxConnections, 64)
	defInt(&c.MaxOutstanding, 1000)
	defInt(&c.MaxSessions, 10_000)
	defInt(&c.MaxWatchBytes, 32<<20)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("zkserver: "+format, args...)) }
	if c.TickTime < time.Millisecond {
		bad("TickTime %v: want at least 1 ms", c.TickTime)
	}
	if c.MinSessionTimeout < time.Millisecond || c.MinSessionTimeout > c.MaxSessionTimeout {
		bad("MinSessionTimeout %v: want 1 ms up to MaxSessionTimeout, %v", c.MinSessionTimeout, c.MaxSessionTimeout)
	}
	if c.MaxSessionTimeout > 24*time.Hour {
		bad("MaxSessionTimeout %v: want at most 24 h", c.MaxSessionTimeout)
	}
	if c.MaxRequestBytes < 1024 || c.MaxRequestBytes > 64<<20 {
		bad("MaxRequestBytes %d: want 1024 to 64 MiB", c.MaxRequestBytes)
	}
	for name, n := range map[string]int{"MaxConnections": c.MaxConnections, "MaxOutstanding": c.MaxOutstanding,
		"MaxSessions": c.MaxSessions, "MaxWatchBytes": c.MaxWatchBytes} {
		if n < 1 {
			bad("%s %d: want at least 1", name, n)
		}
	}
	return c, errors.Join(errs...)
}
