package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells what is being measured, how far it is and how long it will
// take: on a terminal in one line that changes, elsewhere in a line for each
// part of a scenario.
type progress struct {
	out   io.Writer
	width int // of the terminal; 0: none
	now   func() time.Time

	begin    time.Time
	ahead    []time.Duration // what is expected of the scenarios from this one on
	expected time.Duration   // of those that are done
	scenario string
	part     int // of parts
	parts    int
}

func newProgress(out io.Writer, now func() time.Time) *progress {
	p := &progress{out: out, now: now}
	if file, is := out.(*os.File); is {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil {
			p.width = int(size.Col)
		}
	}
	return p
}

// plan says what is to come.
func (p *progress) plan(expected []time.Duration) {
	p.ahead, p.begin = expected, p.now()
}

// enter begins the next scenario of the plan.
func (p *progress) enter(scenario string, first bool) {
	if !first {
		p.expected += p.ahead[0]
		p.ahead = p.ahead[1:]
	}
	p.scenario, p.part, p.parts = scenario, 0, 1
}

// at begins part i of n, counted from 0, of a scenario.
func (p *progress) at(i, n int, what string) {
	p.part, p.parts = i, n
	if p.width == 0 {
		fmt.Fprintf(p.out, "%s %s\n", p.now().Format(time.TimeOnly), p.line(what))
		return
	}
	p.say(what)
}

// say tells what is being done just now.
func (p *progress) say(what string) {
	if p.width > 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%s", clip(p.line(what), p.width-1))
	}
}

// print writes a line that stays.
func (p *progress) print(line string) {
	if p.width > 0 {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, line)
}

func (p *progress) line(what string) string {
	share, left := p.left()
	return fmt.Sprintf("%3.0f%%, %s left · %s %d/%d · %s", 100*share, minutes(left), p.scenario, p.part+1, p.parts, what)
}

// left is the share of all work that is done and the time that the rest takes, if
// it takes as much more than expected as what is done did.
func (p *progress) left() (share float64, left time.Duration) {
	done := p.expected
	all := done
	for _, d := range p.ahead {
		all += d
	}
	if len(p.ahead) > 0 {
		done += time.Duration(float64(p.ahead[0]) * float64(p.part) / float64(p.parts))
	}
	if all == 0 {
		return 1, 0
	}
	share = float64(done) / float64(all)
	pace := 1.0
	if share > 0.05 {
		pace = float64(p.now().Sub(p.begin)) / float64(done)
	}
	return share, time.Duration(float64(all-done) * pace)
}

func minutes(d time.Duration) string {
	if d < 90*time.Second {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// clip cuts a line to a number of characters.
func clip(line string, width int) string {
	runes := []rune(line)
	if len(runes) <= width {
		return line
	}
	return strings.TrimRight(string(runes[:max(0, width-1)]), " ") + "…"
}
