package main

import "fmt"

// clusterProduceLoads are small and large batches of the same records.
func clusterProduceLoads() []load {
	var all []load
	for _, batch := range []int{smallBatch, 1 << 20} {
		all = append(all, load{record: 1 << 10, batch: batch, codec: "none", acks: "all"})
	}
	return all
}

// clusterProduceScenario measures the processor time of all three brokers together for
// what a producer sends to one of them and the others copy.
func clusterProduceScenario(b *bench) error {
	if err := b.startClusters(); err != nil {
		return err
	}
	if err := b.heat(b.brokers); err != nil {
		return err
	}
	loads := some(b.scale, clusterProduceLoads())
	for i, l := range loads {
		l.bytes = b.scale.bytes(l.batch)
		b.progress.at(i, len(loads), l.String())
		turns := b.turns(func(c cluster) (Values, error) {
			values, _, err := b.produceOnce(c, l)
			return values, err
		})
		if err := b.warmUp(l.String(), cpuPerGB, turns); err != nil {
			return err
		}
		rounds, err := b.rounds(l.String(), b.scale.rounds, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: l.String(), Is: l.is(), Rounds: rounds})
	}
	return nil
}

func clusterProduceTables(r *Results) string {
	var rows [][]string
	for _, c := range r.of("cluster-produce").Cells {
		if c.Is["codec"] == "" {
			continue
		}
		row := c.aimed(c.Is["batch"], cpuPerGB, clusterProduceAim)
		rows = append(rows, append(row, number(c.median(ours, batchIs)/1e3), c.pair(rate)))
	}
	return "Processor seconds of all three brokers per GB of values, records of 1 KiB, acks=all, each record on three brokers:\n\n" +
		table("lrrrrrr", []string{"Batches", "Aim", "Gracchus", "Kafka", "Of Kafka's", "as sent, kB", "MB/s"}, rows)
}

func clusterProduceCharts(r *Results) []chart {
	all := chart{title: "Producing to three replicas, records of 1 KiB, acks=all", axis: "CPU seconds per GB, three brokers"}
	for _, c := range r.of("cluster-produce").Cells {
		if c.Is["codec"] != "" {
			all.groups = append(all.groups, c.group(fmt.Sprintf("%s batches", c.Is["batch"]), cpuPerGB))
		}
	}
	return []chart{all}
}

// clusterLatencyRate is in records a second, half of what one broker gets alone: three
// Kafkas have two cores to share here.
const clusterLatencyRate = 1000

// clusterLatencyCell is the only one of its scenario.
const clusterLatencyCell = "1,000 records a second"

// clusterLatencyScenario measures what latencyScenario does: a consumer has a record
// only when it is on all three brokers.
func clusterLatencyScenario(b *bench) error {
	if err := b.startClusters(); err != nil {
		return err
	}
	if err := b.heat(b.brokers); err != nil {
		return err
	}
	turns := b.turns(func(c cluster) (Values, error) { return b.latencyOnce(c, clusterLatencyRate) })
	return b.latencyRounds(clusterLatencyCell, turns)
}

func clusterLatencyTables(r *Results) string {
	c := r.of("cluster-latency").cell(clusterLatencyCell)
	return aimedTable(
		c.aimed("p50, ms", p50, 0),
		c.aimed("p99, ms", p99, clusterLatencyAim),
		c.aimed("p99.9, ms", p999, 0),
		c.aimed("processor time per record, three brokers, µs", cpuUsRecord, 0),
		c.aimed("records per request", perRequest, 0),
		c.aimed("the client's own delay, p99, ms", clientP99, 0),
	)
}

func clusterLatencyCharts(r *Results) []chart {
	return []chart{latencyChart("From the schedule to the consumer, three replicas, 1,000 records a second", r.of("cluster-latency").cell(clusterLatencyCell))}
}

// clusterMemoryScenario measures what memoryScenario does, of all three brokers
// together.
func clusterMemoryScenario(b *bench) error {
	return b.memoryCells(func(subject string) (cluster, error) { return b.startCluster(subject) })
}

func clusterMemoryTables(r *Results) string {
	m := r.of("cluster-memory")
	return aimedTable(
		m.cell(afterStart).aimed("resident after start, MB", residentOfAll, clusterMemoryAim),
		m.cell(underLoad).aimed("resident after the load, MB", residentOfAll, clusterMemoryAim),
		m.cell(underLoad).aimed("at the most, MB", peakOfAll, clusterMemoryAim),
	)
}

func clusterMemoryCharts(r *Results) []chart {
	m := r.of("cluster-memory")
	return []chart{{
		title: "Resident memory of three brokers", axis: "MB",
		groups: []group{m.cell(afterStart).group("after start", residentOfAll), m.cell(underLoad).group("at the most, under load", peakOfAll)},
	}}
}
