package main

import (
	"errors"
	"time"
)

const (
	seconds      = "s"
	cpuSeconds   = "cpu s"
	cpuPerMinute = "cpu ms/min"
	cpuPerFetch  = "cpu µs/fetch"
)

// The cells of partitionsScenario.
const (
	creating   = "creating the partitions"
	idleAlone  = "idle, no client"
	idleWith   = "idle, a consumer of all partitions"
	someActive = "ten partitions with 10 records a second each, a consumer of all"
	fetchOfFew = "an idle fetch over 10 partitions"
	fetchOfAll = "an idle fetch over all partitions"
)

// manyTopics are topics that have the partitions in equal numbers.
const manyTopics = 20

// manyPartitions are topics with the same number of partitions.
type manyPartitions struct {
	topics []string
	each   int
}

// partitionsScenario measures what partitions cost in which nothing happens.
func partitionsScenario(b *bench) error {
	many := manyPartitions{each: b.scale.partitions / manyTopics}
	for range manyTopics {
		many.topics = append(many.topics, b.topic())
	}
	b.startAll()
	const parts = 6
	b.progress.at(0, parts, creating)
	// Once only: it takes Kafka long.
	rounds, err := b.rounds(creating, 1, b.turns(func(c cluster) (Values, error) {
		begin := time.Now()
		cpu, err := c.spent(func() error {
			for _, topic := range many.topics { // all at once are too much for Kafka's controller
				if err := createTopics(c.addr(), many.each, topic); err != nil {
					return err
				}
			}
			return nil
		})
		return Values{seconds: time.Since(begin).Seconds(), cpuSeconds: cpu.Seconds()}, err
	}))
	if err != nil {
		return err
	}
	b.add(Cell{Name: creating, Rounds: rounds})
	// These go first: thousands of fetches leave the JVM warm for what is slow.
	if err := b.idleFetchCells(many, 1, parts); err != nil {
		return err
	}
	return b.waitingCells(many, 3, parts)
}

// idleFetchCells measures idle fetches over few and over all partitions.
func (b *bench) idleFetchCells(many manyPartitions, part, parts int) error {
	for i, cell := range []struct {
		name string
		over manyPartitions
	}{
		{fetchOfFew, manyPartitions{topics: many.topics[:1], each: min(10, many.each)}},
		{fetchOfAll, many},
	} {
		b.progress.at(part+i, parts, cell.name)
		turns := b.turns(func(c cluster) (Values, error) { return idleFetches(c, cell.over, b.scale.idle/4) })
		if err := b.warmUp(cell.name, cpuPerFetch, turns); err != nil {
			return err
		}
		rounds, err := b.rounds(cell.name, b.scale.rounds, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: cell.name, Rounds: rounds})
	}
	return nil
}

// waitingCells measures brokers that have no client, a consumer that waits, and one
// that waits for some active partitions among all.
func (b *bench) waitingCells(many manyPartitions, part, parts int) error {
	for i, cell := range []struct {
		name   string
		client func(addr string, many manyPartitions) (stop func() error, err error)
	}{
		{idleAlone, noClient},
		{idleWith, consumerOfAll},
		{someActive, consumerOfActive},
	} {
		b.progress.at(part+i, parts, cell.name)
		rounds, err := b.rounds(cell.name, b.scale.long, b.turns(func(c cluster) (Values, error) {
			stop, err := cell.client(c.addr(), many)
			if err != nil {
				return nil, err
			}
			values, err := b.idle(c)
			return values, errors.Join(err, stop())
		}))
		if err != nil {
			return err
		}
		b.add(Cell{Name: cell.name, Rounds: rounds})
	}
	return nil
}

// idle is what a broker needs of the processor while the bench does nothing.
func (b *bench) idle(c cluster) (Values, error) {
	cpu, err := c.spent(func() error {
		time.Sleep(b.scale.idle)
		return nil
	})
	return Values{cpuPerMinute: float64(cpu) / float64(b.scale.idle) * 60e3}, err
}

func partitionsTables(r *Results) string {
	m := r.of("partitions")
	var rows [][]string
	row := func(what string, c Cell, value string) {
		rows = append(rows, []string{what, number(c.median(ours, value)), number(c.median(kafka, value)), spread(c.ratios(ours, kafka, value))})
	}
	row("creating them, s", m.cell(creating), seconds)
	row("creating them, processor s", m.cell(creating), cpuSeconds)
	row("idle, no client, processor ms a minute", m.cell(idleAlone), cpuPerMinute)
	row("idle, a consumer of all, processor ms a minute", m.cell(idleWith), cpuPerMinute)
	row("10 partitions with 10 records a second each, a consumer of all, processor ms a minute", m.cell(someActive), cpuPerMinute)
	row("one idle fetch over 10 partitions, processor µs", m.cell(fetchOfFew), cpuPerFetch)
	row("one idle fetch over 10,000 partitions, processor µs", m.cell(fetchOfAll), cpuPerFetch)
	row("resident at the end, MB", m.cell(memoryCell), resident)
	return table("lrrr", []string{"", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}

func partitionsCharts(r *Results) []chart {
	m := r.of("partitions")
	return []chart{{
		title: "10,000 partitions: what an idle fetch costs", axis: "CPU µs, logarithmic", log: true,
		groups: []group{m.cell(fetchOfFew).group("over 10 partitions", cpuPerFetch), m.cell(fetchOfAll).group("over 10,000 partitions", cpuPerFetch)},
	}}
}
