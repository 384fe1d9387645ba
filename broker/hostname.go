package broker

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// resolver is the part of net.Resolver that canonicalHostname needs.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// hostname is what a listener without a host is advertised as.
func hostname(ctx context.Context) string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	const patience = 5 * time.Second // a name server that does not answer must not keep the broker from starting
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return canonicalHostname(ctx, net.DefaultResolver, name)
}

// canonicalHostname is the full name of the machine that calls itself name, found
// as Java's InetAddress.getCanonicalHostName does, which is what Kafka advertises:
// the name of the first address, if it leads back to that address, and otherwise
// the address. A name that has no address is returned as it is.
func canonicalHostname(ctx context.Context, r resolver, name string) string {
	addresses, err := r.LookupNetIP(ctx, "ip", name)
	if err != nil || len(addresses) == 0 {
		return name
	}
	for i, a := range addresses {
		addresses[i] = a.Unmap()
	}
	address := addresses[0]
	if i := slices.IndexFunc(addresses, netip.Addr.Is4); i >= 0 {
		address = addresses[i] // Java prefers IPv4
	}
	names, err := r.LookupAddr(ctx, address.String())
	if err != nil || len(names) == 0 {
		return address.String()
	}
	full := strings.TrimSuffix(names[0], ".")
	back, err := r.LookupNetIP(ctx, "ip", full)
	if err != nil || !slices.ContainsFunc(back, func(a netip.Addr) bool { return a.Unmap() == address }) {
		return address.String()
	}
	return full
}
