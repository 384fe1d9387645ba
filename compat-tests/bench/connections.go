package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

const (
	grownPerConnection = "kB/connection"
	grown              = "grown MB"
)

// connectionsCell is the only one of its scenario.
const connectionsCell = "idle connections"

// connectionsScenario measures what connections cost in which nothing happens
// after a client's first request. Each round has a new broker, as memory grows
// only once.
func connectionsScenario(b *bench) error {
	var turns []turn
	for _, subject := range b.brokers {
		turns = append(turns, turn{subject, func() (Values, error) {
			broker := b.start(subject)
			values, err := b.connectionsOnce(broker)
			if err != nil {
				return nil, err
			}
			broker.StopCleanly(b)
			return values, nil
		}})
	}
	b.progress.at(0, 1, connectionsCell)
	rounds, err := b.rounds(connectionsCell, b.scale.long, turns)
	if err != nil {
		return err
	}
	b.add(Cell{Name: connectionsCell, Rounds: rounds})
	return nil
}

func (b *bench) connectionsOnce(broker *harness.Broker) (values Values, err error) {
	open := make([]*wire, 0, b.scale.connections)
	defer func() {
		for _, w := range open {
			err = errors.Join(err, w.close())
		}
	}()
	another := func() error {
		w, err := dial(broker.Addr)
		if err == nil {
			open = append(open, w)
		}
		return err
	}
	for range 20 { // what a broker needs for the first ones only
		if err := another(); err != nil {
			return nil, err
		}
	}
	time.Sleep(b.scale.idle / 2)
	before, err := memoryOf(broker.Pid())
	if err != nil {
		return nil, err
	}
	for range b.scale.connections - len(open) {
		if err := another(); err != nil {
			return nil, fmt.Errorf("connection %d: %w", len(open)+1, err)
		}
	}
	values, err = b.idle(cluster{broker})
	if err != nil {
		return nil, err
	}
	after, err := memoryOf(broker.Pid())
	if err != nil {
		return nil, err
	}
	more := float64(after.resident - before.resident)
	values[grown], values[grownPerConnection] = more/1e6, more/1e3/float64(b.scale.connections)
	values[resident], values[peak] = float64(after.resident)/1e6, float64(after.peak)/1e6
	return values, nil
}

func connectionsTables(r *Results) string {
	m := r.of("connections")
	c := m.cell(connectionsCell)
	var rows [][]string
	for _, what := range []struct{ name, value string }{
		{"memory that they add, MB", grown},
		{"a connection, kB", grownPerConnection},
		{"resident with them, MB", resident},
		{"processor ms a minute", cpuPerMinute},
	} {
		rows = append(rows, []string{what.name, number(c.median(ours, what.value)), number(c.median(kafka, what.value)), spread(c.ratios(ours, kafka, what.value))})
	}
	return table("lrrr", []string{"", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}
