package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	all := names(scenarios())
	for _, test := range []struct {
		line      string
		name      string
		scale     string
		scenarios []string
		save      bool
		alone     bool
	}{
		{"", "run", "quick", all, false, false},
		{"quick", "run", "quick", all, false, false},
		{"full", "run", "full", all, true, false},
		{"quick produce consume", "run", "quick", []string{"produce", "consume"}, false, false},
		{"latency", "run", "quick", []string{"latency"}, false, false},
		{"full memory", "run", "full", []string{"memory"}, true, false},
		{"full cluster", "run", "full", []string{"cluster-produce", "cluster-latency", "cluster-failover", "cluster-shutdown", "cluster-transactions", "cluster-memory"}, true, false},
		{"group", "run", "quick", []string{"group-commits", "group-members", "group-load"}, false, false},
		{"startup cluster-memory", "run", "quick", []string{"startup", "cluster-memory"}, false, false},
		{"quick --save startup", "run", "quick", []string{"startup"}, true, false},
		{"--without-kafka produce", "run", "quick", []string{"produce"}, false, true},
		{"produce --without-kafka", "run", "quick", []string{"produce"}, false, true},
		{"list", "list", "quick", nil, false, false},
		{"report", "report", "quick", nil, false, false},
		{"--help", "help", "", nil, false, false},
	} {
		c, err := parse(strings.Fields(test.line))
		if err != nil {
			t.Errorf("%q: %v", test.line, err)
			continue
		}
		if c.name != test.name || c.scale.name != test.scale || !slices.Equal(names(c.scenarios), test.scenarios) || c.save != test.save || c.withoutKafka != test.alone {
			t.Errorf("%q is read as %s %s %v, save %v, without Kafka %v", test.line, c.name, c.scale.name, names(c.scenarios), c.save, c.withoutKafka)
		}
	}
	for line, want := range map[string]string{
		"quick prodce":             `there is no scenario "prodce"; there are produce, consume`,
		"report produce":           `report takes no "produce"`,
		"produce full":             `there is no scenario "full"`,
		"--fast":                   "not defined: -fast",
		"--save --without-kafka":   "nothing to compare",
		"full --without-kafka":     "nothing to compare",
		"produce quick --whatever": "not defined",
	} {
		if _, err := parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want an error with %q", line, err, want)
		}
	}
}

func TestScenariosHaveDifferentNames(t *testing.T) {
	all := names(scenarios())
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("scenarios: %v", all)
	}
}
