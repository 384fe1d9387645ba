package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Results are what was measured, kept as it was measured: every median and ratio
// is computed from it when a report is made. Each scenario has its last run.
type Results struct {
	Scenarios []Measured
}

// Measured is one run of a scenario.
type Measured struct {
	Scenario string
	Run      Run
	Seconds  int // that it took
	Cells    []Cell
}

// Run is what a reader has to know of where the numbers come from.
type Run struct {
	Date     string // as 2006-01-02
	Scale    string // quick or full
	CPU      string
	Cores    int
	MemoryGB int
	Kernel   string
	Go       string
	Java     string
	Kafka    string
	Gracchus string  // commit
	TCP      string  `json:",omitempty"` // what controls congestion; unknown before that mattered
	Load     float64 // average of the minute before: above 1 the machine had something else to do
}

// A Cell is one thing that was measured of each subject, round after round.
type Cell struct {
	Name   string            // unique in the scenario
	Is     map[string]string `json:",omitempty"` // what tells the cell from others, such as codec: zstd
	Rounds []Round
}

// A Round has the values of each subject. They were measured one after the other.
type Round map[string]Values

// Values by the name of what was measured; the name ends with the unit.
type Values map[string]float64

func readResults(file string) (*Results, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &Results{}, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Results{}
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("%s is not what a run stored: %w", file, err)
	}
	return r, nil
}

// write stores the results with a line for each cell.
func (r *Results) write(file string) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	for _, begin := range []string{`{"Scenario":`, `{"Name":`} {
		content = bytes.ReplaceAll(content, []byte(begin), []byte("\n"+begin))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(content, '\n'), 0o644)
}

// MarshalJSON writes the six digits that put leaves.
func (v Values) MarshalJSON() ([]byte, error) {
	short := make(map[string]json.Number, len(v))
	for name, value := range v {
		short[name] = json.Number(sixDigits(value))
	}
	return json.Marshal(short)
}

// sixDigits that count, which is more than are right.
func sixDigits(value float64) string { return strconv.FormatFloat(value, 'g', 6, 64) }

// put takes a scenario's run in place of its last one. Its values are rounded to what is
// stored: the report on them is the same before and after.
func (r *Results) put(m Measured) {
	for _, c := range m.Cells {
		for _, round := range c.Rounds {
			for _, values := range round {
				for name, value := range values {
					values[name], _ = strconv.ParseFloat(sixDigits(value), 64)
				}
			}
		}
	}
	i := slices.IndexFunc(r.Scenarios, func(old Measured) bool { return old.Scenario == m.Scenario })
	if i < 0 {
		r.Scenarios = append(r.Scenarios, m)
		return
	}
	r.Scenarios[i] = m
}

// of is a scenario's last run; one without cells if there was none.
func (r *Results) of(scenario string) Measured {
	for _, m := range r.Scenarios {
		if m.Scenario == scenario {
			return m
		}
	}
	return Measured{Scenario: scenario}
}

// cell by its name, without rounds if it was not measured.
func (m Measured) cell(name string) Cell {
	for _, c := range m.Cells {
		if c.Name == name {
			return c
		}
	}
	return Cell{Name: name}
}

// column is what one value of a subject was in each round that has it.
func (c Cell) column(subject, value string) []float64 {
	var all []float64
	for _, round := range c.Rounds {
		if v, has := round[subject][value]; has {
			all = append(all, v)
		}
	}
	return all
}

func (c Cell) median(subject, value string) float64 { return median(c.column(subject, value)) }

// ratios of one value of two subjects, round by round.
func (c Cell) ratios(subject, to, value string) []float64 {
	var all []float64
	for _, round := range c.Rounds {
		a, hasA := round[subject][value]
		b, hasB := round[to][value]
		if hasA && hasB && b > 0 {
			all = append(all, a/b)
		}
	}
	return all
}

// ratio is the median of the ratios.
func (c Cell) ratio(subject, to, value string) float64 { return median(c.ratios(subject, to, value)) }

// overFloor is what one subject needs more than the floor, of what another one does, by
// their medians: in a single round the difference of two that need little more than the
// floor can be anything. It is infinite if the other one needs no more than the floor.
func (c Cell) overFloor(subject, to, value string) estimate {
	var a, b, floor []float64
	for _, round := range c.Rounds {
		ofA, hasA := round[subject][value]
		ofB, hasB := round[to][value]
		ofFloor, hasFloor := round[theFloor][value]
		if hasA && hasB && hasFloor {
			a, b, floor = append(a, ofA), append(b, ofB), append(floor, ofFloor)
		}
	}
	return bootstrap(len(a), func(rounds []int) float64 {
		least := median(pick(floor, rounds))
		if of := median(pick(b, rounds)) - least; of > 0 {
			return (median(pick(a, rounds)) - least) / of
		}
		return math.Inf(1)
	})
}

func pick(values []float64, which []int) []float64 {
	picked := make([]float64, len(which))
	for i, w := range which {
		picked[i] = values[w]
	}
	return picked
}
