package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
)

// askCoordinator asks the broker that the client begins with who coordinates a group.
func askCoordinator(t *testing.T, c *kgo.Client, id string) (node int32, err error) {
	t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = []string{id}
	resp, err := req.RequestWith(t.Context(), c.SeedBrokers()[0])
	if err != nil {
		t.Fatal(err)
	}
	found := resp.Coordinators[0]
	return found.NodeID, kerr.ErrorForCode(found.ErrorCode)
}

// findCoordinator asks until there is one, as clients do.
func findCoordinator(t *testing.T, c *kgo.Client, id string) int32 {
	t.Helper()
	for range 100 {
		node, err := askCoordinator(t, c, id)
		if err == nil {
			return node
		}
		if !errors.Is(err, kerr.CoordinatorNotAvailable) {
			t.Fatalf("the coordinator of %s: %v", id, err)
		}
		time.Sleep(100 * time.Millisecond) // in the bubble
	}
	t.Fatalf("%s never has a coordinator", id)
	return -1
}

// commitOffset commits an offset for nobody in particular.
func commitOffset(b *Broker, id, topic string, offset int64) error {
	c := &group.Commit{Group: id, Generation: group.NoGeneration, Offsets: []group.CommitOffset{
		{Topic: topic, Offset: offset, LeaderEpoch: -1, CommitMS: group.NoTime, ExpireMS: group.NoExpiry},
	}}
	done := make(chan struct{})
	b.parts.groups.CommitOffsets(c, func() { close(done) })
	<-done
	return c.Offsets[0].Err
}

// expectOffset waits until a broker has loaded a group, and looks at what it has
// committed, −1 for nothing.
func expectOffset(t *testing.T, b *Broker, id, topic string, want int64) {
	t.Helper()
	for {
		found, err := b.parts.groups.FetchOffsets(nil, id, []protocol.TopicPartition{{Topic: topic}})
		if errors.Is(err, kerr.CoordinatorLoadInProgress) || errors.Is(err, kerr.NotCoordinator) {
			time.Sleep(10 * time.Millisecond) // in the bubble
			continue
		}
		if err != nil || found[0].Offset != want {
			t.Errorf("%s has committed %+v, error %v, want offset %d", id, found, err, want)
		}
		return
	}
}

// The first who looks for a coordinator has __consumer_offsets made, whatever
// auto.create.topics.enable is. What is committed then is there after a restart, and
// goes with its topic.
func TestOffsetsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		properties := map[string]string{"auto.create.topics.enable": "false", "offsets.topic.num.partitions": "5", "offsets.topic.segment.bytes": "12345"}
		b := h.start(t, properties)
		c := h.client(t)
		if node, err := askCoordinator(t, c, "g"); node != -1 || !errors.Is(err, kerr.CoordinatorNotAvailable) {
			t.Errorf("before there is a topic: %d, %v", node, err)
		}
		if node := findCoordinator(t, c, "g"); node != 1 {
			t.Errorf("broker %d coordinates", node)
		}
		topic, _ := b.parts.view.Snapshot().Topic(protocol.ConsumerOffsetsTopic)
		if n := len(topic.Partitions); n != 5 {
			t.Errorf("__consumer_offsets has %d partitions", n)
		}
		p, err := b.parts.replicas.Partition(protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: 1})
		if err != nil {
			t.Fatal(err)
		}
		log, err := p.Log()
		if err != nil {
			t.Fatal(err)
		}
		if cfg := log.Config(); !cfg.Compact || cfg.Delete || cfg.SegmentBytes != 12345 || cfg.CompressionType != "producer" {
			t.Errorf("its configuration is %+v", cfg)
		}

		createTopic(t, c, "t", 1, nil)
		createTopic(t, c, "u", 1, nil)
		for i, topic := range []string{"t", "u"} {
			if err := commitOffset(b, "g", topic, int64(40+i)); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		stop(t, b)
		b = h.start(t, properties)
		expectOffset(t, b, "g", "t", 40)
		expectOffset(t, b, "g", "u", 41)

		c = h.client(t)
		del := kmsg.NewPtrDeleteTopicsRequest()
		del.TimeoutMillis, del.TopicNames = 10_000, []string{"t"}
		name := kmsg.NewDeleteTopicsRequestTopic()
		name.Topic = kmsg.StringPtr("t")
		del.Topics = append(del.Topics, name)
		if resp, err := del.RequestWith(t.Context(), c); err != nil || resp.Topics[0].ErrorCode != 0 {
			t.Fatal(resp, err)
		}
		synctest.Wait() // the client may hear of it before the coordinator
		expectOffset(t, b, "g", "t", -1)
		expectOffset(t, b, "g", "u", 41)
		c.Close()
		stop(t, b)
		b = h.start(t, properties)
		expectOffset(t, b, "g", "t", -1)
		expectOffset(t, b, "g", "u", 41)
		stop(t, b)
	})
}

// A group is coordinated by the broker that leads its partition, and by no other: with
// the leadership goes the group. The brokers have different ideas of how many partitions
// there are to be.
func TestCoordinatorMovesInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &elsewhere{t: t, host: newHost()}
		z.up()
		defer z.down()
		hosts, brokers := map[int32]*host{}, map[int32]*Broker{}
		start := func(id int32) {
			properties := member(int(id))
			properties["offsets.topic.num.partitions"] = fmt.Sprint(10 + id)
			brokers[id] = hosts[id].start(t, properties)
		}
		for id := int32(1); id <= 3; id++ {
			hosts[id] = z.host.neighbour()
			start(id)
		}
		ask := func(at int32) int32 {
			c := hosts[at].client(t, kgo.SeedBrokers(memberAddress(int(at))))
			defer c.Close()
			return findCoordinator(t, c, "g")
		}
		first := ask(2)
		for id := range brokers {
			if other := ask(id); other != first {
				t.Errorf("broker %d says that %d coordinates, another %d", id, other, first)
			}
		}
		refused := func(id int32) {
			t.Helper()
			if err := commitOffset(brokers[id], "g", "t", 1); !errors.Is(err, kerr.NotCoordinator) {
				t.Errorf("a commit to broker %d, which does not coordinate: %v", id, err)
			}
		}
		expectOffset(t, brokers[first], "g", "t", -1)
		if err := commitOffset(brokers[first], "g", "t", 7); err != nil {
			t.Fatal(err)
		}
		for id := range brokers {
			if id != first {
				refused(id)
			}
		}
		stop(t, brokers[first])
		synctest.Wait() // the others hear of it after the one that has left
		second := ask(first%3 + 1)
		if second == first {
			t.Errorf("broker %d coordinates, which has stopped", second)
		}
		expectOffset(t, brokers[second], "g", "t", 7)
		if err := commitOffset(brokers[second], "g", "t", 8); err != nil {
			t.Fatal(err)
		}
		start(first)
		if now := ask(first); now == second {
			refused(first)
		}
		for _, b := range brokers {
			stop(t, b)
		}
	})
}

// A broker tells the lag of the groups that it coordinates, in partitions that others
// lead, too.
func TestLagsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &elsewhere{t: t, host: newHost()}
		z.up()
		defer z.down()
		hosts, brokers := map[int32]*host{}, map[int32]*Broker{}
		for id := int32(1); id <= 3; id++ {
			hosts[id] = z.host.neighbour()
			brokers[id] = hosts[id].start(t, member(int(id)))
		}
		synctest.Wait() // all have heard of the last one, and give it a partition
		c := hosts[1].client(t, kgo.SeedBrokers(memberAddress(1)))
		defer c.Close()
		createTopic(t, c, "t", 3, nil)
		produce(t, c, "t", 3, "a", "b", "c", "d", "e")
		coordinator := findCoordinator(t, c, "g")
		expectOffset(t, brokers[coordinator], "g", "t", -1) // it has loaded
		commit := &group.Commit{Group: "g", Generation: group.NoGeneration}
		for p, offset := range []int64{5, 2, 9} {
			commit.Offsets = append(commit.Offsets, group.CommitOffset{
				Topic: "t", Partition: int32(p), Offset: offset, LeaderEpoch: -1, CommitMS: group.NoTime, ExpireMS: group.NoExpiry,
			})
		}
		done := make(chan struct{})
		brokers[coordinator].parts.groups.CommitOffsets(commit, func() { close(done) })
		<-done
		report := func() string {
			var lines []string
			for _, l := range brokers[coordinator].GroupLags(t.Context()) {
				lines = append(lines, fmt.Sprintf("%s %v: %d of %d, %d behind", l.Group, l.TopicPartition, l.Committed, l.End, l.Lag))
			}
			return strings.Join(lines, "\n")
		}
		if got, want := report(), "g t-0: 5 of 5, 0 behind\ng t-1: 2 of 5, 3 behind\ng t-2: 9 of 5, 0 behind"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		for id, b := range brokers {
			if id != coordinator && len(b.GroupLags(t.Context())) > 0 {
				t.Errorf("broker %d reports on a group that it does not coordinate", id)
			}
		}
		// What cannot be found out is said to be unknown.
		gone := coordinator%3 + 1
		stop(t, brokers[gone])
		synctest.Wait()
		if got := report(); strings.Count(got, " of 5,") != 2 || strings.Count(got, " of -1, -1 behind") != 1 {
			t.Errorf("with broker %d stopped:\n%s", gone, got)
		}
		for id, b := range brokers {
			if id != gone {
				stop(t, b)
			}
		}
	})
}

// logged keeps what a broker says.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) says(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

// With Kafka's default a topic of offsets needs three brokers. Until they are there, it
// is the broker's log that says why there is no coordinator.
func TestTooFewBrokersForOffsetsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &elsewhere{t: t, host: newHost()}
		z.up()
		defer z.down()
		h := z.host.neighbour()
		properties := member(1)
		properties["log.dirs"] = "/a"
		settings, report, err := config.Parse(properties)
		if err != nil || len(report.Assumed) > 0 {
			t.Fatal(report, err)
		}
		var log logged
		env := h.env()
		env.Logger = slog.New(slog.NewTextHandler(&log, nil))
		b, err := New(settings, env)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer stop(t, b)
		c := h.client(t, kgo.SeedBrokers(memberAddress(1)))
		defer c.Close()
		for range 3 {
			if _, err := askCoordinator(t, c, "g"); !errors.Is(err, kerr.CoordinatorNotAvailable) {
				t.Errorf("the coordinator with one broker: %v", err)
			}
		}
		if !log.says("topic=__consumer_offsets") || !log.says("Replication factor: 3 larger than available brokers: 1.") {
			t.Error("the log does not say why")
		}
		for id := 2; id <= 3; id++ {
			other := z.host.neighbour().start(t, member(id))
			defer stop(t, other)
		}
		findCoordinator(t, c, "g")
	})
}

// Members that wait for each other do not keep a broker from stopping.
func TestStopsWithParkedMembersInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		b := h.start(t, nil)
		c := h.client(t)
		findCoordinator(t, c, "g")
		c.Close()
		expectOffset(t, b, "g", "t", -1)
		joined := make(chan group.JoinResult, 1)
		b.parts.groups.Join(&group.JoinRequest{
			Group: "g", SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Hour, ProtocolType: "consumer",
			Protocols: []group.Protocol{{Name: "range"}},
		}, func(r group.JoinResult) { joined <- r })
		began := time.Now()
		stop(t, b)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the broker took %v to stop", took)
		}
		if r := <-joined; !errors.Is(r.Err, kerr.NotCoordinator) {
			t.Errorf("the member is told %v", r.Err)
		}
		if _, err := b.parts.groups.FetchOffsets(nil, "g", nil); !errors.Is(err, kerr.CoordinatorNotAvailable) {
			t.Errorf("after the stop: %v", err)
		}
	})
}
