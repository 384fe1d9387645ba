package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// command is what a command line asks for.
type command struct {
	name         string // run, list, report, help
	scale        scale
	scenarios    []scenario
	save         bool // results and report go into docs
	withoutKafka bool
}

// families stand for all scenarios whose names begin with them.
var families = []string{"group", "cluster"}

// parse reads a command line. A full run is saved, as it is made for the docs.
func parse(args []string) (command, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	c := command{name: "run", scale: scales()["quick"]}
	flags.BoolVar(&c.save, "save", false, "")
	flags.BoolVar(&c.withoutKafka, "without-kafka", false, "")
	var words []string
	for len(args) > 0 { // flags may stand anywhere
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return command{name: "help"}, nil
		} else if err != nil {
			return command{}, err
		}
		if args = flags.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if len(words) > 0 {
		switch words[0] {
		case "list", "report", "help":
			if len(words) > 1 {
				return command{}, fmt.Errorf("%s takes no %q", words[0], words[1])
			}
			c.name = words[0]
			return c, nil
		case "quick", "full":
			c.scale, c.save = scales()[words[0]], c.save || words[0] == "full"
			words = words[1:]
		}
	}
	var err error
	if c.scenarios, err = choose(words); err != nil {
		return command{}, err
	}
	if c.save && c.withoutKafka {
		return command{}, errors.New("a run without Kafka has nothing to compare and cannot be saved into docs")
	}
	return c, nil
}

// choose returns the scenarios of some names, or all of them.
func choose(words []string) ([]scenario, error) {
	all := scenarios()
	if len(words) == 0 {
		return all, nil
	}
	var chosen []scenario
	for _, word := range words {
		before := len(chosen)
		for _, s := range all {
			if s.name == word || slices.Contains(families, word) && strings.HasPrefix(s.name, word+"-") {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("there is no scenario %q; there are %s", word, strings.Join(names(all), ", "))
		}
	}
	return chosen, nil
}

func names(all []scenario) []string {
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	return names
}

const usage = `bench [quick|full] [--save] [--without-kafka] [SCENARIO|group|cluster...]
bench list
bench report
`

// run carries out a command line.
func run(args []string, out *os.File) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	docs := filepath.Join(harness.Repository(), "docs")
	switch c.name {
	case "help":
		fmt.Fprint(out, usage)
		return nil
	case "list":
		list(out)
		return nil
	case "report":
		r, err := readResults(resultsFile(docs))
		if err != nil {
			return err
		}
		return writeReport(docs, r)
	}
	if err := withoutPacing(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: TCP is paced here (%s) and cannot be had without: %v. Processor times of consuming will vary by half; run this as root\n", congestionControlled(), err)
	}
	r := &Results{}
	if c.save {
		if r, err = readResults(resultsFile(docs)); err != nil {
			return err
		}
	}
	keep := func() error { return nil }
	if c.save {
		keep = func() error {
			if err := r.write(resultsFile(docs)); err != nil {
				return err
			}
			return writeReport(docs, r)
		}
	}
	err = measure(c, r, newProgress(out, time.Now), keep)
	fmt.Fprintf(out, "\n%s", summary(r, c.scenarios))
	return err
}

func list(out io.Writer) {
	var quick, full time.Duration
	fmt.Fprintf(out, "%-16s  %6s  %6s\n", "", "quick", "full")
	for _, s := range scenarios() {
		fmt.Fprintf(out, "%-16s  %6s  %6s  %s\n", s.name, minutes(s.quick), minutes(s.full), s.about)
		quick, full = quick+s.quick, full+s.full
	}
	fmt.Fprintf(out, "%-16s  %6s  %6s\n", "in all", minutes(quick), minutes(full))
}

// measure runs scenarios one after the other. One that fails is told and does not
// keep the others from being run. keep is called after each.
func measure(c command, r *Results, p *progress, keep func() error) error {
	dir, err := os.MkdirTemp("", "gracchus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer harness.StopShared()
	b := &bench{scale: c.scale, brokers: []string{ours, kafka}, payload: payload{}, dir: dir, progress: p}
	if c.withoutKafka {
		b.brokers = b.brokers[:1]
	}
	defer b.endOnSignal()()
	var expected []time.Duration
	var all time.Duration
	for _, s := range c.scenarios {
		expected = append(expected, s.expected(c.scale))
		all += s.expected(c.scale)
	}
	p.plan(expected)
	p.print(fmt.Sprintf("%s: %s; about %s on two quiet cores", c.scale.name, strings.Join(names(c.scenarios), ", "), minutes(all)))
	this := thisRun(c.scale, time.Now())
	var failed []error
	for i, s := range c.scenarios {
		begin := time.Now()
		p.enter(s.name, i == 0)
		cells, err := b.do(s)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
			p.print(failed[len(failed)-1].Error())
			continue
		}
		took := time.Since(begin)
		p.print(fmt.Sprintf("%s took %s", s.name, minutes(took)))
		r.put(Measured{Scenario: s.name, Run: this, Seconds: int(took.Seconds()), Cells: cells})
		if err := keep(); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}
