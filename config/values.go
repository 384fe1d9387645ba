package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// values are broker properties that have been parsed: canonical texts by name.
// A property without a value is absent.
type values map[string]string

// parseAll parses every property of the table, from raw where it is given there
// and else from its default. It stops at the first that is wrong.
func (t table) parseAll(raw map[string]string) (values, *invalidValue) {
	v := make(values, len(t.rows))
	for i := range t.rows {
		p := &t.rows[i]
		given, ok := raw[p.name]
		if !ok {
			if p.value == null {
				continue
			}
			given = p.value
		}
		text, invalid := p.parse(given)
		if invalid != nil {
			return nil, invalid
		}
		v[p.name] = text
	}
	return v, nil
}

func (v values) text(name string) (string, bool) {
	text, ok := v[name]
	return text, ok
}

// The getters below are for properties that the table gives a type and a
// default, so that there is nothing left to fail.

func (v values) string(name string) string { return v[name] }

func (v values) bool(name string) bool { return v[name] == "true" }

func (v values) int64(name string) int64 {
	n, err := strconv.ParseInt(v[name], 10, 64)
	if err != nil {
		panic("config: " + name + " is no number in the table: " + err.Error())
	}
	return n
}

func (v values) int32(name string) int32 { return int32(v.int64(name)) }

func (v values) int16(name string) int16 { return int16(v.int64(name)) }

func (v values) float64(name string) float64 {
	f, _ := parseDouble(v[name])
	return f
}

func (v values) list(name string) []string { return splitNonEmpty(v[name]) }

// millis is a time in milliseconds as a duration. What a duration cannot hold
// becomes the longest there is, 292 years.
func (v values) millis(name string) time.Duration { return v.duration(name, time.Millisecond) }

// seconds is millis for a time in seconds.
func (v values) seconds(name string) time.Duration { return v.duration(name, time.Second) }

// minutes is millis for a time in minutes.
func (v values) minutes(name string) time.Duration { return v.duration(name, time.Minute) }

func (v values) duration(name string, unit time.Duration) time.Duration {
	n := v.int64(name)
	if n > math.MaxInt64/int64(unit) {
		return math.MaxInt64
	}
	return time.Duration(n) * unit
}

// synonyms lists the properties that stand for the same setting as name,
// strongest first, name included.
func synonyms(name string) []string {
	switch name {
	case "log.roll.ms", "log.roll.hours":
		return []string{"log.roll.ms", "log.roll.hours"}
	case "log.roll.jitter.ms", "log.roll.jitter.hours":
		return []string{"log.roll.jitter.ms", "log.roll.jitter.hours"}
	case "log.flush.interval.ms":
		return []string{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"}
	case "log.retention.ms", "log.retention.minutes", "log.retention.hours":
		return []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"}
	}
	return []string{name}
}

// listenerOverride splits "listener.name.<listener>.<property>", which sets a
// property for one listener.
func listenerOverride(name string) (base string, ok bool) {
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return "", false
	}
	_, base, ok = strings.Cut(rest, ".")
	return base, ok
}

// override lays stronger values over base. A property that is set takes its
// synonyms out of base first: log.retention.hours set for a running broker must
// win over log.retention.ms in its file.
func override(base, stronger map[string]string) {
	for name := range stronger {
		for _, s := range synonyms(name) {
			delete(base, s)
		}
	}
	for name, value := range stronger {
		base[name] = value
	}
}
