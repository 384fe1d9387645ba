package main

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// turn measures one subject once.
type turn struct {
	subject string
	measure func() (Values, error)
}

// rounds has each subject take its turn in each round. Every other round goes
// backwards, so that none is always measured after the same other.
func (b *bench) rounds(what string, n int, turns []turn) ([]Round, error) {
	all := make([]Round, 0, n)
	for i := range n {
		round := Round{}
		order := slices.Clone(turns)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, t := range order {
			b.progress.say(fmt.Sprintf("%s, round %d of %d: %s", what, i+1, n, t.subject))
			values, err := t.measure()
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", what, t.subject, err)
			}
			round[t.subject] = values
		}
		all = append(all, round)
	}
	return all, nil
}

// A subject is warm when another time takes it no less than this fraction of what
// it took before.
const warm = 0.93

// warmUp repeats each turn until its value stops to fall, or as often as the scale
// allows.
func (b *bench) warmUp(what, value string, turns []turn) error {
	for _, t := range turns {
		best := math.Inf(1)
		for i := range b.scale.warmUps {
			b.progress.say(fmt.Sprintf("%s, warm-up %d: %s", what, i+1, t.subject))
			values, err := t.measure()
			if err != nil {
				return fmt.Errorf("%s, warm-up of %s: %w", what, t.subject, err)
			}
			if values[value] > warm*best {
				break
			}
			best = values[value]
		}
	}
	return nil
}

// heat sends brokers many small requests of the kind that will be measured, before
// anything is: a JVM compiles a method after it has run thousands of times.
func (b *bench) heat(subjects []string) error {
	for _, subject := range subjects {
		c := b.running[subject]
		for _, acks := range []string{"all", "1"} {
			b.progress.say("warming up " + subject)
			l := load{record: 1 << 10, batch: smallBatch, codec: "none", acks: acks, bytes: b.scale.heat}
			topic := b.topic()
			if err := createTopics(c.addr(), 1, topic); err != nil {
				return err
			}
			if _, err := produce(c.addr(), topic, l, b.payload.values(l.record)); err != nil {
				return err
			}
			if _, err := consume(c.addr(), topic, l, kgo.FetchMaxPartitionBytes(batchAtATime)); err != nil {
				return err
			}
			if err := b.drop(c, topic); err != nil {
				return err
			}
		}
	}
	return nil
}

// turns of all brokers that are compared.
func (b *bench) turns(measure func(c cluster) (Values, error)) []turn {
	var all []turn
	for _, subject := range b.brokers {
		all = append(all, turn{subject, func() (Values, error) { return measure(b.running[subject]) }})
	}
	return all
}

// together does something n times at once, and waits for all.
func together(n int, do func(i int) error) error {
	failed := make(chan error, n)
	for i := range n {
		go func() { failed <- do(i) }()
	}
	var err error
	for range n {
		err = errors.Join(err, <-failed)
	}
	return err
}
