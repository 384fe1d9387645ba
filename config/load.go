package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/magiconair/properties"
)

// withoutFile is what a broker runs with when it is given no file: on this
// machine only, with nothing else to install, and as a cluster of one.
var withoutFile = map[string]string{
	"broker.id":                        "0",
	"listeners":                        "PLAINTEXT://127.0.0.1:9092",
	"log.dirs":                         "gracchus-data",
	"zookeeper.connect":                embedded,
	"group.initial.rebalance.delay.ms": "0",
}

// withEmbedded are the values, with the embedded ZooKeeper, of what is not given: with
// Kafka's defaults a broker that is alone could not create the coordinators' topics, and
// no group would ever find its coordinator.
var withEmbedded = map[string]string{
	"offsets.topic.replication.factor":         "1",
	"transaction.state.log.replication.factor": "1",
	"transaction.state.log.min.isr":            "1",
}

// embedded is the value of zookeeper.connect that runs ZooKeeper inside the
// broker.
const embedded = "embedded"

// Report is what a person should hear once at start.
type Report struct {
	Unknown  []string // properties that no Kafka 3.9 broker knows, sorted
	Ignored  []string // properties that are Kafka's but have no effect here yet, sorted
	Assumed  []string // name=value of properties that were not given and do not have Kafka's default, sorted
	Warnings []string // sentences about what was given and will surprise
}

// Load reads a server.properties file and applies overrides ("name=value").
// With file == "" it starts from the settings that need none: listen on
// 127.0.0.1:9092, keep data in ./gracchus-data, run the embedded ZooKeeper.
//
// The error of a wrong or unsupported value is one line that names the
// property, the value and what is accepted.
func Load(file string, overrides []string) (*Settings, Report, error) {
	given := maps.Clone(withoutFile)
	if file != "" {
		var err error
		if given, err = readProperties(file); err != nil {
			return nil, Report{}, err
		}
	}
	for _, o := range overrides {
		name, value, ok := strings.Cut(o, "=")
		name = trim(name)
		if !ok || name == "" {
			return nil, Report{}, fmt.Errorf("--override %q is not accepted; it takes name=value", o)
		}
		if file == "" && name == "log.dir" {
			delete(given, "log.dirs") // the built-in directory must not win over the one given
		}
		given[name] = value
	}
	return Parse(given)
}

// readProperties reads a file with Java's rules for properties files. "${x}" is
// text like any other, as it is to Kafka.
func readProperties(file string) (map[string]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, fmt.Errorf("cannot read the properties file %s: %w", filepath.Clean(file), err)
	}
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	p, err := loader.LoadBytes(content)
	if err != nil {
		return nil, fmt.Errorf("%s is no properties file: %w", filepath.Clean(file), err)
	}
	return p.Map(), nil
}

// Parse is Load for properties that are already in memory, taken as a file's
// content: zookeeper.connect is required.
func Parse(properties map[string]string) (*Settings, Report, error) {
	given := maps.Clone(properties)
	// Kafka's two names of one setting.
	if id, ok := given["broker.id"]; ok {
		if _, both := given["node.id"]; !both {
			given["node.id"] = id
		}
	} else if id, ok := given["node.id"]; ok {
		given["broker.id"] = id
	}
	var assumed []string
	if trim(given["zookeeper.connect"]) == embedded {
		assumed = assume(given, withEmbedded)
	}
	if err := checkGiven(given); err != nil {
		return nil, Report{}, err
	}
	s := &Settings{}
	state := &layers{static: given}
	var err error
	if state.current, err = build(given); err != nil {
		return nil, Report{}, err
	}
	state.values, _ = brokerTable.parseAll(given) // checked by checkGiven
	s.layers.Store(state)
	r := report(properties, state.current)
	r.Assumed = assumed
	return s, r, nil
}

// assume sets those of values that are not given, and returns them as name=value.
func assume(given, values map[string]string) (assumed []string) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := given[name]; !ok {
			given[name] = values[name]
			assumed = append(assumed, name+"="+values[name])
		}
	}
	return assumed
}

// checkGiven looks at each property by itself, in name order.
func checkGiven(given map[string]string) error {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if err := checkOne(name, given[name]); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

func checkOne(name, value string) error {
	p := brokerTable.byName[name]
	if p == nil {
		if base, ok := listenerOverride(name); ok {
			if b := brokerTable.byName[base]; b != nil {
				p = b
			} else {
				name, base = base, name
				if refusedFamily(name) {
					return notSupported(base, hidden, "take it out")
				}
				return nil
			}
		} else if refusedFamily(name) {
			return notSupported(name, hidden, "take it out")
		} else {
			return nil
		}
	}
	canonical, invalid := p.parse(value)
	if p.kind == kindPassword {
		value = hidden
	}
	if invalid != nil {
		return wrongValue(name, value, p.accepts())
	}
	if p.status != refused || canonical == "" || canonical == p.value {
		return nil
	}
	if p.value == null || p.value == "" {
		return notSupported(name, value, "take it out")
	}
	return notSupported(name, value, "only "+p.value+" is")
}

// hidden stands for a value that is, or may be, a secret: errors end up in logs.
const hidden = "[hidden]"

// refusedFamily: properties Kafka may add to a family that must not be ignored.
func refusedFamily(name string) bool {
	return strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl.") || strings.HasPrefix(name, "zookeeper.ssl.") ||
		strings.HasSuffix(name, ".policy.class.name") || strings.HasSuffix(name, ".sasl.jaas.config") || strings.Contains(name, ".sasl.")
}

// report gathers what a person should hear about the given properties.
func report(given map[string]string, b *Broker) Report {
	var r Report
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if withoutFile[name] == given[name] {
			continue // given by us, not by a person
		}
		p := brokerTable.byName[name]
		if base, ok := listenerOverride(name); ok && p == nil {
			if p = brokerTable.byName[base]; p != nil {
				r.Ignored = append(r.Ignored, name) // one value for all listeners is all there is
				continue
			}
		}
		switch {
		case p == nil:
			r.Unknown = append(r.Unknown, name)
		case p.status == noEffect:
			r.Ignored = append(r.Ignored, name)
		}
	}
	if b.Log.Compact && !b.Cleaner.Enable {
		r.Warnings = append(r.Warnings, "log.cleanup.policy contains compact, but log.cleaner.enable=false keeps logs from being compacted")
	}
	if b.ZooKeeper.EmbeddedListen != "" && !b.ZooKeeper.Embedded {
		r.Warnings = append(r.Warnings, "gracchus.zookeeper.listen is only for zookeeper.connect=embedded and has no effect")
	}
	return r
}
