package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progress tells what is being measured: on a terminal in one line that changes,
// elsewhere in a line for each scenario.
type progress struct {
	out      io.Writer
	terminal bool
	width    int
}

func (p *progress) print(line string) {
	p.clear()
	fmt.Fprintln(p.out, line)
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", p.width))
	}
}

func (p *progress) say(what string) {
	if p.terminal {
		p.clear()
		fmt.Fprint(p.out, what)
		return
	}
	fmt.Fprintln(p.out, time.Now().Format("15:04:05"), what)
}

func (p *progress) step(what string) { p.say(what) }
