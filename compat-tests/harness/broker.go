// Package harness starts brokers, Gracchus's and Kafka's, as processes of their
// own and looks at them from outside only.
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options say how a broker is started. The zero value is one with an embedded
// ZooKeeper and a data directory of its own.
type Options struct {
	ZooKeeper  string   // connect string; "" means embedded
	Dirs       []string // data directories; none means a new one
	Properties []string // further name=value
	OpenFiles  int      // how many files Gracchus may have open (ulimit -n); 0: as many as the test
	Measured   bool     // Kafka's JVM is set as its own start script sets it, not to start fast
}

// Broker is a running broker.
type Broker struct {
	*Process
	Addr    string // host:port of its PLAINTEXT listener
	Options Options
}

// A Target is what the tests of clients run against.
type Target struct {
	Name  string
	Start func(t TB, o Options) *Broker
}

// Targets are the brokers that COMPAT_TARGETS names, comma-separated: gracchus
// (with its embedded ZooKeeper), gracchus-zookeeper (with an Apache ZooKeeper,
// or the one of ZOOKEEPER_CONNECT) and kafka, which is how the tests themselves
// are checked. Not set, it is the first two.
func Targets(t TB) []Target {
	t.Helper()
	all := []Target{
		{"gracchus", StartGracchus},
		{"gracchus-zookeeper", func(t TB, o Options) *Broker { return StartGracchus(t, o.on(ZooKeeper(t))) }},
		{"kafka", func(t TB, o Options) *Broker { return StartKafka(t, o.on(ZooKeeper(t))) }},
	}
	names := os.Getenv("COMPAT_TARGETS")
	if names == "" {
		return all[:2]
	}
	var chosen []Target
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(t Target) bool { return t.Name == name })
		if i < 0 {
			t.Fatalf("COMPAT_TARGETS: there is no %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen
}

func (o Options) on(zookeeper string) Options {
	if o.ZooKeeper == "" {
		o.ZooKeeper = zookeeper
	}
	return o
}

// properties are those both brokers are given.
func (o Options) properties() []string {
	return append([]string{
		"broker.id=1", "listeners=PLAINTEXT://127.0.0.1:0", "log.dirs=" + strings.Join(o.Dirs, ","),
		"offsets.topic.replication.factor=1", "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}, o.Properties...)
}

// startLimit is far more than a broker takes to start. One that is measured may have
// 10,000 partitions to recover after a kill, for which Kafka needs over a minute.
func (o Options) startLimit() time.Duration {
	if o.Measured {
		return 5 * time.Minute
	}
	return time.Minute
}

// StartGracchus starts our broker and waits until it is ready.
func StartGracchus(t TB, o Options) *Broker {
	t.Helper()
	b := launchGracchus(t, o)
	b.untilReady()
	return b
}

// launchGracchus starts our broker and does not wait for it.
func launchGracchus(t TB, o Options) *Broker {
	t.Helper()
	o = o.withDir(t)
	args := []string{"start"}
	if level := os.Getenv("COMPAT_LOGS"); level != "" { // debug, say
		args = append(args, "--log-level", level)
	}
	zookeeper := o.ZooKeeper
	if zookeeper == "" {
		zookeeper = "embedded"
	}
	for _, p := range append(o.properties(), "zookeeper.connect="+zookeeper) {
		args = append(args, "--override", p)
	}
	cmd := exec.Command(Binary(t), args...)
	if o.OpenFiles > 0 {
		limit := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, o.OpenFiles)
		cmd = exec.Command("bash", append([]string{"-c", limit, Binary(t)}, args...)...)
	}
	return &Broker{Process: start(t, "gracchus", cmd), Options: o}
}

// untilReady waits until a broker of ours serves clients.
func (b *Broker) untilReady() {
	b.t.Helper()
	b.Addr = b.WaitFor(`ready.*PLAINTEXT://([^\s",]+)`, b.Options.startLimit())[1]
}

// StartKafka starts Kafka 3.9.2 and waits until it is ready.
func StartKafka(t TB, o Options) *Broker {
	t.Helper()
	b := launchKafka(t, o)
	b.untilKafkaIsReady()
	return b
}

// launchKafka starts Kafka 3.9.2 and does not wait for it.
func launchKafka(t TB, o Options) *Broker {
	t.Helper()
	o = o.withDir(t)
	file := filepath.Join(t.TempDir(), "server.properties")
	content := strings.Join(append(o.properties(), "zookeeper.connect="+o.ZooKeeper), "\n") + "\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	command := "broker"
	if o.Measured {
		command = "measured-broker"
	}
	return &Broker{Process: start(t, "Kafka", Kafka(t, command, file)), Options: o}
}

// untilKafkaIsReady waits until a Kafka serves clients.
func (b *Broker) untilKafkaIsReady() {
	b.t.Helper()
	b.Addr = b.WaitFor(`Awaiting socket connections on ([^ ]+:\d+)\.`, b.Options.startLimit())[1]
	b.WaitFor(`\[KafkaServer id=\d+\] started`, b.Options.startLimit())
}

func (o Options) withDir(t TB) Options {
	if len(o.Dirs) == 0 {
		o.Dirs = []string{filepath.Join(t.TempDir(), "data")}
	}
	return o
}

// StopCleanly stops a broker with SIGTERM; it must end well. (Kafka's JVM ends
// with 143 after SIGTERM.)
func (b *Broker) StopCleanly(t TB) {
	t.Helper()
	b.terminate(t, 60*time.Second)
}

func (b *Broker) terminate(t TB, limit time.Duration) {
	t.Helper()
	if err := b.Signal(syscall.SIGTERM, limit); err != nil && !strings.Contains(err.Error(), "exit status 143") {
		t.Errorf("%s did not end well: %v\n%s", b.name, err, b.Tail(40))
	}
}
