package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a server that a test started. Its output is kept, and shown when
// the test fails.
type Process struct {
	t    TB
	name string
	cmd  *exec.Cmd

	mu    sync.Mutex
	lines []string
	grown chan struct{} // closed and replaced when a line was added

	ended chan struct{} // closed when the process has ended and its output is read
	err   error         // how it ended; read it after ended
}

// keptLines and longestLine, in bytes, bound what is kept of a process's output.
const (
	keptLines   = 20000
	longestLine = 64 << 10
)

// StartProcess runs a command, which ends with the test.
func StartProcess(t TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	return start(t, name, cmd)
}

// start runs a command in a process group of its own, so that killing it takes
// along what it started.
func start(t TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, name: name, cmd: cmd, grown: make(chan struct{}), ended: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	write.Close()
	go func() {
		defer close(p.ended)
		p.readLines(read)
		p.err = cmd.Wait()
		read.Close()
	}()
	t.Cleanup(func() {
		p.Kill()
		switch {
		case os.Getenv("COMPAT_LOGS") != "":
			t.Logf("%s said:\n%s", name, p.Output())
		case t.Failed():
			t.Logf("the last lines of %s:\n%s", name, p.Tail(60))
		}
	})
	return p
}

// readLines keeps the beginning of each line and reads on to the end of all: a
// process whose output is not read stops.
func (p *Process) readLines(output io.Reader) {
	lines := bufio.NewReaderSize(output, longestLine)
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		p.add(string(line))
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
	}
}

func (p *Process) add(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) < keptLines {
		p.lines = append(p.lines, line)
	}
	close(p.grown)
	p.grown = make(chan struct{})
}

// WaitFor waits for a line of output that matches, and returns the submatches.
// It fails the test if the process ends first or the time is up.
func (p *Process) WaitFor(pattern string, limit time.Duration) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(limit)
	seen := 0
	for {
		p.mu.Lock()
		lines, grown := p.lines, p.grown
		p.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if m := re.FindStringSubmatch(lines[seen]); m != nil {
				return m
			}
		}
		select {
		case <-grown:
		case <-p.ended:
			p.t.Fatalf("%s ended (%v) before it said %q:\n%s", p.name, p.err, pattern, p.Tail(40))
		case <-deadline:
			p.t.Fatalf("%s did not say %q within %v:\n%s", p.name, pattern, limit, p.Tail(40))
		}
	}
}

// Kill ends the process at once, as kill -9 does. It may have ended before.
func (p *Process) Kill() {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.t.Errorf("kill %s: %v", p.name, err)
	}
	<-p.ended
}

// Pause stops the process in its tracks, as SIGSTOP does, until Resume.
func (p *Process) Pause() { p.tell(syscall.SIGSTOP) }

// Resume lets a paused process go on, which does not know how long it has been away.
func (p *Process) Resume() { p.tell(syscall.SIGCONT) }

func (p *Process) tell(signal syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, signal); err != nil {
		p.t.Errorf("%v to %s: %v", signal, p.name, err)
	}
}

// Signal asks the process to end, with SIGTERM or SIGINT, and waits until it
// has. It fails the test if that takes longer than limit.
func (p *Process) Signal(signal syscall.Signal, limit time.Duration) error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return p.Wait(fmt.Sprint("after ", signal), limit)
}

// Wait waits until the process has ended, for the reason given. It fails the test if that
// takes longer than limit.
func (p *Process) Wait(why string, limit time.Duration) error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(limit):
		p.t.Errorf("%s did not end within %v %s:\n%s", p.name, limit, why, p.Tail(40))
		p.Kill()
		return p.err
	}
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended says whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Output is what the process has said so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// Tail is the last lines of Output.
func (p *Process) Tail(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines[max(0, len(p.lines)-n):], "\n")
}

// Run runs a command to its end and returns its output. It fails the test if
// the command fails or the time is up.
func Run(t TB, limit time.Duration, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !timer.Stop() {
		t.Fatalf("%s took longer than %v:\n%s", strings.Join(cmd.Args, " "), limit, out.String())
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return out.String()
}
