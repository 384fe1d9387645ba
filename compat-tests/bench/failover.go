package main

import (
	"fmt"
	"time"
)

const (
	leadersMoved = "s until others lead"
	leaderships  = "partitions that it led"
)

const failoverCell = "the controller killed"

// failoverLimit is far more than anybody may take.
const failoverLimit = 5 * time.Minute

// failoverScenario measures how long it takes, after the session of a controller that
// was killed has ended, until each partition that it led has another leader, and all
// brokers that are left say so.
func failoverScenario(b *bench) error {
	session := fmt.Sprintf("zookeeper.session.timeout.ms=%d", b.scale.session.Milliseconds())
	if err := b.startClusters(session); err != nil {
		return err
	}
	var topics []string
	for range manyTopics {
		topics = append(topics, b.topic())
	}
	b.progress.at(0, 2, fmt.Sprintf("creating %d partitions", b.scale.partitions))
	if err := b.createReplicated(topics, b.scale.partitions/manyTopics); err != nil {
		return err
	}
	b.progress.at(1, 2, failoverCell)
	var turns []turn
	for _, subject := range b.brokers {
		turns = append(turns, turn{subject, func() (Values, error) { return b.failoverOnce(subject, topics) }})
	}
	rounds, err := b.rounds(failoverCell, b.scale.long, turns)
	if err != nil {
		return err
	}
	b.add(Cell{Name: failoverCell, Rounds: rounds})
	return nil
}

func (b *bench) failoverOnce(subject string, topics []string) (Values, error) {
	c, err := b.settle(subject, topics)
	if err != nil {
		return nil, err
	}
	controller, err := watchController(c[0].Options.ZooKeeper)
	if err != nil {
		return nil, err
	}
	defer controller.close()
	led, err := c.led(topics, controller.id)
	if err != nil {
		return nil, err
	}
	b.progress.say("until the session of the controller ends: " + subject)
	c[controller.id-1].Kill()
	ended, err := controller.untilGone(b.scale.session + time.Minute)
	if err != nil {
		return nil, err
	}
	if err := c.untilLedByOthers(failoverLimit, topics, controller.id); err != nil {
		return nil, err
	}
	return Values{leadersMoved: time.Since(ended).Seconds(), leaderships: float64(led)}, nil
}

func failoverTables(r *Results) string {
	c := r.of("cluster-failover").cell(failoverCell)
	return aimedTable(
		c.aimed("s from the end of its session until all partitions that it led have other leaders", leadersMoved, failoverAim),
		c.aimed("partitions that it led", leaderships, 0),
	)
}
