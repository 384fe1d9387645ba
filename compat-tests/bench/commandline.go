package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// run carries out a command line.
func run(args []string, out io.Writer) error {
	s, chosen, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gracchus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{scale: s, payload: payload{}, dir: dir, progress: &progress{out: out}, results: &Results{Date: time.Now().Format(time.DateOnly), Scale: s.name}}
	defer harness.StopShared()
	for _, scenario := range chosen {
		if err := b.do(scenario); err != nil {
			return fmt.Errorf("%s: %w", scenario.name, err)
		}
	}
	printCells(out, b.results)
	return nil
}

func parse(args []string) (scale, []scenario, error) {
	s := quick
	if len(args) > 0 && (args[0] == quick.name || args[0] == full.name) {
		if args[0] == full.name {
			s = full
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return s, scenarios, nil
	}
	var chosen []scenario
	for _, name := range args {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return s, nil, fmt.Errorf("there is no scenario %q", name)
		}
		chosen = append(chosen, scenarios[i])
	}
	return s, chosen, nil
}

func printCells(out io.Writer, r *Results) {
	for _, c := range r.Cells {
		fmt.Fprintf(out, "%-70s", strings.TrimPrefix(c.Name, c.Scenario+" "))
		for _, subject := range []string{ours, oursFull, kafka, theFloor} {
			if values := c.column(subject, cpuPerGB); len(values) > 0 {
				fmt.Fprintf(out, "  %s %.2f", strings.TrimPrefix(subject, "gracchus, record.validation="), median(values))
			}
		}
		fmt.Fprintf(out, "  ratio %.2f  over the floor %.2f  MB/s %.0f to %.0f, batch %.0f\n", median(c.ratios(ours, kafka, cpuPerGB)), median(c.overFloor(ours, kafka, cpuPerGB)),
			median(c.column(ours, rate)), median(c.column(kafka, rate)), median(c.column(ours, batchIs)))
	}
}
