package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Defaults, those of Kafka where it has one.
const (
	DefaultSessionTimeout = 18 * time.Second
	DefaultMaxInFlight    = 10
	DefaultPort           = "2181"
	// DefaultMaxPacketBytes is the limit that Kafka gives its client (jute.maxbuffer).
	DefaultMaxPacketBytes = 4 << 20
)

// Config says where ZooKeeper is and how to talk to it. The zero value of a field
// stands for its default.
type Config struct {
	// Servers are "host:port" addresses of one ensemble, tried in a random order.
	Servers []string
	// Chroot is a path, such as "/kafka", that stands for "/". Start creates it. ""
	// means none.
	Chroot string
	// SessionTimeout is asked for; the server decides within its own bounds.
	SessionTimeout time.Duration
	// ConnectTimeout bounds Start. Default: SessionTimeout.
	ConnectTimeout time.Duration
	// MaxInFlight bounds the requests without an answer
	// (zookeeper.max.in.flight.requests). The operations of one call of Do travel in
	// groups of up to 64, and a group counts as one.
	MaxInFlight int
	// MaxPacketBytes bounds one request and one reply.
	MaxPacketBytes int
	// Auth is presented after each connect.
	Auth []Auth
	// Dial opens a connection to one of Servers. Default: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Logger hears of connects, disconnects and expiries. Default: none.
	Logger *slog.Logger
}

// Auth is one credential, for example {"digest", []byte("user:password")}.
type Auth struct {
	Scheme string
	Auth   []byte
}

// ParseConnect splits the value of Kafka's property zookeeper.connect,
// "host1:port1,host2:port2/chroot". Without a port, 2181 is meant.
func ParseConnect(connect string) (servers []string, chroot string, err error) {
	hosts, path, hasPath := strings.Cut(connect, "/")
	if hasPath {
		if chroot, err = cleanChroot("/" + path); err != nil {
			return nil, "", err
		}
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if host = strings.TrimSpace(host); host == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), DefaultPort)
		}
		servers = append(servers, host)
	}
	if len(servers) == 0 {
		return nil, "", fmt.Errorf("zookeeper address %q names no server", connect)
	}
	return servers, chroot, nil
}

// cleanChroot returns a chroot without a trailing slash, "" for the root.
func cleanChroot(chroot string) (string, error) {
	if chroot == "" || chroot == "/" {
		return "", nil
	}
	chroot = strings.TrimSuffix(chroot, "/")
	if err := validatePath(chroot); err != nil {
		return "", fmt.Errorf("chroot: %w", err)
	}
	return chroot, nil
}

// validatePath refuses what a server would close the connection over or answer by
// an error that says less.
func validatePath(path string) error {
	if path == "/" {
		return nil
	}
	if path == "" || path[0] != '/' || path[len(path)-1] == '/' {
		return fmt.Errorf("path %q must begin, and not end, with a slash", path)
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("path %q has a part that ZooKeeper does not allow", path)
		}
	}
	for _, r := range path { // what stands for bytes that are no UTF-8 is the last one's
		if r <= 0x1f || r >= 0x7f && r <= 0x9f || r >= 0xd800 && r <= 0xf8ff || r >= 0xfff0 {
			return fmt.Errorf("path %q has a character that ZooKeeper does not allow", path)
		}
	}
	return nil
}

// withDefaults validates c and fills in what is missing.
func (c Config) withDefaults() (Config, error) {
	var err error
	if len(c.Servers) == 0 {
		return c, errors.New("zookeeper session: no servers")
	}
	if c.Chroot, err = cleanChroot(c.Chroot); err != nil {
		return c, fmt.Errorf("zookeeper session: %w", err)
	}
	if c.SessionTimeout < 0 || c.ConnectTimeout < 0 || c.MaxInFlight < 0 || c.MaxPacketBytes < 0 {
		return c, errors.New("zookeeper session: a negative limit")
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = DefaultSessionTimeout
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = c.SessionTimeout
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.MaxPacketBytes == 0 {
		c.MaxPacketBytes = DefaultMaxPacketBytes
	}
	if c.Dial == nil {
		var d net.Dialer
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
