package config

import (
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Settings resolves every property through its layers and hands out snapshots.
// All methods are safe for concurrent use; the Set methods are expected from
// one goroutine (the one that listens to configuration changes), though that is
// not required.
type Settings struct {
	mu     sync.Mutex // held while a layer is replaced
	layers atomic.Pointer[layers]
}

// layers is one immutable state of everything Settings resolve from.
type layers struct {
	static  map[string]string // server.properties and overrides
	cluster map[string]string // /config/brokers/<default>
	broker  map[string]string // /config/brokers/<id>
	current *Broker
}

// Report is what a person should hear once at start.
type Report struct {
	Unknown  []string // properties that no Kafka 3.9 broker knows, sorted
	Ignored  []string // properties that are Kafka's but have no effect here yet, sorted
	Warnings []string // sentences about what was given and will surprise
}

// Synonym is one layer of a property's value, strongest first.
type Synonym struct {
	Name   string
	Value  string
	Null   bool
	Source kmsg.ConfigSource
}

// Entry is one property as DescribeConfigs shows it.
type Entry struct {
	Name      string
	Value     string // not meaningful when Null
	Null      bool   // no value; always so for a sensitive one
	Source    kmsg.ConfigSource
	IsDefault bool // as versions 0 of the API express the source
	ReadOnly  bool
	Sensitive bool
	Type      kmsg.ConfigType
	Doc       string
	Synonyms  []Synonym // all layers that have a value, the effective one first
}

// Load reads a server.properties file and applies overrides ("name=value").
// With file == "" it starts from the settings that need none: listen on
// 127.0.0.1:9092, keep data in ./gracchus-data, run the embedded ZooKeeper.
//
// The error of a wrong or unsupported value is one line that names the
// property, the value and what is accepted.
func Load(file string, overrides []string) (*Settings, Report, error) {
	return nil, Report{}, nil
}

// Parse is Load for properties that are already in memory, taken as a file's
// content: zookeeper.connect is required.
func Parse(properties map[string]string) (*Settings, Report, error) {
	return nil, Report{}, nil
}

// DefaultTopic is the configuration of a topic where nothing was set anywhere.
func DefaultTopic() *Topic { return nil }

// Broker returns the current snapshot.
func (s *Settings) Broker() *Broker { return s.layers.Load().current }

// Topic resolves the configuration of a topic that has these values of its own
// (from /config/topics/<name>). Values that do not parse are left out: they
// were validated when they were set, and a broker must not refuse to serve a
// topic over them.
func (s *Settings) Topic(overrides map[string]string) *Topic { return nil }

// SetClusterDefaults replaces the cluster-wide dynamic layer
// (/config/brokers/<default>). It returns the properties that were refused,
// with the reason; the others apply.
func (s *Settings) SetClusterDefaults(values map[string]string) map[string]error { return nil }

// SetBrokerOverrides replaces this broker's dynamic layer (/config/brokers/<id>).
func (s *Settings) SetBrokerOverrides(values map[string]string) map[string]error { return nil }

// SetBrokerID tells the settings the id that was read or generated when
// broker.id was not given, so that DescribeConfigs answers with it.
func (s *Settings) SetBrokerID(id int32) {}

// DescribeTopic lists every topic property for a topic with these values of its
// own, in name order.
func (s *Settings) DescribeTopic(overrides map[string]string) []Entry { return nil }

// DescribeBroker lists every broker property, in name order.
func (s *Settings) DescribeBroker() []Entry { return nil }

// DescribeClusterDefaults lists what the cluster-wide dynamic layer sets.
func (s *Settings) DescribeClusterDefaults() []Entry { return nil }

// ValidateTopic says whether a topic may have this value of its own. The error
// wraps kerr.InvalidConfig and its text is Kafka's.
func (s *Settings) ValidateTopic(name, value string) error { return nil }

// ValidateTopicAll checks a topic's whole set of values, the rules between
// properties included (as CreateTopics, AlterConfigs and
// IncrementalAlterConfigs must before they write).
func (s *Settings) ValidateTopicAll(values map[string]string) error { return nil }

// IsTopicList says whether a topic property is a list, which is what APPEND and
// SUBTRACT need.
func IsTopicList(name string) bool { return false }

// AppendToList and SubtractFromList edit a comma-separated value as
// IncrementalAlterConfigs does: items already present are not repeated, and
// missing ones are not an error. current is the effective value.
func AppendToList(current, items string) string { return current }

// SubtractFromList takes items out of a comma-separated value.
func SubtractFromList(current, items string) string { return current }
