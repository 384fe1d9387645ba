package main

import "time"

const (
	resident = "resident MB"
	peak     = "peak MB"
)

// memoryCell is the name of the cell that has the memory of the brokers that ran
// until the end of a scenario.
const memoryCell = "memory at the end"

// residentOfAll and peakOfAll are of several brokers together.
const (
	residentOfAll = "resident of all MB"
	peakOfAll     = "peak of all MB"
)

func memoryNow(c cluster) (Values, error) {
	m, err := c.memory()
	now, most := resident, peak
	if len(c) > 1 {
		now, most = residentOfAll, peakOfAll
	}
	return Values{now: float64(m.resident) / 1e6, most: float64(m.peak) / 1e6}, err
}

func (b *bench) memoryAtTheEnd() error {
	round := Round{}
	for subject, c := range b.running {
		if c.ended() {
			continue
		}
		values, err := memoryNow(c)
		if err != nil {
			return err
		}
		round[subject] = values
	}
	if len(round) > 0 {
		b.add(Cell{Name: memoryCell, Rounds: []Round{round}})
	}
	return nil
}

const (
	afterStart = "after start"
	underLoad  = "under load"
)

// memoryScenario measures what is resident after start and, at the most, under
// load: each broker is started anew in each round.
func memoryScenario(b *bench) error {
	return b.memoryCells(func(subject string) (cluster, error) { return cluster{b.start(subject)}, nil })
}

func (b *bench) memoryCells(start func(subject string) (cluster, error)) error {
	idle, load := Cell{Name: afterStart}, Cell{Name: underLoad}
	for i := range b.scale.long {
		b.progress.at(i, b.scale.long, "memory")
		empty, loaded := Round{}, Round{}
		for _, subject := range b.brokers {
			c, err := start(subject)
			if err != nil {
				return err
			}
			b.progress.say("idle: " + subject)
			time.Sleep(b.scale.idle) // a JVM goes on loading classes for a while
			if empty[subject], err = memoryNow(c); err != nil {
				return err
			}
			b.progress.say("under load: " + subject)
			if err := b.mixedLoad(c.addr()); err != nil {
				return err
			}
			if loaded[subject], err = memoryNow(c); err != nil {
				return err
			}
			c.stop(b)
		}
		idle.Rounds = append(idle.Rounds, empty)
		load.Rounds = append(load.Rounds, loaded)
	}
	b.add(idle)
	b.add(load)
	return nil
}

// mixedLoad has four producers and then four consumers at the same time.
func (b *bench) mixedLoad(addr string) error {
	loads := []load{
		{record: 1 << 10, batch: smallBatch, codec: "none", acks: "all", bytes: b.scale.smallBatches},
		{record: 1 << 10, batch: 1 << 20, codec: "none", acks: "all", bytes: b.scale.largeBatches},
		{record: 100, batch: 1 << 20, codec: "none", acks: "all", bytes: b.scale.largeBatches / 4},
		{record: 1 << 10, batch: 1 << 20, codec: "zstd", acks: "all", bytes: b.scale.largeBatches},
	}
	topics := make([]string, len(loads))
	for i := range topics {
		topics[i] = b.topic()
	}
	if err := createTopics(addr, 1, topics...); err != nil {
		return err
	}
	for _, l := range loads {
		b.payload.values(l.record) // not in the goroutines
	}
	err := together(len(loads), func(i int) error {
		_, err := produce(addr, topics[i], loads[i], b.payload.values(loads[i].record))
		return err
	})
	if err != nil {
		return err
	}
	return together(len(loads), func(i int) error {
		_, err := consume(addr, topics[i], loads[i])
		return err
	})
}

func memoryTables(r *Results) string {
	m := r.of("memory")
	var rows [][]string
	row := func(what, cell, value string) {
		c := m.cell(cell)
		rows = append(rows, []string{what, number(c.median(ours, value)), number(c.median(kafka, value)), spread(c.ratios(ours, kafka, value))})
	}
	row("resident after start, MB", afterStart, resident)
	row("resident after the load, MB", underLoad, resident)
	row("at the most, MB", underLoad, peak)
	for _, other := range r.Scenarios {
		for _, name := range []string{memoryCell, connectionsCell} {
			if c := other.cell(name); len(c.column(ours, peak)) > 0 && other.Scenario != m.Scenario {
				rows = append(rows, []string{
					"at the most in all of " + other.Scenario + ", MB", number(c.median(ours, peak)), number(c.median(kafka, peak)), spread(c.ratios(ours, kafka, peak)),
				})
			}
		}
	}
	return table("lrrr", []string{"", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}

func memoryCharts(r *Results) []chart {
	m := r.of("memory")
	return []chart{{
		title: "Resident memory", axis: "MB",
		groups: []group{m.cell(afterStart).group("after start", resident), m.cell(underLoad).group("at the most, under load", peak)},
	}}
}
