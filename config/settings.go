package config

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
)

// Settings resolves every property through its layers and hands out snapshots.
// All methods are safe for concurrent use.
type Settings struct {
	mu     sync.Mutex // held while a layer is replaced
	layers atomic.Pointer[layers]
}

// layers is one immutable state of everything Settings resolve from.
type layers struct {
	static  map[string]string // server.properties and overrides
	cluster map[string]string // /config/brokers/<default>
	broker  map[string]string // /config/brokers/<id>
	id      *int32            // broker.id, when it was not given
	values  values            // broker properties, all layers merged
	current *Broker
}

// Broker returns the current snapshot.
func (s *Settings) Broker() *Broker { return s.layers.Load().current }

// SetBrokerID tells the settings the id that was read or generated when
// broker.id was not given. DescribeConfigs goes on to show broker.id as it was
// given, as Kafka does.
func (s *Settings) SetBrokerID(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.layers.Load()
	next.id = &id
	current := *next.current
	current.ID = id
	next.current = &current
	s.layers.Store(&next)
}

// SetClusterDefaults replaces the cluster-wide dynamic layer
// (/config/brokers/<default>). It returns the properties that were refused,
// with the reason; the others apply. Where they do not fit together nothing
// applies, and the reason stands under "".
func (s *Settings) SetClusterDefaults(properties map[string]string) map[string]error {
	return s.replace(properties, false, func(l *layers, accepted map[string]string) { l.cluster = accepted })
}

// SetBrokerOverrides replaces this broker's dynamic layer
// (/config/brokers/<id>), as SetClusterDefaults does the other.
func (s *Settings) SetBrokerOverrides(properties map[string]string) map[string]error {
	return s.replace(properties, true, func(l *layers, accepted map[string]string) { l.broker = accepted })
}

func (s *Settings) replace(properties map[string]string, forOne bool, set func(*layers, map[string]string)) map[string]error {
	accepted, refused := map[string]string{}, map[string]error{}
	for name, value := range properties {
		if err := checkDynamic(name, value, forOne); err != nil {
			refused[name] = err
			continue
		}
		accepted[name] = value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.layers.Load()
	set(&next, accepted)
	merged := maps.Clone(next.static)
	override(merged, next.cluster)
	override(merged, next.broker)
	current, err := build(merged)
	if err != nil {
		refused[""] = err
		return refused
	}
	if next.id != nil {
		current.ID = *next.id
	}
	next.current = current
	next.values, _ = brokerTable.parseAll(merged) // build has parsed them
	s.layers.Store(&next)
	return refused
}

// checkDynamic says whether a property may be set while the broker runs, for
// one broker or for all.
func checkDynamic(name, value string, forOne bool) error {
	p := brokerTable.byName[name]
	if p == nil {
		p = dynamicOnly.byName[name]
		if p == nil {
			return nil // Kafka keeps what it does not know, and so do we
		}
	} else if p.mode == readOnly {
		return fmt.Errorf("%s cannot change while the broker runs", name)
	} else if p.mode == perBroker && !forOne {
		return fmt.Errorf("%s can be set for one broker only", name)
	}
	canonical, invalid := p.parse(value)
	if invalid != nil {
		return invalid
	}
	if p.status == refused && canonical != p.value {
		return notSupported(name, value, "take it out")
	}
	return nil
}
