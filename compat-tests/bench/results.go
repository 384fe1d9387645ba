package main

import (
	"encoding/json"
	"os"
)

// Results are what a run measured, kept as it was measured: every median and
// ratio is computed from it when a report is made.
type Results struct {
	Date    string // of the run, as 2006-01-02
	Scale   string // quick or full
	Machine Machine
	Cells   []Cell
}

// Machine is what a reader has to know of where the numbers come from.
type Machine struct {
	CPU      string
	Cores    int
	MemoryGB int
	Kernel   string
	Go       string
	Kafka    string
	Java     string
	Gracchus string // commit
}

// A Cell is one thing that was measured of each subject, round after round.
type Cell struct {
	Scenario string
	Name     string            // unique in the scenario
	Is       map[string]string `json:",omitempty"` // what tells the cell from others, such as codec: zstd
	Rounds   []Round
}

// A Round has the values of each subject. They were measured one after the other.
type Round map[string]Values

// Values by the name of what was measured; the name ends with the unit.
type Values map[string]float64

// add puts a cell in the place of the one of the same name.
func (r *Results) add(c Cell) {
	for i := range r.Cells {
		if r.Cells[i].Scenario == c.Scenario && r.Cells[i].Name == c.Name {
			r.Cells[i] = c
			return
		}
	}
	r.Cells = append(r.Cells, c)
}

func (r *Results) write(file string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(content, '\n'), 0o644)
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

// ratios are those of one value of two subjects, round by round.
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

// overFloor are the ratios of what two subjects need more than the floor, round by
// round.
func (c Cell) overFloor(subject, to, value string) []float64 {
	var all []float64
	for _, round := range c.Rounds {
		a, hasA := round[subject][value]
		b, hasB := round[to][value]
		floor, hasFloor := round[theFloor][value]
		if hasA && hasB && hasFloor && b > floor {
			all = append(all, (a-floor)/(b-floor))
		}
	}
	return all
}
