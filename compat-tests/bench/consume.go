package main

import (
	"fmt"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

func consumeLoads() []load {
	var all []load
	for _, record := range []int{1 << 10, 100} {
		for _, batch := range []int{16 << 10, 1 << 20} {
			all = append(all, load{record: record, batch: batch, codec: "none", acks: "all"})
		}
	}
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		for _, batch := range []int{16 << 10, 1 << 20} {
			all = append(all, load{record: 1 << 10, batch: batch, codec: codec, acks: "all"})
		}
	}
	return all
}

// consumeScenario measures the processor time of consuming what was produced just
// before, so that it is in the page cache.
func consumeScenario(b *bench) error {
	f, err := startFloor(b.TempDir())
	if err != nil {
		return err
	}
	b.Cleanup(f.stop)
	subjects := []string{ours, kafka}
	brokers := map[string]*harness.Broker{}
	for _, subject := range subjects {
		brokers[subject] = b.start(subject)
	}
	for _, l := range consumeLoads() {
		l.bytes = b.scale.largeBatches
		var last traffic
		var turns []turn
		topic := b.topic()
		what := fmt.Sprintf("consume %s records, %s batches, %s", sizeName(l.record), sizeName(l.batch), l.codec)
		for _, subject := range subjects {
			broker := brokers[subject]
			b.progress.say(what + ", producing to " + subject)
			if err := createTopics(broker.Addr, 1, topic); err != nil {
				return err
			}
			if _, err := produce(broker.Addr, topic, l, b.payload.values(l.record)); err != nil {
				return err
			}
			turns = append(turns, turn{subject, func() (Values, error) {
				cpu, err := spent(broker.Pid(), func() (err error) {
					last, err = consume(broker.Addr, topic, l)
					return err
				})
				return last.perGB(cpu.Seconds()), err
			}})
		}
		for _, t := range turns {
			if err := b.warmUp(what, t, cpuPerGB); err != nil {
				return err
			}
		}
		turns = append(turns, turn{theFloor, func() (Values, error) { return f.sendOnce(last) }})
		if err := f.fill(last.wire + 1<<20); err != nil {
			return err
		}
		rounds, err := b.rounds(what, b.scale.rounds, turns)
		if err != nil {
			return err
		}
		is := l.is()
		delete(is, "acks")
		b.results.add(Cell{Scenario: "consume", Name: what, Is: is, Rounds: rounds})
		for _, subject := range subjects {
			if err := b.drop(brokers[subject], topic); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendOnce has the floor send what a broker did.
func (f *floor) sendOnce(t traffic) (Values, error) {
	cpu, err := spent(f.pid(), func() error { return f.send(t.requests, t.wire/t.requests) })
	return Values{cpuPerGB: cpu.Seconds() / (float64(t.values) / gb)}, err
}
