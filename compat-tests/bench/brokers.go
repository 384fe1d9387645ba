package main

import (
	"fmt"
	"path/filepath"
	"slices"
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

// properties of every broker that is measured.
var properties = []string{
	"auto.create.topics.enable=false",
	"zookeeper.session.timeout.ms=60000", // a machine that stands still for a while must not spoil a run
	"log.segment.delete.delay.ms=100",    // or deleting would be measured with what comes a minute later
}

// cluster is brokers of one kind that know each other. Most of what is measured is one
// broker, a cluster of one.
type cluster []*harness.Broker

// clusterSize is how many brokers startCluster starts.
const clusterSize = 3

// addr is where a client begins, which then finds the others.
func (c cluster) addr() string { return c[0].Addr }

// spent is the processor time that all brokers use while something is done.
func (c cluster) spent(do func() error) (time.Duration, error) {
	var pids []int
	for _, broker := range c {
		pids = append(pids, broker.Pid())
	}
	return spent(pids, do)
}

// memory is the sum of what is resident in all brokers; its peak, which they need not
// have reached at the same time, is no less than the sum has ever been.
func (c cluster) memory() (sum memory, err error) {
	for _, broker := range c {
		m, err := memoryOf(broker.Pid())
		if err != nil {
			return memory{}, err
		}
		sum.resident += m.resident
		sum.peak += m.peak
	}
	return sum, nil
}

// ended says whether any of its brokers has ended.
func (c cluster) ended() bool {
	return slices.ContainsFunc(c, func(b *harness.Broker) bool { return b.Ended() })
}

// stop stops all brokers with SIGTERM, one after the other.
func (c cluster) stop(b *bench) {
	for _, broker := range c {
		broker.StopCleanly(b)
	}
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
	broker := b.launch(subject, o)
	b.running[subject] = cluster{broker}
	return broker
}

func (b *bench) launch(subject string, o harness.Options) *harness.Broker {
	switch subject {
	case kafka:
		return harness.StartKafka(b, o)
	case oursFull:
		o.Properties = append(slices.Clone(o.Properties), "record.validation=full")
	}
	return harness.StartGracchus(b, o)
}

// startAll starts all brokers that are compared.
func (b *bench) startAll() map[string]cluster {
	for _, subject := range b.brokers {
		b.progress.say("starting " + subject)
		b.start(subject)
	}
	return b.running
}

// startCluster starts three brokers with empty directories on an Apache ZooKeeper, ours
// too. Topics have a replica on each.
func (b *bench) startCluster(subject string, more ...string) (cluster, error) {
	zookeeper := harness.ZooKeeper(b)
	var c cluster
	for id := 1; id <= clusterSize; id++ {
		b.progress.say(fmt.Sprintf("starting %s, broker %d", subject, id))
		its := []string{fmt.Sprintf("broker.id=%d", id), fmt.Sprintf("default.replication.factor=%d", clusterSize)}
		c = append(c, b.launch(subject, harness.Options{ZooKeeper: zookeeper, Properties: slices.Concat(properties, its, more), Measured: true}))
		b.running[subject] = c
	}
	return c, c.untilComplete()
}

// startClusters starts a cluster of each kind that is compared.
func (b *bench) startClusters(more ...string) error {
	for _, subject := range b.brokers {
		if _, err := b.startCluster(subject, more...); err != nil {
			return fmt.Errorf("three brokers, %s: %w", subject, err)
		}
	}
	return nil
}

// topic is a name that was not used before.
func (b *bench) topic() string {
	b.made++
	return fmt.Sprintf("bench-%d", b.made)
}

// group is a name that was not used before.
func (b *bench) group() string {
	b.made++
	return fmt.Sprintf("bench-group-%d", b.made)
}

// drop deletes a topic and waits until its files are gone.
func (b *bench) drop(c cluster, topic string) error {
	if err := deleteTopics(c.addr(), topic); err != nil {
		return err
	}
	for _, broker := range c {
		if err := untilGone(filepath.Join(broker.Options.Dirs[0], topic+"*")); err != nil {
			return err
		}
	}
	return nil
}

func untilGone(pattern string) error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left, err := filepath.Glob(pattern)
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still there 30 s after it was deleted", left[0])
		}
	}
}
