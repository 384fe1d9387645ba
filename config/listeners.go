package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A listener as it is written: name://host:port, the host perhaps in brackets.
var listenerPattern = regexp.MustCompile(`^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)$`)

const listenerForm = "name://host:port, comma-separated, such as PLAINTEXT://127.0.0.1:9092"

var securityProtocols = []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// String is the listener as it is written in listeners.
func (l Listener) String() string {
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return l.Name + "://" + host + ":" + strconv.Itoa(l.Port)
}

// Address is what net.Listen takes.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// Everywhere says whether the listener's socket is open on every address.
func (l Listener) Everywhere() bool {
	ip, err := netip.ParseAddr(l.Host)
	return l.Host == "" || err == nil && ip.IsUnspecified()
}

// Loopback says whether only this machine reaches the listener's host.
func (l Listener) Loopback() bool {
	ip, err := netip.ParseAddr(l.Host)
	return strings.EqualFold(l.Host, "localhost") || err == nil && ip.IsLoopback()
}

// buildListeners fills in what the broker listens on and what it tells others,
// and checks the rules between the properties of listeners.
func buildListeners(b *Broker, v values, given map[string]string) error {
	protocols, err := protocolMap(v.string("listener.security.protocol.map"))
	if err != nil {
		return err
	}
	if b.Listeners, err = parseListeners("listeners", v.string("listeners"), protocols); err != nil {
		return err
	}
	if len(b.Listeners) == 0 {
		return wrongValue("listeners", v.string("listeners"), "at least one "+listenerForm)
	}
	if err := checkPorts(v.string("listeners"), b.Listeners); err != nil {
		return err
	}
	b.Advertised = b.Listeners
	advertisedFrom := "listeners"
	if text, ok := v.text("advertised.listeners"); ok {
		advertisedFrom = "advertised.listeners"
		if b.Advertised, err = parseListeners(advertisedFrom, text, protocols); err != nil {
			return err
		}
		if len(b.Advertised) == 0 {
			return wrongValue(advertisedFrom, text, "at least one "+listenerForm)
		}
	}
	for _, a := range b.Advertised {
		if !slices.ContainsFunc(b.Listeners, func(l Listener) bool { return l.Name == a.Name }) {
			return wrongValue("advertised.listeners", a.String(), "only listener names that listeners has: "+names(b.Listeners))
		}
		if a.Host == "0.0.0.0" {
			return wrongValue(advertisedFrom, a.String(), "a host that others can reach: 0.0.0.0 cannot be advertised; set advertised.listeners, or leave the host empty to advertise this machine's name")
		}
	}
	if b.InterBroker, err = interBrokerListener(b, v, given, protocols); err != nil {
		return err
	}
	if name, ok := v.text("control.plane.listener.name"); ok {
		b.ControlPlane = strings.ToUpper(name)
		if !slices.ContainsFunc(b.Advertised, func(l Listener) bool { return l.Name == b.ControlPlane }) {
			return wrongValue("control.plane.listener.name", name, "one of the advertised listeners: "+names(b.Advertised))
		}
		if b.ControlPlane == b.InterBroker {
			return wrongValue("control.plane.listener.name", name, "another listener than the one between brokers, which is "+b.InterBroker)
		}
	}
	return nil
}

func interBrokerListener(b *Broker, v values, given map[string]string, protocols map[string]string) (string, error) {
	property, name := "security.inter.broker.protocol", v.string("security.inter.broker.protocol")
	if text, ok := v.text("inter.broker.listener.name"); ok {
		if protocol, both := given[property]; both {
			return "", wrongValue(property, protocol, "nothing when inter.broker.listener.name is set too")
		}
		property, name = "inter.broker.listener.name", text
		if _, known := protocols[strings.ToUpper(name)]; !known {
			return "", wrongValue(property, name, "a name that listener.security.protocol.map has")
		}
	}
	listener := strings.ToUpper(name)
	if !slices.ContainsFunc(b.Advertised, func(l Listener) bool { return l.Name == listener }) {
		accepted := "one of the advertised listeners: " + names(b.Advertised)
		if property == "security.inter.broker.protocol" {
			accepted = "a protocol that is also the name of an advertised listener (" + names(b.Advertised) + "); otherwise set inter.broker.listener.name to one of them"
		}
		return "", wrongValue(property, name, accepted)
	}
	return listener, nil
}

// protocolMap parses NAME:PROTOCOL, comma-separated.
func protocolMap(text string) (map[string]string, error) {
	const property = "listener.security.protocol.map"
	protocols := map[string]string{}
	for _, item := range splitNonEmpty(text) {
		colon := strings.LastIndex(item, ":")
		if colon < 0 {
			return nil, wrongValue(property, item, "NAME:PROTOCOL, comma-separated")
		}
		name, protocol := strings.ToUpper(trim(item[:colon])), strings.ToUpper(trim(item[colon+1:]))
		if !slices.Contains(securityProtocols, protocol) {
			return nil, wrongValue(property, item, "the protocols "+strings.Join(securityProtocols, ", "))
		}
		protocols[name] = protocol
	}
	return protocols, nil
}

func parseListeners(property, text string, protocols map[string]string) ([]Listener, error) {
	var listeners []Listener
	for _, item := range splitNonEmpty(text) {
		m := listenerPattern.FindStringSubmatch(item)
		if m == nil {
			return nil, wrongValue(property, item, listenerForm)
		}
		l := Listener{Name: strings.ToUpper(m[1]), Host: m[2]}
		port, err := strconv.ParseUint(m[3], 10, 16)
		if err != nil {
			return nil, wrongValue(property, item, "ports from 0 to 65535")
		}
		l.Port = int(port)
		protocol, known := protocols[l.Name]
		if !known {
			return nil, wrongValue(property, item, "names that listener.security.protocol.map gives a protocol")
		}
		if protocol != "PLAINTEXT" {
			return nil, wrongValue(property, item, "PLAINTEXT listeners only: "+protocol+" is not supported yet")
		}
		l.SecurityProtocol = protocol
		if slices.ContainsFunc(listeners, func(other Listener) bool { return other.Name == l.Name }) {
			return nil, wrongValue(property, text, "every listener name once; "+l.Name+" is there twice")
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// checkPorts: two listeners may share a port only if one has an IPv4 and the
// other an IPv6 address. Port 0 is no port yet.
func checkPorts(text string, listeners []Listener) error {
	byPort := map[int][]Listener{}
	for _, l := range listeners {
		if l.Port != 0 {
			byPort[l.Port] = append(byPort[l.Port], l)
		}
	}
	for _, same := range byPort {
		if len(same) == 1 {
			continue
		}
		if len(same) == 2 && addressFamily(same[0].Host)+addressFamily(same[1].Host) == 4+6 {
			continue
		}
		return wrongValue("listeners", text, "a port of its own for each listener; two may share one only if one has an IPv4 and the other an IPv6 address")
	}
	return nil
}

// addressFamily is 4 or 6, or 0 for what is no IP address.
func addressFamily(host string) int {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return 0
	case ip.Is4():
		return 4
	}
	return 6
}

func names(listeners []Listener) string {
	var all []string
	for _, l := range listeners {
		all = append(all, l.Name)
	}
	return strings.Join(all, ", ")
}

// Endpoints are what this broker tells others, one per listener, once its
// sockets are open: an advertised port of 0 becomes the port its listener got,
// and an empty host this machine's name.
func (b *Broker) Endpoints(boundPort map[string]int, hostname string) []Listener {
	endpoints := slices.Clone(b.Advertised)
	for i := range endpoints {
		if endpoints[i].Host == "" {
			endpoints[i].Host = hostname
		}
		if endpoints[i].Port == 0 {
			endpoints[i].Port = boundPort[endpoints[i].Name]
		}
	}
	return endpoints
}

// DescribeListener says in a sentence where clients of a listener are sent, and
// whether that will surprise: its socket is open to other machines, but they
// are told an address that leads to themselves. endpoint is one of Endpoints.
func (b *Broker) DescribeListener(endpoint Listener) (sentence string, surprising bool) {
	i := slices.IndexFunc(b.Listeners, func(l Listener) bool { return l.Name == endpoint.Name })
	if i < 0 {
		return "", false
	}
	address := net.JoinHostPort(endpoint.Host, strconv.Itoa(endpoint.Port))
	if endpoint.Everywhere() {
		return fmt.Sprintf("clients of listener %s are sent to %s, which is no address of a machine: set advertised.listeners", endpoint.Name, address), true
	}
	if endpoint.Loopback() && !b.Listeners[i].Loopback() {
		return fmt.Sprintf("listener %s is open to other machines, but clients that come by it are sent to %s, which is their own machine: set advertised.listeners", endpoint.Name, address), true
	}
	return fmt.Sprintf("clients of listener %s are sent to %s", endpoint.Name, address), false
}
