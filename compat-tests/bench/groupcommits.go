package main

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	commitsASecond = "commits/s"
	cpuPerCommit   = "cpu µs/commit"
)

// groupCommitAim is of Kafka's processor time.
const groupCommitAim = 0.25

// committingGroups, of one member each, commit at the same time in the cells of
// groupCommitsScenario.
var committingGroups = []int{8, 500}

func commitCell(groups int) string { return fmt.Sprintf("%d groups", groups) }

// groupCommitsScenario measures commits of members that have the next one ready when
// the last one is answered.
func groupCommitsScenario(b *bench) error {
	topic := b.topic()
	groups := groupNames("commits", slices.Max(committingGroups))
	for subject, c := range b.startAll() {
		if err := createTopics(c.addr(), 1, topic); err != nil {
			return err
		}
		if err := untilCoordinated(c.addr(), groups, 0); err != nil {
			return err
		}
		b.progress.say("warming up " + subject)
		if err := b.heatCommits(c, topic, groups); err != nil {
			return err
		}
	}
	for i, n := range committingGroups {
		name := commitCell(n)
		b.progress.at(i, len(committingGroups), name)
		turns := b.turns(func(c cluster) (Values, error) { return b.commitOnce(c, topic, groups[:n]) })
		if err := b.warmUp(name, cpuPerCommit, turns); err != nil {
			return err
		}
		rounds, err := b.rounds(name, b.scale.rounds, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: name, Is: map[string]string{"groups": fmt.Sprint(n)}, Rounds: rounds})
	}
	return nil
}

// heatCommits does for commits what heat does for records.
func (b *bench) heatCommits(c cluster, topic string, groups []string) error {
	all, err := openConsumers(c.addr(), topic, groups, 1)
	if err != nil {
		return err
	}
	defer all.close()
	if err := all.join(); err != nil {
		return err
	}
	var n atomic.Int64
	if _, err := all.commit(func() bool { return n.Add(1) <= b.scale.commitHeat }); err != nil {
		return err
	}
	return all.leave()
}

// commitOnce has a member in each group, for as long as it commits.
func (b *bench) commitOnce(c cluster, topic string, groups []string) (Values, error) {
	all, err := openConsumers(c.addr(), topic, groups, 1)
	if err != nil {
		return nil, err
	}
	defer all.close()
	if err := all.join(); err != nil {
		return nil, err
	}
	begin := time.Now()
	var took []float64
	cpu, err := c.spent(func() (err error) {
		took, err = all.commit(func() bool { return time.Since(begin) < b.scale.commits })
		return err
	})
	if err != nil {
		return nil, err
	}
	n, lasted := float64(len(took)), time.Since(begin)
	slices.Sort(took)
	return Values{
		commitsASecond: n / lasted.Seconds(),
		cpuPerCommit:   float64(cpu.Microseconds()) / n,
		p50:            percentile(took, 0.5), p99: percentile(took, 0.99),
	}, all.leave()
}

// commit has all members commit, each as soon as it has its answer, as long as more
// says so. It returns how long each commit took, in ms.
func (c *consumers) commit(more func() bool) ([]float64, error) {
	took := make([][]float64, len(c.members))
	err := together(len(c.members), func(i int) (err error) {
		took[i], err = c.members[i].commitWhile(more)
		return err
	})
	return slices.Concat(took...), err
}

// commitWhile commits one offset after the other. It returns how long each took, in ms.
func (m *member) commitWhile(more func() bool) (took []float64, err error) {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation = m.group, m.id, m.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = m.topic
	topic.Partitions = append(topic.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
	request.Topics = append(request.Topics, topic)
	for more() {
		topic.Partitions[0].Offset++
		begin := time.Now()
		if err := m.commit(request); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin).Seconds()*1e3)
	}
	return took, nil
}

// commit commits offsets.
func (w *wire) commit(request *kmsg.OffsetCommitRequest) error {
	answer, err := w.ask(request)
	if err != nil {
		return err
	}
	for _, t := range answer.(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("group %s commits for %s-%d: %w", request.Group, t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

func groupCommitsTables(r *Results) string {
	var rows [][]string
	for _, n := range committingGroups {
		c := r.of("group-commits").cell(commitCell(n))
		rows = append(rows, []string{
			fmt.Sprint(n), number(c.median(ours, cpuPerCommit)), number(c.median(kafka, cpuPerCommit)), spread(c.ratios(ours, kafka, cpuPerCommit)),
			c.pair(commitsASecond), c.pair(p50), c.pair(p99),
		})
	}
	return "Processor time of a commit, µs; how many there are a second, and how long they take:\n\n" +
		table("rrrrrrr", []string{"Groups", "Gracchus", "Kafka", "Of Kafka's", "commits/s", "p50, ms", "p99, ms"}, rows)
}

func groupCommitsCharts(r *Results) []chart {
	all := chart{title: "Committing an offset", axis: "CPU µs per commit"}
	for _, n := range committingGroups {
		name := commitCell(n)
		all.groups = append(all.groups, r.of("group-commits").cell(name).group(name, cpuPerCommit))
	}
	return []chart{all}
}
