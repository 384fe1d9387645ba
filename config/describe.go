package config

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

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
	IsDefault bool // version 0's way to say Source
	ReadOnly  bool
	Sensitive bool
	Type      kmsg.ConfigType // 0: not a property Kafka knows
	Doc       string
	Synonyms  []Synonym // all layers that have a value, the effective one first
}

// DescribeTopic lists every topic property for a topic with these values of its
// own, in name order.
func (s *Settings) DescribeTopic(overrides map[string]string) []Entry {
	l := s.layers.Load()
	v := topicValues(l.values, overrides)
	entries := make([]Entry, 0, len(topicTable.rows))
	for i := range topicTable.rows {
		p := &topicTable.rows[i]
		e := Entry{Name: p.name, Value: v[p.name], Type: kmsg.ConfigType(p.kind), Doc: p.doc, Source: kmsg.ConfigSourceDefaultConfig}
		if _, own := overrides[p.name]; own {
			e.Synonyms = append(e.Synonyms, Synonym{Name: p.name, Value: e.Value, Source: kmsg.ConfigSourceDynamicTopicConfig})
		}
		if p.broker != "" {
			e.Synonyms = append(e.Synonyms, l.synonymsOf(p.broker, false)...)
		}
		entries = append(entries, e.finish())
	}
	slices.SortFunc(entries, byName)
	return entries
}

// DescribeBroker lists every broker property, in name order, and after Kafka's
// way also what was given that no broker knows.
func (s *Settings) DescribeBroker() []Entry {
	l := s.layers.Load()
	shown := map[string]bool{}
	for i := range brokerTable.rows {
		if !brokerTable.rows[i].internal {
			shown[brokerTable.rows[i].name] = true
		}
	}
	for _, layer := range []map[string]string{l.static, l.cluster, l.broker} {
		for name := range layer {
			shown[name] = true
		}
	}
	entries := make([]Entry, 0, len(shown))
	for name := range shown {
		entries = append(entries, l.describe(name))
	}
	slices.SortFunc(entries, byName)
	return entries
}

// DescribeClusterDefaults lists what the cluster-wide dynamic layer sets.
func (s *Settings) DescribeClusterDefaults() []Entry {
	l := s.layers.Load()
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(l.cluster)) {
		e := l.describe(name)
		e.Value, e.Null = l.cluster[name], e.Sensitive
		e.Synonyms = []Synonym{{Name: name, Value: e.Value, Null: e.Sensitive, Source: kmsg.ConfigSourceDynamicDefaultBrokerConfig}}
		entries = append(entries, e.finish())
	}
	return entries
}

func (l *layers) describe(name string) Entry {
	e := Entry{Name: name, Source: kmsg.ConfigSourceDefaultConfig, ReadOnly: true}
	p := brokerTable.byName[name]
	if p != nil {
		e.ReadOnly = p.mode == readOnly
	} else if base, ok := listenerOverride(name); ok && brokerTable.byName[base] != nil {
		p = brokerTable.byName[base]
	} else {
		p = dynamicOnly.byName[name]
	}
	if p == nil { // not a property we know: it may be somebody's secret
		e.Sensitive = true
	} else {
		e.Type, e.Doc, e.Sensitive = kmsg.ConfigType(p.kind), p.doc, p.kind == kindPassword
	}
	if e.Sensitive {
		e.Null = true
	} else if text, known := l.values.text(name); known {
		e.Value = text
	} else if raw, given := l.given(name); given && brokerTable.byName[name] == nil {
		e.Value = raw
	} else {
		e.Null = true
	}
	e.Synonyms = l.synonymsOf(name, e.Sensitive)
	return e.finish()
}

// given is the strongest layer's value of a property that the table lacks.
func (l *layers) given(name string) (string, bool) {
	for _, layer := range []map[string]string{l.broker, l.cluster, l.static} {
		if value, ok := layer[name]; ok {
			return value, true
		}
	}
	return "", false
}

// synonymsOf lists the layers of a broker property and of what stands for the
// same setting, strongest first. What is stronger than the property itself
// under another name is left out, as Kafka leaves it out.
func (l *layers) synonymsOf(name string, sensitive bool) []Synonym {
	all := synonyms(name)
	if base, ok := listenerOverride(name); ok {
		all = []string{name, base}
	}
	var found []Synonym
	add := func(layer map[string]string, source kmsg.ConfigSource) {
		for _, synonym := range all {
			if value, ok := layer[synonym]; ok {
				found = append(found, Synonym{Name: synonym, Value: value, Null: sensitive, Source: source})
			}
		}
	}
	add(l.broker, kmsg.ConfigSourceDynamicBrokerConfig)
	add(l.cluster, kmsg.ConfigSourceDynamicDefaultBrokerConfig)
	add(l.static, kmsg.ConfigSourceStaticBrokerConfig)
	for _, synonym := range all {
		if p := brokerTable.byName[synonym]; p != nil && p.value != null {
			found = append(found, Synonym{Name: synonym, Value: p.value, Null: sensitive, Source: kmsg.ConfigSourceDefaultConfig})
		}
	}
	first := slices.IndexFunc(found, func(s Synonym) bool { return s.Name == name })
	if first < 0 {
		return nil
	}
	return found[first:]
}

// finish fills in what follows from the synonyms.
func (e Entry) finish() Entry {
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
	e.IsDefault = e.Source == kmsg.ConfigSourceDefaultConfig
	return e
}

func byName(a, b Entry) int { return cmp.Compare(a.Name, b.Name) }
