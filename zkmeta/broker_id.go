package zkmeta

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

const (
	// BrokerIDsPath is the parent of the registrations of the live brokers.
	BrokerIDsPath = "/brokers/ids"
	// BrokerSequencePath is the node whose data version generates broker ids.
	BrokerSequencePath = "/brokers/seqid"
)

// registrationVersion is what Kafka writes from inter-broker protocol 2.7 on.
const registrationVersion = 5

// BrokerRegistration is the content of the ephemeral node /brokers/ids/N.
type BrokerRegistration struct {
	ID        int32
	Endpoints []Endpoint
	Rack      string // "" = none
	// JMXPort is -1 when there is none. Readers insist on the field.
	JMXPort     int32
	TimestampMS int64 // when it was written; nobody reads it
	// Features are the ranges of finalized features that the broker supports.
	// Brokers in ZooKeeper mode write none.
	Features map[string]FeatureRange
}

// Endpoint is one address that a broker is reached at.
type Endpoint struct {
	Listener         string // upper case, unique within a broker
	SecurityProtocol string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
	Host             string // a name or an IP address, without brackets
	Port             int32
}

// FeatureRange is a range of levels of one feature, both ends included.
type FeatureRange struct{ Min, Max int16 }

// BrokerIDPath is where broker id registers.
func BrokerIDPath(id int32) string { return BrokerIDsPath + "/" + strconv.Itoa(int(id)) }

// String is the form of the endpoints list: "LISTENER://host:port", an IPv6
// address in brackets.
func (e Endpoint) String() string {
	return e.Listener + "://" + net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// endpointHost is what Kafka's reader accepts between :// and the last colon.
var endpointHost = regexp.MustCompile(`^[0-9a-zA-Z\-%._:]*$`)

func validSecurityProtocol(name string) bool {
	switch name {
	case "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL":
		return true
	}
	return false
}

// validate refuses every registration that a Kafka broker could not read. A bad
// one keeps other brokers from starting.
func (r BrokerRegistration) validate() error {
	if r.ID < 0 {
		return fmt.Errorf("broker id %d is negative", r.ID)
	}
	if len(r.Endpoints) == 0 {
		return errors.New("no endpoint")
	}
	seen := map[string]bool{}
	for _, e := range r.Endpoints {
		switch {
		case e.Listener == "" || strings.ToUpper(e.Listener) != e.Listener || strings.ContainsAny(e.Listener, ":/, \t\r\n"):
			return fmt.Errorf("listener name %q must be upper case, without colon, slash, comma or space", e.Listener)
		case seen[e.Listener]:
			return fmt.Errorf("listener %s is there twice", e.Listener)
		case !validSecurityProtocol(e.SecurityProtocol):
			return fmt.Errorf("listener %s: unknown security protocol %q", e.Listener, e.SecurityProtocol)
		case e.Host == "" || !endpointHost.MatchString(e.Host):
			return fmt.Errorf("listener %s: host %q is not a host name or address", e.Listener, e.Host)
		case e.Port < 0 || e.Port > 65535:
			return fmt.Errorf("listener %s: port %d is out of range", e.Listener, e.Port)
		}
		seen[e.Listener] = true
	}
	return nil
}

// Encode makes version 5 of the node's data.
func (r BrokerRegistration) Encode() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("registration of broker %d: %w", r.ID, err)
	}
	type featureRange struct {
		Min int16 `json:"min_version"`
		Max int16 `json:"max_version"`
	}
	node := struct {
		Version   int                     `json:"version"`
		Host      *string                 `json:"host"`
		Port      int32                   `json:"port"`
		JMXPort   int32                   `json:"jmx_port"`
		Timestamp string                  `json:"timestamp"`
		Endpoints []string                `json:"endpoints"`
		Protocols map[string]string       `json:"listener_security_protocol_map"`
		Rack      string                  `json:"rack,omitempty"`
		Features  map[string]featureRange `json:"features"`
	}{
		Version:   registrationVersion,
		Port:      -1,
		JMXPort:   r.JMXPort,
		Timestamp: strconv.FormatInt(r.TimestampMS, 10),
		Protocols: map[string]string{},
		Rack:      r.Rack,
		Features:  map[string]featureRange{},
	}
	for _, e := range r.Endpoints {
		// Clients from before version 2 know only one plain address.
		if e.SecurityProtocol == "PLAINTEXT" && node.Host == nil {
			host := e.Host
			node.Host, node.Port = &host, e.Port
		}
		node.Endpoints = append(node.Endpoints, e.String())
		node.Protocols[e.Listener] = e.SecurityProtocol
	}
	for name, f := range r.Features {
		node.Features[name] = featureRange(f)
	}
	return encodeJSON(node)
}

// DecodeBrokerRegistration reads the data of /brokers/ids/<id>, versions 1 to 5
// and above. It requires what Kafka's reader requires: version, jmx_port, and the
// endpoints with a protocol for each. The error is a *MalformedError.
func DecodeBrokerRegistration(id int32, data []byte) (BrokerRegistration, error) {
	r, err := decodeRegistration(id, data)
	if err != nil {
		return BrokerRegistration{}, malformed(BrokerIDPath(id), data, err)
	}
	return r, nil
}

func decodeRegistration(id int32, data []byte) (r BrokerRegistration, err error) {
	o, err := decodeObject(data)
	if err != nil {
		return r, err
	}
	version, err := field[int32](o, "version")
	if err != nil {
		return r, err
	}
	if version < 1 {
		return r, fmt.Errorf("unsupported version %d", version)
	}
	r.ID = id
	if r.JMXPort, err = field[int32](o, "jmx_port"); err != nil {
		return r, err
	}
	if r.Rack, err = fieldOr(o, "rack", ""); err != nil {
		return r, err
	}
	if r.Features, err = decodeFeatureRanges(o); err != nil {
		return r, err
	}
	if text, err := fieldOr(o, "timestamp", ""); err == nil {
		r.TimestampMS, _ = strconv.ParseInt(text, 10, 64)
	}
	if version == 1 {
		e := Endpoint{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT"}
		if e.Host, err = field[string](o, "host"); err != nil {
			return r, err
		}
		if e.Port, err = field[int32](o, "port"); err != nil {
			return r, err
		}
		r.Endpoints = []Endpoint{e}
		return r, nil
	}
	r.Endpoints, err = decodeEndpoints(o)
	return r, err
}

func decodeEndpoints(o object) ([]Endpoint, error) {
	texts, err := field[[]string](o, "endpoints")
	if err != nil {
		return nil, err
	}
	protocols, err := fieldOr[map[string]string](o, "listener_security_protocol_map", nil)
	if err != nil {
		return nil, err
	}
	var endpoints []Endpoint
	for _, text := range texts {
		e, err := parseEndpoint(text)
		if err != nil {
			return nil, err
		}
		if protocols == nil {
			// Before version 4 a listener's name was its protocol's.
			e.SecurityProtocol = e.Listener
		} else {
			e.SecurityProtocol = strings.ToUpper(protocols[e.Listener])
		}
		if !validSecurityProtocol(e.SecurityProtocol) {
			return nil, fmt.Errorf("no security protocol for listener %s", e.Listener)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// parseEndpoint reads "NAME://host:port"; the host may be empty and an IPv6
// address may stand with or without brackets.
func parseEndpoint(text string) (Endpoint, error) {
	bad := fmt.Errorf("endpoint %q is not of the form LISTENER://host:port", text)
	name, address, ok := strings.Cut(text, "://")
	colon := strings.LastIndexByte(address, ':')
	if !ok || colon < 0 {
		return Endpoint{}, bad
	}
	host := strings.TrimSuffix(strings.TrimPrefix(address[:colon], "["), "]")
	port, err := strconv.ParseInt(address[colon+1:], 10, 32)
	if err != nil || !endpointHost.MatchString(host) {
		return Endpoint{}, bad
	}
	return Endpoint{Listener: strings.ToUpper(name), Host: host, Port: int32(port)}, nil
}

func decodeFeatureRanges(o object) (map[string]FeatureRange, error) {
	raw, err := fieldOr[map[string]map[string]int16](o, "features", nil)
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	features := make(map[string]FeatureRange, len(raw))
	for name, f := range raw {
		lowest, ok := f["min_version"]
		highest, ok2 := f["max_version"]
		if !ok || !ok2 {
			return nil, fmt.Errorf("feature %q needs min_version and max_version", name)
		}
		features[name] = FeatureRange{Min: lowest, Max: highest}
	}
	return features, nil
}
