package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const firstRecord = "ms to the first acknowledged record"

const startupCell = "from an empty directory"

// startupScenario measures how long it takes from exec until a record is
// acknowledged, creating its topic included. Kafka's ZooKeeper runs before;
// Gracchus starts its own.
func startupScenario(b *bench) error {
	var turns []turn
	for _, subject := range b.brokers {
		turns = append(turns, turn{subject, func() (Values, error) {
			begin := time.Now()
			broker := b.start(subject)
			if err := firstAcknowledged(broker.Addr, b.topic(), true); err != nil {
				return nil, err
			}
			took := time.Since(begin)
			broker.StopCleanly(b)
			return Values{firstRecord: took.Seconds() * 1e3}, nil
		}})
	}
	b.progress.at(0, 1, startupCell)
	// Starts once before, so that the programs are in the page cache.
	if _, err := b.rounds(startupCell+", once before", 1, turns); err != nil {
		return err
	}
	rounds, err := b.rounds(startupCell, b.scale.starts, turns)
	if err != nil {
		return err
	}
	b.add(Cell{Name: startupCell, Rounds: rounds})
	return nil
}

// eager are the options of a client that asks again at once where it would wait,
// for as long as it takes.
func eager(addr string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ProducerLinger(0), kgo.MetadataMinAge(10 * time.Millisecond), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 2 * time.Millisecond }),
	}
}

// firstAcknowledged sends one record to partition 0 of a topic.
func firstAcknowledged(addr, topic string, create bool) error {
	client, err := kgo.NewClient(append(eager(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	for create {
		_, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, topic)
		switch {
		case err == nil || errors.Is(err, kerr.TopicAlreadyExists):
			create = false
		case ctx.Err() != nil:
			return fmt.Errorf("create a topic: %w", err)
		} // otherwise there is no controller yet
	}
	return client.ProduceSync(ctx, &kgo.Record{Value: []byte("the first")}).FirstErr()
}

func startupTables(r *Results) string {
	return startTable(r.of("startup").cell(startupCell), firstRecord)
}

// startTable shows times in ms, with the slowest of ours.
func startTable(c Cell, values ...string) string {
	var rows [][]string
	for _, value := range values {
		slowest := missing
		if all := c.column(ours, value); len(all) > 0 {
			slowest = number(slices.Max(all))
		}
		rows = append(rows, []string{value, number(c.median(ours, value)), slowest, number(c.median(kafka, value)), spread(c.ratios(ours, kafka, value))})
	}
	return table("lrrrr", []string{"", "Gracchus", "its slowest", "Kafka", "Of Kafka's"}, rows)
}

func startupCharts(r *Results) []chart {
	return []chart{{
		title: "From exec to the first acknowledged record", axis: "ms, logarithmic", log: true,
		groups: []group{r.of("startup").cell(startupCell).group("empty directory", firstRecord), r.of("restart").cell(restartCell).group("1,000 partitions, after kill -9", firstRecord)},
	}}
}
