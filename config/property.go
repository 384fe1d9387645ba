package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// null is the table's way to say that a property has no default value.
const null = "\x00"

// kind is the type of a property's value.
type kind int8

const (
	kindUnknown  = kind(kmsg.ConfigType(0))
	kindBool     = kind(kmsg.ConfigTypeBoolean)
	kindString   = kind(kmsg.ConfigTypeString)
	kindInt      = kind(kmsg.ConfigTypeInt)
	kindShort    = kind(kmsg.ConfigTypeShort)
	kindLong     = kind(kmsg.ConfigTypeLong)
	kindDouble   = kind(kmsg.ConfigTypeDouble)
	kindList     = kind(kmsg.ConfigTypeList)
	kindClass    = kind(kmsg.ConfigTypeClass)
	kindPassword = kind(kmsg.ConfigTypePassword)
)

// mode says how a broker property can change while the broker runs.
type mode int8

const (
	readOnly    mode = iota
	perBroker        // only for one broker: /config/brokers/<id>
	clusterWide      // for one broker or for all: /config/brokers/<default> too
)

// status says what this broker does with a property.
type status int8

const (
	effective status = iota
	noEffect         // accepted, listed once at start when given
	refused          // a value other than the default is an error: ignoring it would weaken security or durability, or change the cluster
)

// property is one row of the table. A row of the broker's table has a default;
// a row of the topic's takes it from the broker property it is paired with.
type property struct {
	name     string
	kind     kind
	value    string // default; null if there is none
	valid    validator
	mode     mode
	status   status
	internal bool // DescribeConfigs shows it only when it was set
	own      bool // Gracchus's, not Kafka's
	doc      string

	broker string                // topic rows: the broker property whose value is the default; "" if value is
	derive func(v values) string // topic rows: how that default is worked out where it is not simply the value of broker
}

// invalidValue is why a property cannot have a value, in Kafka's words.
type invalidValue struct {
	name, shown, message string
}

func (e *invalidValue) Error() string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", e.shown, e.name, e.message)
}

// parse checks a value as it was written and returns its canonical text: what
// Kafka shows after parsing it and printing it again.
func (p *property) parse(raw string) (string, *invalidValue) {
	canonical, message := p.kind.canonical(raw)
	if message != "" {
		return "", &invalidValue{p.name, raw, message}
	}
	if p.valid != nil {
		if shown, message := p.valid.check(p.name, canonical); message != "" {
			return "", &invalidValue{p.name, shown, message}
		}
	}
	return canonical, nil
}

// accepts says in plain words which values the property takes.
func (p *property) accepts() string {
	if p.valid != nil {
		return p.valid.accepts(p.kind)
	}
	return p.kind.accepts()
}

var kindNames = map[kind]string{kindInt: "INT", kindShort: "SHORT", kindLong: "LONG", kindDouble: "DOUBLE"}

var kindBits = map[kind]int{kindInt: 32, kindShort: 16, kindLong: 64}

// canonical returns the value as Kafka prints it after parsing, or its message
// for a value that does not parse.
func (k kind) canonical(raw string) (text, message string) {
	text = trim(raw)
	switch k {
	case kindBool:
		if strings.EqualFold(text, "true") || strings.EqualFold(text, "false") {
			return strings.ToLower(text), ""
		}
		return "", "Expected value to be either true or false"
	case kindInt, kindShort, kindLong:
		n, err := strconv.ParseInt(text, 10, kindBits[k])
		if err != nil {
			return "", "Not a number of type " + kindNames[k]
		}
		return strconv.FormatInt(n, 10), ""
	case kindDouble:
		f, ok := parseDouble(text)
		if !ok {
			return "", "Not a number of type " + kindNames[k]
		}
		return formatDouble(f), ""
	case kindList:
		return strings.Join(splitList(text), ","), ""
	}
	return text, ""
}

func (k kind) accepts() string {
	switch k {
	case kindBool:
		return "true or false"
	case kindInt, kindShort, kindLong:
		limit := int64(1)<<(kindBits[k]-1) - 1
		return fmt.Sprintf("a whole number up to %d", limit)
	case kindDouble:
		return "a number"
	case kindList:
		return "a comma-separated list"
	case kindClass:
		return "the name of a Java class"
	}
	return "a text"
}
