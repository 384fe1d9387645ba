package main

import (
	"fmt"
	"path/filepath"
	"time"
)

func consumeLoads() []load {
	var all []load
	for _, record := range []int{1 << 10, 100} {
		for _, batch := range []int{16 << 10, 1 << 20} {
			all = append(all, load{record: record, batch: batch, codec: "none", acks: "all"})
		}
	}
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		all = append(all, load{record: 1 << 10, batch: 1 << 20, codec: codec, acks: "all"})
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
	b.startAll()
	if err := b.heat(b.brokers); err != nil {
		return err
	}
	loads := b.scale.some(consumeLoads())
	for i, l := range loads {
		l.bytes = b.scale.largeBatches
		b.progress.at(i, len(loads), l.String())
		cell, err := b.consumeCell(f, l)
		if err != nil {
			return err
		}
		b.add(cell)
	}
	return nil
}

func (b *bench) consumeCell(f *floor, l load) (Cell, error) {
	topic := b.topic()
	what := fmt.Sprintf("%s records, %s batches, %s", sizeName(l.record), sizeName(l.batch), l.codec)
	var turns []turn
	for _, subject := range b.brokers {
		c := b.running[subject]
		b.progress.say(what + ", producing to " + subject)
		if err := createTopics(c.addr(), 1, topic); err != nil {
			return Cell{}, err
		}
		if _, err := produce(c.addr(), topic, l, b.payload.values(l.record)); err != nil {
			return Cell{}, err
		}
		turns = append(turns, turn{subject, func() (Values, error) { return consumeTurn(c.addr(), c.spent, topic, l) }})
	}
	written := b.running[ours][0].Options.Dirs[0]
	if err := f.serve(topic, filepath.Join(written, topic+"-0")); err != nil {
		return Cell{}, err
	}
	turns = append(turns, turn{theFloor, func() (Values, error) { return consumeTurn(f.kafka, f.spent, topic, l) }})
	if err := b.warmUp(what, cpuPerGB, turns); err != nil {
		return Cell{}, err
	}
	rounds, err := b.rounds(what, b.scale.reading, turns)
	if err != nil {
		return Cell{}, err
	}
	for _, subject := range b.brokers {
		if err := b.drop(b.running[subject], topic); err != nil {
			return Cell{}, err
		}
	}
	is := l.is()
	delete(is, "acks")
	return Cell{Name: what, Is: is, Rounds: rounds}, nil
}

// consumeTurn reads the topic with a new client.
func consumeTurn(addr string, spent func(func() error) (time.Duration, error), topic string, l load) (Values, error) {
	var all traffic
	cpu, err := spent(func() (err error) {
		all, err = consume(addr, topic, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all.perGB(cpu.Seconds()), nil
}

func consumeTables(r *Results) string {
	m := r.of("consume")
	var rows [][]string
	for _, c := range m.Cells {
		if c.Is["codec"] == "" {
			continue
		}
		rows = append(rows, []string{
			c.Is["record"], c.Is["batch"], c.Is["codec"],
			number(c.median(ours, cpuPerGB)), number(c.median(kafka, cpuPerGB)), number(c.median(theFloor, cpuPerGB)),
			spread(c.ratios(ours, kafka, cpuPerGB)), c.overFloor(ours, kafka, cpuPerGB).String(), c.pair(rate),
		})
	}
	return "Processor seconds per GB of values, before compression:\n\n" +
		table("lllrrrrrr", []string{"Records", "Batches", "Codec", "Gracchus", "Kafka", "Floor", "Of Kafka's", "Over the floor", "MB/s"}, rows)
}

func consumeCharts(r *Results) []chart {
	all := chart{title: "Consuming", axis: "CPU seconds per GB"}
	for _, c := range r.of("consume").Cells {
		if c.Is["codec"] != "" {
			all.groups = append(all.groups, c.group(fmt.Sprintf("%s records, %s batches, %s", c.Is["record"], c.Is["batch"], c.Is["codec"]), cpuPerGB))
		}
	}
	return []chart{all}
}
