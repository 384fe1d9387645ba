package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// bench is a run. It gives the harness what a test would.
type bench struct {
	scale    scale
	brokers  []string // that are compared: ours, kafka
	payload  payload
	progress *progress
	dir      string // temporary

	// Of the scenario that runs:
	cells   []Cell
	running map[string]cluster // by subject
	failed  bool               // Errorf was called

	made int // directories and topics, for their names

	mu       sync.Mutex
	cleanups []func()
}

// failure is what Fatalf panics with and do recovers.
type failure struct{ error }

func (b *bench) Helper() {}

// TempDir makes a new directory that is removed after the scenario.
func (b *bench) TempDir() string {
	b.made++
	dir := filepath.Join(b.dir, fmt.Sprint(b.made))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		panic(failure{err})
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Cleanup keeps what is to be done after the scenario, or on a signal.
func (b *bench) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}

// cleanUp must be called with mu held.
func (b *bench) cleanUp() {
	for _, f := range slices.Backward(b.cleanups) {
		f()
	}
	b.cleanups = nil
}

func (b *bench) Failed() bool                 { return false } // do tells what brokers said
func (b *bench) Logf(s string, args ...any)   { b.progress.print(fmt.Sprintf(s, args...)) }
func (b *bench) Skipf(s string, args ...any)  { b.Fatalf(s, args...) }
func (b *bench) Errorf(s string, args ...any) { b.failed = true; b.Logf(s, args...) }
func (b *bench) Fatal(args ...any)            { b.Fatalf("%s", fmt.Sprint(args...)) }
func (b *bench) Fatalf(s string, args ...any) { panic(failure{fmt.Errorf(s, args...)}) }

// do runs a scenario, cleans up after it and returns its cells.
func (b *bench) do(s scenario) (cells []Cell, err error) {
	b.cells, b.running, b.failed = nil, map[string]cluster{}, false
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if err != nil {
			b.showLogs()
		}
		b.cleanUp()
	}()
	defer func() {
		switch stopped := recover().(type) {
		case nil:
		case failure:
			err = stopped.error
		default:
			panic(stopped)
		}
		if err == nil && b.failed {
			err = errors.New("see above")
		}
	}()
	if err := s.run(b); err != nil {
		return nil, err
	}
	if err := b.memoryAtTheEnd(); err != nil {
		return nil, err
	}
	return b.cells, nil
}

// endOnSignal has SIGINT and SIGTERM end the run at once, and whatever it has
// started: a terminal's signals do not reach the brokers. It returns what undoes
// this.
func (b *bench) endOnSignal() (undo func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, sent := <-signals; sent {
			b.mu.Lock() // for good: nothing is started or shown any more
			b.progress.print("interrupted")
			b.cleanUp()
			harness.StopShared()
			os.RemoveAll(b.dir)
			os.Exit(130)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
	}
}

// showLogs shows the last lines of the brokers that run.
func (b *bench) showLogs() {
	for subject, c := range b.running {
		for i, broker := range c {
			b.progress.print(fmt.Sprintf("the last lines of %s, broker %d:", subject, i+1))
			for line := range strings.Lines(broker.Tail(20)) {
				b.progress.print("  " + clip(strings.TrimSpace(line), 200))
			}
		}
	}
}

// add keeps what was measured.
func (b *bench) add(c Cell) { b.cells = append(b.cells, c) }
