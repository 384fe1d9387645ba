package main

import (
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func threeRounds() Cell {
	return Cell{Name: "x", Rounds: []Round{
		{ours: {cpuPerGB: 3}, kafka: {cpuPerGB: 10}, theFloor: {cpuPerGB: 1}},
		{ours: {cpuPerGB: 4}, kafka: {cpuPerGB: 8}, theFloor: {cpuPerGB: 2}},
		{ours: {cpuPerGB: 5}, kafka: {cpuPerGB: 2}, theFloor: {cpuPerGB: 2}},
	}}
}

func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
}

func TestRatios(t *testing.T) {
	c := threeRounds()
	if got := c.ratios(ours, kafka, cpuPerGB); !near(got, []float64{0.3, 0.5, 2.5}) {
		t.Errorf("ratios: %v", got)
	}
	if got := c.ratio(ours, kafka, cpuPerGB); got != 0.5 {
		t.Errorf("ratio: %v", got)
	}
	// Medians are 4, 8 and 2; of the last round alone, 5, 2 and 2.
	if got := c.overFloor(ours, kafka, cpuPerGB); got.value != 2.0/6 || got.low > 2.0/9 || !math.IsInf(got.high, 1) || got.String() != "0.33 (0.22–∞)" {
		t.Errorf("over the floor: %v", got)
	}
	c.Rounds[1] = Round{ours: {cpuPerGB: 4}}
	if got := c.ratios(ours, kafka, cpuPerGB); !near(got, []float64{0.3, 2.5}) {
		t.Errorf("ratios without Kafka's second: %v", got)
	}
	if got := c.overFloor(ours, kafka, cpuPerGB); math.Abs(got.value-2.5/4.5) > 1e-9 {
		t.Errorf("over the floor without the second round: %v", got)
	}
	if got := (Cell{}).overFloor(ours, kafka, cpuPerGB); got.String() != missing {
		t.Errorf("over the floor of nothing: %v", got)
	}
	if got := c.median(ours, cpuPerGB); got != 4 {
		t.Errorf("median: %v", got)
	}
}

func TestResultsAreStored(t *testing.T) {
	file := filepath.Join(t.TempDir(), "performance", "results.json")
	if r, err := readResults(file); err != nil || len(r.Scenarios) != 0 {
		t.Fatalf("before the first run: %v %v", r, err)
	}
	r := &Results{}
	r.put(Measured{Scenario: "produce", Run: Run{Date: "2026-01-01"}, Cells: []Cell{threeRounds()}})
	fine := threeRounds()
	fine.Rounds[0][ours][cpuPerGB] = 4104.5001 // which another digit would round to another number
	r.put(Measured{Scenario: "consume", Cells: []Cell{fine}})
	r.put(Measured{Scenario: "produce", Run: Run{Date: "2026-01-02"}, Seconds: 3, Cells: []Cell{threeRounds(), {Name: "y"}}})
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("stored %+v\nread %+v", r, got)
	}
	if len(got.Scenarios) != 2 || got.of("produce").Run.Date != "2026-01-02" || len(got.of("produce").Cells) != 2 {
		t.Errorf("the second run of produce must replace the first: %+v", got)
	}
	if c := got.of("latency").cell("nothing"); !math.IsNaN(c.median(ours, p99)) {
		t.Errorf("what was not measured has a median: %v", c)
	}
}
