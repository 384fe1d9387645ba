package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const allAnswer = "ms until all partitions answer"

const restartCell = "after kill -9"

const (
	killedRecords = 100     // in each partition
	killedValue   = 1 << 10 // bytes of each
)

// restartScenario measures how long it takes from exec until a record is
// acknowledged after the broker was killed, and until every partition tells its
// end, with all records.
func restartScenario(b *bench) error {
	topic := b.topic()
	var turns []turn
	for _, subject := range b.brokers {
		b.progress.at(0, 1, "filling partitions of "+subject)
		// Kafka does not start while ZooKeeper holds its last session.
		broker := b.start(subject, "zookeeper.session.timeout.ms=6000")
		if err := createTopics(broker.Addr, b.scale.killed, topic); err != nil {
			return err
		}
		if err := b.fillPartitions(broker.Addr, topic); err != nil {
			return err
		}
		extra := 0 // records in partition 0 from the rounds before
		turns = append(turns, turn{subject, func() (Values, error) {
			broker := b.running[subject][0]
			broker.Kill()
			if subject == kafka {
				if err := sessionsEnd(broker.Options.ZooKeeper); err != nil {
					return nil, err
				}
			}
			begin := time.Now()
			broker = b.restart(subject, broker.Options)
			if err := firstAcknowledged(broker.Addr, topic, false); err != nil {
				return nil, err
			}
			first := time.Since(begin)
			extra++
			if err := b.allThere(broker.Addr, topic, extra); err != nil {
				return nil, err
			}
			return Values{firstRecord: first.Seconds() * 1e3, allAnswer: time.Since(begin).Seconds() * 1e3}, nil
		}})
	}
	b.progress.at(0, 1, restartCell)
	rounds, err := b.rounds(restartCell, b.scale.restarts, turns)
	if err != nil {
		return err
	}
	b.add(Cell{Name: restartCell, Rounds: rounds})
	return nil
}

// fillPartitions gives each partition its records.
func (b *bench) fillPartitions(addr, topic string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(100000),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	values := b.payload.values(killedValue)
	records := make([]*kgo.Record, 0, killedRecords*b.scale.killed)
	for p := range b.scale.killed {
		for i := range killedRecords {
			records = append(records, &kgo.Record{Partition: int32(p), Value: values[(p*killedRecords+i)%len(values)]})
		}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// allThere waits until every partition tells its end and fails if one has lost
// records.
func (b *bench) allThere(addr, topic string, extra int) error {
	client, err := kgo.NewClient(eager(addr)...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	admin := kadm.NewClient(client)
	for ctx.Err() == nil {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil || ends.Error() != nil || len(ends[topic]) < b.scale.killed {
			continue // they have no leader yet
		}
		for p := range b.scale.killed {
			want := int64(killedRecords)
			if p == 0 {
				want += int64(extra)
			}
			if end, _ := ends.Lookup(topic, int32(p)); end.Offset != want {
				return fmt.Errorf("after kill -9 %s-%d ends at %d instead of %d", topic, p, end.Offset, want)
			}
		}
		return nil
	}
	return fmt.Errorf("not all partitions answered: %w", ctx.Err())
}

// quietZooKeeper drops the client's log.
type quietZooKeeper struct{}

func (quietZooKeeper) Printf(string, ...any) {}

// sessionsEnd waits until no broker is registered.
func sessionsEnd(connect string) error {
	server, path, _ := strings.Cut(connect, "/")
	conn, _, err := zk.Connect([]string{server}, 10*time.Second, zk.WithLogger(quietZooKeeper{}))
	if err != nil {
		return err
	}
	defer conn.Close()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		there, _, err := conn.Exists("/" + path + "/brokers/ids/1")
		if err != nil || !there {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the broker that was killed is registered after 60 s")
		}
	}
}

func restartTables(r *Results) string {
	return startTable(r.of("restart").cell(restartCell), firstRecord, allAnswer)
}
