package main

import (
	"fmt"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

const (
	cpuPerGB = "cpu s/GB"
	rate     = "MB/s"
	batchIs  = "batch bytes"   // mean on the wire
	request  = "request bytes" // mean on the wire
)

const gb = 1e9

// perGB are the values of a load: what of the processor it took, and what it was.
func (t traffic) perGB(cpu float64) Values {
	return Values{
		cpuPerGB: cpu / (float64(t.values) / gb),
		rate:     float64(t.values) / 1e6 / t.took.Seconds(),
		batchIs:  float64(t.wire) / float64(t.batches),
		request:  float64(t.wire) / float64(t.requests),
	}
}

func produceLoads() []load {
	var all []load
	for _, record := range []int{1 << 10, 100} {
		for _, batch := range []int{16 << 10, 1 << 20} {
			for _, acks := range []string{"all", "1"} {
				all = append(all, load{record: record, batch: batch, codec: "none", acks: acks})
			}
		}
	}
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		for _, batch := range []int{16 << 10, 1 << 20} {
			all = append(all, load{record: 1 << 10, batch: batch, codec: codec, acks: "all"})
		}
	}
	return all
}

func (l load) is() map[string]string {
	return map[string]string{"record": sizeName(l.record), "batch": sizeName(l.batch), "codec": l.codec, "acks": l.acks}
}

// produceScenario measures the processor time of producing. Codecs are measured
// with both ways of validation.
func produceScenario(b *bench) error {
	brokers := map[string]*harness.Broker{ours: b.start(ours), oursFull: b.start(oursFull), kafka: b.start(kafka)}
	f, err := startFloor(b.TempDir())
	if err != nil {
		return err
	}
	b.Cleanup(f.stop)
	for _, l := range produceLoads() {
		l.bytes = b.scale.bytes(l.batch)
		subjects := []string{ours, kafka}
		if l.codec != "none" {
			subjects = []string{ours, oursFull, kafka}
		}
		var last traffic // what the floor has to do too
		var turns []turn
		for _, subject := range subjects {
			broker := brokers[subject]
			turns = append(turns, turn{subject, func() (values Values, err error) {
				values, last, err = b.produceOnce(broker, l)
				return values, err
			}})
		}
		for _, t := range turns {
			if err := b.warmUp(l.String(), t, cpuPerGB); err != nil {
				return err
			}
		}
		turns = append(turns, turn{theFloor, func() (Values, error) { return f.writeOnce(last) }})
		rounds, err := b.rounds("produce "+l.String(), b.scale.rounds, turns)
		if err != nil {
			return err
		}
		b.results.add(Cell{Scenario: "produce", Name: l.String(), Is: l.is(), Rounds: rounds})
	}
	return nil
}

// produceOnce sends a load to a new topic, which is deleted after it.
func (b *bench) produceOnce(broker *harness.Broker, l load) (Values, traffic, error) {
	topic := b.topic()
	if err := createTopics(broker.Addr, 1, topic); err != nil {
		return nil, traffic{}, fmt.Errorf("create a topic: %w", err)
	}
	var sent traffic
	cpu, err := spent(broker.Pid(), func() (err error) {
		sent, err = produce(broker.Addr, topic, l, b.payload.values(l.record))
		return err
	})
	if err != nil {
		return nil, traffic{}, err
	}
	return sent.perGB(cpu.Seconds()), sent, b.drop(broker, topic)
}

// writeOnce has the floor receive and write what a broker did.
func (f *floor) writeOnce(t traffic) (Values, error) {
	cpu, err := spent(f.pid(), func() error { return f.write(t.requests, t.wire/t.requests) })
	return Values{cpuPerGB: cpu.Seconds() / (float64(t.values) / gb)}, err
}
