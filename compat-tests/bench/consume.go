package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// reading is what a consumer reads.
type reading struct {
	load
	fetch int // bytes that it asks for at a time, at the most
}

func (r reading) String() string {
	s := fmt.Sprintf("%s records, %s batches, %s", sizeName(r.record), sizeName(r.batch), r.codec)
	if r.fetch != defaultFetch {
		s += fmt.Sprintf(", %s a fetch", sizeName(r.fetch))
	}
	return s
}

const (
	// defaultFetch is what clients ask of a partition if nobody says otherwise.
	defaultFetch = 1 << 20
	// batchAtATime gets one full batch of 16 KiB: so reads who keeps up with a producer.
	batchAtATime = smallBatch
)

func readings() []reading {
	var all []reading
	add := func(record, batch int, codec string, fetch int) {
		all = append(all, reading{load{record: record, batch: batch, codec: codec, acks: "all"}, fetch})
	}
	for _, record := range []int{1 << 10, 100} {
		for _, batch := range []int{smallBatch, 1 << 20} {
			add(record, batch, "none", defaultFetch)
		}
	}
	for _, record := range []int{1 << 10, 100} {
		add(record, smallBatch, "none", batchAtATime)
	}
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		add(1<<10, 1<<20, codec, defaultFetch)
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
	all := some(b.scale, readings())
	for i, r := range all {
		r.bytes = b.scale.bytes(r.fetch)
		b.progress.at(i, len(all), r.String())
		cell, err := b.consumeCell(f, r)
		if err != nil {
			return err
		}
		b.add(cell)
	}
	return nil
}

func (b *bench) consumeCell(f *floor, r reading) (Cell, error) {
	topic, what := b.topic(), r.String()
	var turns []turn
	for _, subject := range b.brokers {
		c := b.running[subject]
		b.progress.say(what + ", producing to " + subject)
		if err := createTopics(c.addr(), 1, topic); err != nil {
			return Cell{}, err
		}
		if _, err := produce(c.addr(), topic, r.load, b.payload.values(r.record)); err != nil {
			return Cell{}, err
		}
		turns = append(turns, turn{subject, func() (Values, error) { return consumeTurn(c.addr(), c.spent, topic, r) }})
	}
	written := b.running[ours][0].Options.Dirs[0]
	if err := f.serve(topic, filepath.Join(written, topic+"-0")); err != nil {
		return Cell{}, err
	}
	turns = append(turns, turn{theFloor, func() (Values, error) { return consumeTurn(f.kafka, f.spent, topic, r) }})
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
	is := r.is()
	delete(is, "acks")
	is["fetch"] = sizeName(r.fetch)
	return Cell{Name: what, Is: is, Rounds: rounds}, nil
}

// consumeTurn reads the topic with a new client.
func consumeTurn(addr string, spent func(func() error) (time.Duration, error), topic string, r reading) (Values, error) {
	var all traffic
	cpu, err := spent(func() (err error) {
		all, err = consume(addr, topic, r.load, kgo.FetchMaxPartitionBytes(int32(r.fetch)))
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
			c.Is["record"], c.Is["batch"], c.Is["codec"], c.Is["fetch"],
			number(c.median(ours, cpuPerGB)), number(c.median(kafka, cpuPerGB)), number(c.median(theFloor, cpuPerGB)),
			spread(c.ratios(ours, kafka, cpuPerGB)), c.overFloor(ours, kafka, cpuPerGB).String(), c.pair(rate),
		})
	}
	return "Processor seconds per GB of values, before compression:\n\n" +
		table("llllrrrrrr", []string{"Records", "Batches", "Codec", "A fetch", "Gracchus", "Kafka", "Floor", "Of Kafka's", "Over the floor", "MB/s"}, rows)
}

func consumeCharts(r *Results) []chart {
	all := chart{title: "Consuming", axis: "CPU seconds per GB"}
	for _, c := range r.of("consume").Cells {
		if c.Is["codec"] != "" {
			all.groups = append(all.groups, c.group(c.Name, cpuPerGB))
		}
	}
	return []chart{all}
}
