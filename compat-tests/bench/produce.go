package main

import (
	"fmt"
	"maps"
	"slices"
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
		for _, batch := range []int{smallBatch, 1 << 20} {
			for _, acks := range []string{"all", "1"} {
				all = append(all, load{record: record, batch: batch, codec: "none", acks: acks})
			}
		}
	}
	for _, batch := range []int{smallBatch, 1 << 20} {
		for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
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
	brokers := b.startAll()
	b.start(oursFull)
	f, err := startFloor(b.TempDir())
	if err != nil {
		return err
	}
	b.Cleanup(f.stop)
	if err := b.heat(slices.Sorted(maps.Keys(brokers))); err != nil {
		return err
	}
	loads := some(b.scale, produceLoads())
	for i, l := range loads {
		l.bytes = b.scale.bytes(l.batch)
		b.progress.at(i, len(loads), l.String())
		subjects := b.brokers
		if l.codec != "none" {
			subjects = slices.Concat(b.brokers[:1], []string{oursFull}, b.brokers[1:])
		}
		var last traffic // what the floor has to do too
		var turns []turn
		for _, subject := range subjects {
			turns = append(turns, turn{subject, func() (values Values, err error) {
				values, last, err = b.produceOnce(brokers[subject], l)
				return values, err
			}})
		}
		if err := b.warmUp(l.String(), cpuPerGB, turns); err != nil {
			return err
		}
		turns = append(turns, turn{theFloor, func() (Values, error) { return f.writeOnce(last) }})
		n := b.scale.rounds
		if l.codec == "none" && l.batch != smallBatch {
			n = b.scale.writing
		}
		rounds, err := b.rounds(l.String(), n, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: l.String(), Is: l.is(), Rounds: rounds})
	}
	return nil
}

// smallBatch is how many bytes the smaller batches have.
const smallBatch = 16 << 10

// spare is how much more memory than a load writes to files is to be at hand: the client's
// and Kafka's grow, too.
const spare = 256 << 20

// produceOnce sends a load to a new topic, which is deleted after it.
func (b *bench) produceOnce(c cluster, l load) (Values, traffic, error) {
	topic := b.topic()
	if err := createTopics(c.addr(), 1, topic); err != nil {
		return nil, traffic{}, fmt.Errorf("create a topic: %w", err)
	}
	if err := backFreeMemory(int64(len(c))*l.bytes + spare); err != nil {
		return nil, traffic{}, err
	}
	var sent traffic
	cpu, err := c.spent(func() (err error) {
		sent, err = produce(c.addr(), topic, l, b.payload.values(l.record))
		return err
	})
	if err != nil {
		return nil, traffic{}, err
	}
	if err := c.allInSync(topic); err != nil {
		return nil, traffic{}, err
	}
	return sent.perGB(cpu.Seconds()), sent, b.drop(c, topic)
}

// writeOnce has the floor receive and write what a broker did.
func (f *floor) writeOnce(t traffic) (Values, error) {
	if err := f.empty(); err != nil {
		return nil, err
	}
	if err := backFreeMemory(t.wire + spare); err != nil {
		return nil, err
	}
	cpu, err := f.spent(func() error { return f.write(t.requests, t.wire/t.requests) })
	return Values{cpuPerGB: cpu.Seconds() / (float64(t.values) / gb)}, err
}

func produceTables(r *Results) string {
	m := r.of("produce")
	var plain, compressed [][]string
	for _, c := range m.Cells {
		switch c.Is["codec"] {
		case "":
		case "none":
			plain = append(plain, []string{
				c.Is["record"], c.Is["batch"], c.Is["acks"], number(c.median(ours, batchIs) / 1e3),
				number(c.median(ours, cpuPerGB)), number(c.median(kafka, cpuPerGB)), number(c.median(theFloor, cpuPerGB)),
				spread(c.ratios(ours, kafka, cpuPerGB)), c.overFloor(ours, kafka, cpuPerGB).String(), c.pair(rate),
			})
		default:
			compressed = append(compressed, []string{
				c.Is["batch"], c.Is["codec"], number(c.median(ours, batchIs) / 1e3),
				number(c.median(ours, cpuPerGB)), number(c.median(oursFull, cpuPerGB)), number(c.median(kafka, cpuPerGB)), number(c.median(theFloor, cpuPerGB)),
				spread(c.ratios(ours, kafka, cpuPerGB)), spread(c.ratios(oursFull, kafka, cpuPerGB)),
			})
		}
	}
	return "Processor seconds per GB of values, not compressed:\n\n" +
		table("lllrrrrrrr", []string{"Records", "Batches", "acks", "as sent, kB", "Gracchus", "Kafka", "Floor", "Of Kafka's", "Over the floor", "MB/s"}, plain) +
		"\nCompressed, records of 1 KiB, acks=all. `header` and `full` are the values of `record.validation`:\n\n" +
		table("llrrrrrrr", []string{"Batches", "Codec", "as sent, kB", "header", "full", "Kafka", "Floor", "header, of Kafka's", "full, of Kafka's"}, compressed)
}

func produceCharts(r *Results) []chart {
	plain := chart{title: "Producing, not compressed", axis: "CPU seconds per GB"}
	compressed := chart{title: "Producing, compressed, records of 1 KiB", axis: "CPU seconds per GB"}
	for _, c := range r.of("produce").Cells {
		switch c.Is["codec"] {
		case "":
		case "none":
			plain.groups = append(plain.groups, c.group(fmt.Sprintf("%s records, %s batches, acks=%s", c.Is["record"], c.Is["batch"], c.Is["acks"]), cpuPerGB))
		default:
			compressed.groups = append(compressed.groups, c.group(fmt.Sprintf("%s batches, %s", c.Is["batch"], c.Is["codec"]), cpuPerGB))
		}
	}
	return []chart{plain, compressed}
}
