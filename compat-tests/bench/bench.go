package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// What is measured. ours and oursFull differ in record.validation.
const (
	ours     = "gracchus"
	oursFull = "gracchus, full"
	kafka    = "kafka"
	theFloor = "floor"
)

// bench is a run. It gives the harness what a test would.
type bench struct {
	scale    scale
	brokers  []string // that are compared: ours, kafka
	payload  payload
	progress *progress
	dir      string // temporary

	// Of the scenario that runs:
	cells    []Cell
	running  map[string]*harness.Broker // by subject
	cleanups []func()
	failed   bool // Errorf was called

	made int // directories and topics, for their names

	mu      sync.Mutex
	started []*harness.Broker // all of them, for killAll
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

func (b *bench) Cleanup(f func())             { b.cleanups = append(b.cleanups, f) }
func (b *bench) Failed() bool                 { return false } // do tells what brokers said
func (b *bench) Logf(s string, args ...any)   { b.progress.print(fmt.Sprintf(s, args...)) }
func (b *bench) Skipf(s string, args ...any)  { b.Fatalf(s, args...) }
func (b *bench) Errorf(s string, args ...any) { b.failed = true; b.Logf(s, args...) }
func (b *bench) Fatal(args ...any)            { b.Fatalf("%s", fmt.Sprint(args...)) }
func (b *bench) Fatalf(s string, args ...any) { panic(failure{fmt.Errorf(s, args...)}) }

// do runs a scenario, cleans up after it and returns its cells.
func (b *bench) do(s scenario) (cells []Cell, err error) {
	b.cells, b.running, b.failed = nil, map[string]*harness.Broker{}, false
	defer func() {
		for _, f := range slices.Backward(b.cleanups) {
			f()
		}
		b.cleanups = nil
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
		if err != nil {
			b.showLogs()
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

// showLogs shows the last lines of the brokers that run.
func (b *bench) showLogs() {
	for subject, broker := range b.running {
		b.progress.print("the last lines of " + subject + ":")
		for line := range strings.Lines(broker.Tail(20)) {
			b.progress.print("  " + clip(strings.TrimSpace(line), 200))
		}
	}
}

// add keeps what was measured.
func (b *bench) add(c Cell) { b.cells = append(b.cells, c) }

// properties of every broker that is measured.
var properties = []string{
	"auto.create.topics.enable=false",
	"zookeeper.session.timeout.ms=60000", // a machine that stands still for a while must not spoil a run
	"log.segment.delete.delay.ms=100",    // or deleting would be measured with what comes a minute later
}

// start starts a broker with an empty directory.
func (b *bench) start(subject string, more ...string) *harness.Broker {
	o := harness.Options{Properties: slices.Concat(properties, more), Measured: true}
	if subject == kafka {
		o.ZooKeeper = harness.ZooKeeper(b)
	}
	return b.restart(subject, o)
}

// restart starts a broker on what another has left.
func (b *bench) restart(subject string, o harness.Options) *harness.Broker {
	var broker *harness.Broker
	switch subject {
	case kafka:
		broker = harness.StartKafka(b, o)
	case oursFull:
		o.Properties = append(slices.Clone(o.Properties), "record.validation=full")
		fallthrough
	default:
		broker = harness.StartGracchus(b, o)
	}
	b.running[subject] = broker
	b.mu.Lock()
	defer b.mu.Unlock()
	b.started = append(b.started, broker)
	return broker
}

// killAll ends every broker, for a run that is interrupted. They do not get the
// terminal's signals.
func (b *bench) killAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, broker := range b.started {
		if !broker.Ended() {
			broker.Kill()
		}
	}
}

// startAll starts all brokers that are compared.
func (b *bench) startAll() map[string]*harness.Broker {
	for _, subject := range b.brokers {
		b.progress.say("starting " + subject)
		b.start(subject)
	}
	return b.running
}

// topic is a name that was not used before.
func (b *bench) topic() string {
	b.made++
	return fmt.Sprintf("bench-%d", b.made)
}

// drop deletes a topic and waits until its files are gone.
func (b *bench) drop(broker *harness.Broker, topic string) error {
	if err := deleteTopics(broker.Addr, topic); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(broker.Options.Dirs[0], topic+"*"))
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still there 30 s after it was deleted", left[0])
		}
	}
}

// turn measures one subject once.
type turn struct {
	subject string
	measure func() (Values, error)
}

// rounds has each subject take its turn in each round. Every other round goes
// backwards, so that none is always measured after the same other.
func (b *bench) rounds(what string, n int, turns []turn) ([]Round, error) {
	all := make([]Round, 0, n)
	for i := range n {
		round := Round{}
		order := slices.Clone(turns)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, t := range order {
			b.progress.say(fmt.Sprintf("%s, round %d of %d: %s", what, i+1, n, t.subject))
			values, err := t.measure()
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", what, t.subject, err)
			}
			round[t.subject] = values
		}
		all = append(all, round)
	}
	return all, nil
}

// A subject is warm when another time takes it no less than this fraction of what
// it took before.
const warm = 0.93

// warmUp repeats each turn until its value stops to fall, or as often as the scale
// allows.
func (b *bench) warmUp(what, value string, turns []turn) error {
	for _, t := range turns {
		best := math.Inf(1)
		for i := range b.scale.warmUps {
			b.progress.say(fmt.Sprintf("%s, warm-up %d: %s", what, i+1, t.subject))
			values, err := t.measure()
			if err != nil {
				return fmt.Errorf("%s, warm-up of %s: %w", what, t.subject, err)
			}
			if values[value] > warm*best {
				break
			}
			best = values[value]
		}
	}
	return nil
}

// spent is the processor time that a process uses while something is done.
func spent(pid int, do func() error) (time.Duration, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := cpuTime(pid)
	return after - before, err
}
