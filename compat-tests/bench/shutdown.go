package main

import (
	"time"
)

const untilExit = "s until exit"

// The cells of shutdownScenario.
const (
	shutdownOther      = "a broker that is not the controller"
	shutdownController = "the controller"
)

// shutdownScenario measures how long a broker that leads partitions takes from SIGTERM
// until it has ended: it hands its leaderships over first.
func shutdownScenario(b *bench) error {
	if err := b.startClusters(); err != nil {
		return err
	}
	const parts = 3
	topics := []string{b.topic(), b.topic()}
	b.progress.at(0, parts, "creating the partitions")
	if err := b.createReplicated(topics, b.scale.handedOver*clusterSize/len(topics)); err != nil {
		return err
	}
	for i, cell := range []string{shutdownOther, shutdownController} {
		b.progress.at(1+i, parts, cell)
		var turns []turn
		for _, subject := range b.brokers {
			turns = append(turns, turn{subject, func() (Values, error) { return b.shutdownOnce(subject, topics, cell == shutdownController) }})
		}
		rounds, err := b.rounds(cell, b.scale.long, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: cell, Rounds: rounds})
	}
	return nil
}

func (b *bench) shutdownOnce(subject string, topics []string, ofController bool) (Values, error) {
	c, err := b.settle(subject, topics)
	if err != nil {
		return nil, err
	}
	controller, err := watchController(c[0].Options.ZooKeeper)
	if err != nil {
		return nil, err
	}
	controller.close()
	id := controller.id
	if !ofController {
		id = id%len(c) + 1
	}
	led, err := c.led(topics, id)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	c[id-1].StopCleanly(b)
	took := time.Since(begin)
	// That it has ended soon is worth nothing if others do not lead.
	if err := c.untilLedByOthers(30*time.Second, topics, id); err != nil {
		return nil, err
	}
	return Values{untilExit: took.Seconds(), leaderships: float64(led)}, nil
}

func shutdownTables(r *Results) string {
	m := r.of("cluster-shutdown")
	return aimedTable(
		m.cell(shutdownOther).aimed("s until exit, "+shutdownOther, untilExit, shutdownAim),
		m.cell(shutdownController).aimed("s until exit, "+shutdownController, untilExit, shutdownAim),
		m.cell(shutdownController).aimed("partitions that it led", leaderships, 0),
	)
}
