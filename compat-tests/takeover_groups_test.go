package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestTakeOverGroups lets Kafka 3.9.2 and Gracchus coordinate the same groups by turns,
// from the same __consumer_offsets. Each finds the groups as the one before has
// described them: states, members, generations, committed offsets. It changes them, and
// compacts the topic. TAKEOVER_GROUPS_ROUNDS is how often. If it is more than two, every
// third round ends with kill -9, and Kafka begins with the record versions of its releases
// before 2.3.
func TestTakeOverGroups(t *testing.T) {
	t.Parallel() // it waits, most of the time
	zookeeper := harness.ZooKeeper(t)
	g := &groupsLedger{
		stable: &bareGroup{name: "stable", protocolType: "consumer", topic: groupsTopic, partitions: groupsPartitions},
		other:  &bareGroup{name: "other", protocolType: "connect", topic: groupsTopic, partitions: groupsPartitions},
		o: harness.Options{ZooKeeper: zookeeper, Dirs: []string{filepath.Join(t.TempDir(), "data")}, Properties: []string{
			"zookeeper.session.timeout.ms=6000", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=1",
			"offsets.topic.segment.bytes=8192", "offsets.retention.check.interval.ms=300",
			"log.cleaner.backoff.ms=100", "log.cleaner.min.cleanable.ratio=0", "log.cleaner.delete.retention.ms=0",
			"log.cleaner.dedupe.buffer.size=1100000", "log.segment.delete.delay.ms=1000",
		}},
	}
	rounds := harness.FromEnvironment(t, "TAKEOVER_GROUPS_ROUNDS", 2)
	if rounds > 2 {
		g.old = true
		for _, version := range []string{"0.10.0", "2.0", "2.1-IV0"} {
			old := g.o
			old.Properties = append(slices.Clip(old.Properties), "inter.broker.protocol.version="+version, "log.message.format.version="+version)
			g.turn(t, "Kafka as of "+version, harness.StartKafka, old, true)
		}
		g.old = false
		g.turn(t, "Kafka", harness.StartKafka, g.o, true)
	}
	for round := 1; round <= rounds; round++ {
		g.turn(t, fmt.Sprintf("round %d, Gracchus", round), ours(), g.o, round%3 > 0)
		g.turn(t, fmt.Sprintf("round %d, Kafka", round), harness.StartKafka, g.o, round%3 > 0)
	}
	g.turn(t, "Gracchus at last", ours(), g.o, true)
}

const (
	groupsTopic      = "take-groups"
	groupsPartitions = 12
)

// groupsLedger knows what the groups must be like.
type groupsLedger struct {
	o             harness.Options
	turns         int
	old           bool // what came with Kafka 0.11 and later is not to be had
	described     []string
	stable, other *bareGroup
	written       int // records in the topic, as many in each partition
	open          *bareProducer
}

// turn starts a broker, checks what is there and changes it.
func (g *groupsLedger) turn(t *testing.T, name string, start func(harness.TB, harness.Options) *harness.Broker, o harness.Options, clean bool) {
	t.Helper()
	passed := t.Run(name, func(t *testing.T) {
		waitForSession(t, g.o.ZooKeeper)
		b := start(t, o)
		g.turns++
		if g.turns == 1 {
			createTopic(t, b, groupsTopic, groupsPartitions, nil)
		} else {
			waitForLeaders(t, b, groupsTopic)
			waitForGroups(t, b)
			compareLines(t, "groups", withoutExpiring(describeGroups(t, b)), g.described)
			g.stable.check(t, b)
			g.other.check(t, b)
		}
		g.change(t, b)
		g.described = describeGroups(t, b)
		if g.old { // what they write has no leader epochs
			for i, line := range g.described {
				g.described[i] = regexp.MustCompile(`, epoch \d+,`).ReplaceAllString(line, ", epoch -1,")
			}
		}
		commit(t, b, fmt.Sprintf("%s%d", expiring, g.turns), groupsTopic, 2, int64(g.turns), 1500)
		if clean {
			b.StopCleanly(t)
		} else {
			b.Kill()
		}
	})
	if !passed {
		t.FailNow()
	}
}

// expiring begins the names of groups that expire while no broker runs, or soon after.
const expiring = "expires-soon-"

func withoutExpiring(lines []string) []string {
	return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, expiring) })
}

func (g *groupsLedger) change(t *testing.T, b *harness.Broker) {
	t.Helper()
	g.consume(t, b)

	// Members come, static ones too, and the first one leaves; the last generation counts.
	newcomer := &bareMember{name: fmt.Sprintf("member-%d", g.turns)}
	if g.turns%2 == 0 && !g.old {
		newcomer.instance = fmt.Sprintf("instance %d", g.turns)
	}
	g.stable.come(t, b, newcomer)
	if g.turns >= 3 {
		g.stable.leave(t, b, g.stable.members[0])
	}
	if g.turns == 1 {
		g.other.come(t, b, &bareMember{name: "worker"})
	} else {
		g.other.rebalance(t, b, g.other.members[0])
	}
	commit(t, b, g.other.name+"-simple", groupsTopic, 3, int64(g.turns), -1)

	// Offsets that expire by what their commit says: later, and at once.
	commit(t, b, fmt.Sprintf("expires-%d", g.turns), groupsTopic, 2, int64(g.turns), 3_600_000)
	commit(t, b, fmt.Sprintf("expired-%d", g.turns), groupsTopic, 2, int64(g.turns), 1)

	// Groups, offsets and topics that are deleted.
	admin := kadm.NewClient(franz(t, b))
	ctx := within(t, 30*time.Second)
	doomed := fmt.Sprintf("take-groups-%d", g.turns)
	createTopic(t, b, doomed, 2, nil)
	half, gone := fmt.Sprintf("half-%d", g.turns), fmt.Sprintf("deleted-%d", g.turns)
	member := &bareMember{name: "leaves"}
	had := &bareGroup{name: gone, protocolType: "consumer", topic: groupsTopic, partitions: groupsPartitions}
	had.come(t, b, member)
	had.leave(t, b, member)
	for _, group := range []string{half, gone, fmt.Sprintf("of-a-topic-%d", g.turns)} {
		commit(t, b, group, doomed, 2, 7, -1)
	}
	commit(t, b, half, groupsTopic, 3, 8, -1)
	var offsets kadm.TopicsSet
	offsets.Add(groupsTopic, 1)
	if deleted, err := admin.DeleteOffsets(ctx, half, offsets); err != nil || deleted.Error() != nil {
		t.Fatalf("delete offsets: %v, %v", err, deleted.Error())
	}
	if deleted, err := admin.DeleteGroups(ctx, gone); err != nil || deleted.Error() != nil {
		t.Fatalf("delete groups: %v, %v", err, deleted.Error())
	}
	if deleted, err := admin.DeleteTopics(ctx, doomed); err != nil || deleted.Error() != nil {
		t.Fatalf("delete a topic: %v, %v", err, deleted.Error())
	}
	waitUntil(t, "groups are gone that were deleted, expired, or had a topic that was deleted", func() bool {
		listed, err := admin.ListGroups(within(t, 10*time.Second))
		return err == nil && !slices.ContainsFunc(listed.Groups(), func(name string) bool {
			return strings.HasPrefix(name, expiring) || strings.HasPrefix(name, "of-a-topic") || strings.HasPrefix(name, "expired-") || strings.HasPrefix(name, "deleted-")
		})
	})

	if !g.old {
		g.transactions(t, b)
	}
	g.compact(t, b)
}

// consume adds records to the topic. A consumer reads on where the group has committed,
// whoever it has committed to, and finds those records and no others.
func (g *groupsLedger) consume(t *testing.T, b *harness.Broker) {
	t.Helper()
	const some = 10 * groupsPartitions
	var records []*kgo.Record
	for i := range some {
		records = append(records, &kgo.Record{Topic: groupsTopic, Partition: int32(i % groupsPartitions), Value: []byte("a record")})
	}
	if err := franz(t, b, kgo.DisableIdempotentWrite()).ProduceSync(within(t, 30*time.Second), records...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
	var from [groupsPartitions]int64
	for p := range from {
		from[p] = int64(g.written / groupsPartitions)
	}
	g.written += some
	consumer := franz(t, b, kgo.ConsumerGroup("continues"), kgo.ConsumeTopics(groupsTopic), kgo.DisableAutoCommit(),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := within(t, 30*time.Second)
	for n := 0; n < some; {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", n, some, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != from[r.Partition] {
				t.Fatalf("partition %d goes on at offset %d, not %d", r.Partition, r.Offset, from[r.Partition])
			}
			from[r.Partition]++
			n++
		})
	}
	if err := consumer.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatalf("commit: %v", err)
	}
	consumer.Close()
}

// compact commits until __consumer_offsets has more segments, and waits until all but
// the last of a partition are compacted.
func (g *groupsLedger) compact(t *testing.T, b *harness.Broker) {
	t.Helper()
	const topic, times, atOnce = "__consumer_offsets", 25, groupsPartitions
	for i := range times {
		for _, group := range churned {
			commit(t, b, group, groupsTopic, atOnce, int64(i), -1)
		}
	}
	for p := range churned {
		dir := filepath.Join(b.Options.Dirs[0], fmt.Sprintf("%s-%d", topic, p))
		waitUntil(t, fmt.Sprintf("%s-%d is compacted to its end", topic, p), func() bool {
			checkpoint, err := os.ReadFile(filepath.Join(b.Options.Dirs[0], "cleaner-offset-checkpoint"))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			return slices.Contains(strings.Split(string(checkpoint), "\n"), fmt.Sprintf("%s %d %d", topic, p, lastSegment(t, dir)))
		})
	}
	left := slices.DeleteFunc(everything(t, b, topic), func(record string) bool { return !strings.Contains(record, churned[0]) })
	if len(left) < atOnce || len(left) > times*atOnce/2 {
		t.Errorf("%s-0 has %d records of %s, of whose %d offsets each was committed %d times", topic, len(left), churned[0], atOnce, times)
	}
}

// churned are groups in the partitions 0 and 1 of three. A transaction that is open holds
// up compaction; that is in partition 2.
var churned = []string{"churned-0", "churned-1"}

const inOpenTransaction = "open-0"

// waitForLeaders waits until a broker that has just started leads a topic.
func waitForLeaders(t *testing.T, b *harness.Broker, topic string) {
	t.Helper()
	admin := kadm.NewClient(franz(t, b, kgo.MetadataMinAge(100*time.Millisecond)))
	waitUntil(t, topic+" has leaders", func() bool {
		topics, err := admin.ListTopics(within(t, 10*time.Second), topic)
		return err == nil && topics.Has(topic) && len(topics[topic].Partitions) > 0 && !slices.ContainsFunc(topics[topic].Partitions.Sorted(), func(p kadm.PartitionDetail) bool { return p.Leader != 1 })
	})
}

// waitForGroups waits until a broker coordinates the groups of every partition, of three:
// Kafka tells clients of the leaders that it finds in ZooKeeper before they know it, and
// lists no groups then, nor an error.
func waitForGroups(t *testing.T, b *harness.Broker) {
	t.Helper()
	broker := franz(t, b).SeedBrokers()[0]
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{"a", "b", "c"} // one of each partition, by their hashes
	waitUntil(t, "the groups have their coordinator", func() bool {
		resp, err := broker.Request(within(t, 10*time.Second), req)
		return err == nil && !slices.ContainsFunc(resp.(*kmsg.DescribeGroupsResponse).Groups, func(g kmsg.DescribeGroupsResponseGroup) bool { return g.ErrorCode != 0 })
	})
}

// transactions commits one, aborts one, and leaves one open that the next turn ends.
func (g *groupsLedger) transactions(t *testing.T, b *harness.Broker) {
	t.Helper()
	client := franz(t, b)
	defer client.Close()
	if g.open != nil {
		g.open.end(t, client, true)
	}
	begin := func(id, group string, offset int) *bareProducer {
		p := newBareProducer(t, client, id, 15*time.Minute)
		p.commitOffset(t, client, group, groupsTopic, int64(offset))
		return p
	}
	begin("committed", fmt.Sprintf("in-transaction-%d", g.turns), g.turns).end(t, client, true)
	begin("aborted", fmt.Sprintf("in-transaction-%d", g.turns), -1).end(t, client, false)
	g.open = begin("open", inOpenTransaction, g.turns)
}
