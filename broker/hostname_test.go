package broker

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

type nameServer struct{ forward, back map[string]string }

func (n nameServer) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	switch host {
	case "both":
		return []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("::ffff:10.0.0.1")}, nil
	default:
		if a := n.forward[host]; a != "" {
			return []netip.Addr{netip.MustParseAddr(a)}, nil
		}
	}
	return nil, errors.New("no such host")
}

func (n nameServer) LookupAddr(_ context.Context, addr string) ([]string, error) {
	if name := n.back[addr]; name != "" {
		return []string{name, "another."}, nil
	}
	return nil, errors.New("no such host")
}

// What InetAddress.getCanonicalHostName of Java makes of such names.
func TestCanonicalHostname(t *testing.T) {
	servers := nameServer{
		forward: map[string]string{"short": "10.0.0.1", "short.example.com": "10.0.0.1", "lonely": "10.0.0.2", "liar": "10.0.0.3", "elsewhere.example.com": "10.9.9.9", "six": "fd00::2", "six.example.com": "fd00::2"},
		back:    map[string]string{"10.0.0.1": "short.example.com.", "10.0.0.3": "elsewhere.example.com.", "fd00::2": "six.example.com."},
	}
	for name, want := range map[string]string{
		"short":   "short.example.com",
		"both":    "short.example.com",
		"six":     "six.example.com",
		"lonely":  "10.0.0.2",
		"liar":    "10.0.0.3",
		"unknown": "unknown",
	} {
		if got := canonicalHostname(t.Context(), servers, name); got != want {
			t.Errorf("%s is advertised as %s, want %s", name, got, want)
		}
	}
}
