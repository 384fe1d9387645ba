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
	return broker
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
