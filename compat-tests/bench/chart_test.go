package main

import (
	"math"
	"strings"
	"testing"
)

func TestScales(t *testing.T) {
	for _, test := range []struct {
		scale axisScale
		ticks []float64
	}{
		{linearScale(30), []float64{0, 5, 10, 15, 20, 25, 30}},
		{linearScale(9), []float64{0, 2, 4, 6, 8}},
		{linearScale(0.42), []float64{0, 0.1, 0.2, 0.3, 0.4}},
		{linearScale(470), []float64{0, 100, 200, 300, 400}},
		{logScale(0.3, 40), []float64{0.1, 1, 10}},
		{logScale(1, 100), []float64{0.1, 1, 10, 100}}, // the least value gets a bar, too
	} {
		if !near(test.scale.ticks, test.ticks) {
			t.Errorf("ticks at %v, not %v", test.scale.ticks, test.ticks)
		}
		for i, tick := range test.scale.ticks {
			if at := test.scale.place(tick); at < 0 || at > 1 || i > 0 && at <= test.scale.place(test.scale.ticks[i-1]) {
				t.Errorf("tick %v is at %v", tick, at)
			}
		}
	}
	if at := logScale(0.1, 10).place(1); math.Abs(at-2.0/3) > 1e-9 {
		t.Errorf("1 stands at %v", at)
	}
}

func TestChart(t *testing.T) {
	c := chart{title: "A & B", axis: "s", groups: []group{
		{"one", []bar{{ours, 1}, {kafka, 4}}},
		{"two", []bar{{ours, math.NaN()}, {kafka, 2}}},
	}}
	svg := c.svg()
	wellFormed(t, svg)
	for _, want := range []string{"A &amp; B", `class="s0" x="45" y="74" width="178.8"`, `class="s2" x="45" y="90" width="715.0"`, ">4.00<", ">two<", "Kafka 3.9.2"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture has no %s:\n%s", want, svg)
		}
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, ">floor<") {
		t.Errorf("the picture shows what was not measured:\n%s", svg)
	}
	wellFormed(t, chart{title: "empty", log: true}.svg())
}
