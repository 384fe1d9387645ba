package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The cells of groupLoadScenario.
const (
	startWithout = "start without committed offsets"
	startWith    = "start with committed offsets"
)

// Offsets are committed by groups that have no members, for the partitions of one topic.
const (
	loadPartitions = 200
	loadClients    = 4 // that commit at the same time
)

const answersAfter = "ms until all groups are answered"

// groupLoadScenario measures a start, after a stop, until every group is told its
// offsets: before there are any, and with many.
func groupLoadScenario(b *bench) error {
	topic := b.topic()
	groups := groupNames("load", max(1, b.scale.offsets/loadPartitions))
	brokers := b.startAll()
	for _, subject := range b.brokers {
		addr := brokers[subject].addr()
		if err := createTopics(addr, loadPartitions, topic); err != nil {
			return err
		}
		if err := untilCoordinated(addr, groups, 0); err != nil {
			return err
		}
	}
	for i, cell := range []struct {
		name    string
		offsets int // of each group
		n       int
	}{
		{startWithout, 0, 1},
		{startWith, loadPartitions, b.scale.long},
	} {
		b.progress.at(i, 2, cell.name)
		if cell.offsets > 0 {
			for _, subject := range b.brokers {
				b.progress.say("committing offsets: " + subject)
				if err := commitAll(brokers[subject].addr(), topic, groups); err != nil {
					return err
				}
			}
		}
		var turns []turn
		for _, subject := range b.brokers {
			turns = append(turns, turn{subject, func() (Values, error) { return b.loadOnce(subject, groups, cell.offsets) }})
		}
		rounds, err := b.rounds(cell.name, cell.n, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: cell.name, Rounds: rounds})
	}
	return nil
}

// loadOnce stops a broker and starts it again.
func (b *bench) loadOnce(subject string, groups []string, offsets int) (Values, error) {
	broker := b.running[subject][0]
	broker.StopCleanly(b)
	begin := time.Now()
	broker = b.restart(subject, broker.Options)
	if err := untilCoordinated(broker.Addr, groups, offsets); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	cpu, err := cpuTime(broker.Pid()) // since exec
	if err != nil {
		return nil, err
	}
	values, err := memoryNow(cluster{broker})
	if err != nil {
		return nil, err
	}
	values[answersAfter], values[cpuSeconds] = took.Seconds()*1e3, cpu.Seconds()
	return values, nil
}

// commitAll commits an offset of each partition of a topic for each group.
func commitAll(addr, topic string, groups []string) error {
	return together(loadClients, func(client int) error {
		w, err := dial(addr)
		if err != nil {
			return err
		}
		defer w.close()
		request := kmsg.NewPtrOffsetCommitRequest()
		request.Generation = -1
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = topic
		for p := range loadPartitions {
			partition := kmsg.NewOffsetCommitRequestTopicPartition()
			partition.Partition, partition.Offset = int32(p), int64(p)
			t.Partitions = append(t.Partitions, partition)
		}
		request.Topics = append(request.Topics, t)
		for i := client; i < len(groups); i += loadClients {
			request.Group = groups[i]
			if err := w.commit(request); err != nil {
				return err
			}
		}
		return nil
	})
}

func groupLoadTables(r *Results) string {
	m := r.of("group-load")
	var rows [][]string
	for _, value := range []struct{ what, name string }{
		{"ms until all groups are answered", answersAfter},
		{"processor s until then", cpuSeconds},
		{"resident then, MB", resident},
	} {
		for _, c := range []struct{ what, name string }{{"no offsets", startWithout}, {"a million offsets", startWith}} {
			cell := m.cell(c.name)
			rows = append(rows, []string{
				fmt.Sprintf("%s, %s", c.what, value.what), number(cell.median(ours, value.name)), number(cell.median(kafka, value.name)), spread(cell.ratios(ours, kafka, value.name)),
			})
		}
	}
	return table("lrrr", []string{"", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}
