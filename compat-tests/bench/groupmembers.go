package main

import (
	"errors"
	"fmt"
	"time"
)

// The cells of groupMembersScenario.
const (
	joining      = "members join a group at once"
	heartbeating = "members send heartbeats"
)

const afterDelay = "ms after the delay"

// initialDelay is how long a new group waits for more members, which it does once more
// if any have come (group.initial.rebalance.delay.ms).
const initialDelay = 500 * time.Millisecond

// heartbeatGroup is how many of the members that send heartbeats are in one group.
const heartbeatGroup = 10

// groupMembersScenario measures what members need that join, and that are there.
func groupMembersScenario(b *bench) error {
	topic := b.topic()
	for _, subject := range b.brokers {
		c := cluster{b.start(subject, fmt.Sprintf("group.initial.rebalance.delay.ms=%d", initialDelay.Milliseconds()))}
		if err := createTopics(c.addr(), b.scale.joining, topic); err != nil {
			return err
		}
		if err := untilCoordinated(c.addr(), groupNames("any", 1000), 0); err != nil {
			return err
		}
	}
	b.progress.at(0, 2, joining)
	turns := b.turns(func(c cluster) (Values, error) { return b.joinOnce(c, topic) })
	if _, err := b.rounds(joining+", once before", 1, turns); err != nil { // a JVM loads its classes
		return err
	}
	rounds, err := b.rounds(joining, b.scale.rounds, turns)
	if err != nil {
		return err
	}
	b.add(Cell{Name: joining, Rounds: rounds})
	b.progress.at(1, 2, heartbeating)
	rounds, err = b.rounds(heartbeating, b.scale.long, b.turns(func(c cluster) (Values, error) { return b.heartbeatsOnce(c, topic) }))
	if err != nil {
		return err
	}
	b.add(Cell{Name: heartbeating, Rounds: rounds})
	return nil
}

// joinOnce has members join a new group.
func (b *bench) joinOnce(c cluster, topic string) (Values, error) {
	all, err := openConsumers(c.addr(), topic, []string{b.group()}, b.scale.joining)
	if err != nil {
		return nil, err
	}
	defer all.close()
	begin := time.Now()
	cpu, err := c.spent(all.join)
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	return Values{afterDelay: (took - 2*initialDelay).Seconds() * 1e3, cpuSeconds: cpu.Seconds()}, all.leave()
}

// heartbeatsOnce has members of several groups do nothing but tell that they are there.
func (b *bench) heartbeatsOnce(c cluster, topic string) (Values, error) {
	var groups []string
	for range max(1, b.scale.heartbeating/heartbeatGroup) {
		groups = append(groups, b.group())
	}
	all, err := openConsumers(c.addr(), topic, groups, heartbeatGroup)
	if err != nil {
		return nil, err
	}
	defer all.close()
	if err := all.join(); err != nil {
		return nil, err
	}
	stop := all.beat()
	values, err := b.idle(c)
	if err := errors.Join(err, stop()); err != nil {
		return nil, err
	}
	return values, all.leave()
}

// beat has each member send a heartbeat in each heartbeatInterval, at times that are
// spread evenly, until stop.
func (c *consumers) beat() (stop func() error) {
	begin, end := time.Now(), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- together(len(c.members), func(i int) error {
			due := begin.Add(heartbeatInterval * time.Duration(i) / time.Duration(len(c.members)))
			for ; ; due = due.Add(heartbeatInterval) {
				select {
				case <-time.After(time.Until(due)):
				case <-end:
					return nil
				}
				if err := c.members[i].heartbeat(); err != nil {
					return err
				}
			}
		})
	}()
	return func() error {
		close(end)
		return <-ended
	}
}

func groupMembersTables(r *Results) string {
	m := r.of("group-members")
	var rows [][]string
	row := func(what string, c Cell, value string) {
		rows = append(rows, []string{what, number(c.median(ours, value)), number(c.median(kafka, value)), spread(c.ratios(ours, kafka, value))})
	}
	row("100 members join a group: until all have their partitions, ms", m.cell(joining), afterDelay)
	row("100 members join a group: processor s", m.cell(joining), cpuSeconds)
	row("heartbeats of 1,000 members, processor ms a minute", m.cell(heartbeating), cpuPerMinute)
	return table("lrrr", []string{"", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}
