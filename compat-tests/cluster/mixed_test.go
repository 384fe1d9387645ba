package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
	"github.com/gracchus-mq/gracchus/compat-tests/load"
)

// ourBroker is the one of a mixed cluster that is not Kafka's.
const ourBroker = 3

// mixedSession is the timeout of ZooKeeper sessions: a Kafka that starts on a busy machine
// loses a shorter one, and ends.
const mixedSession = 2 * harness.SessionTimeout

// mixedCodecs are all that records can be compressed with.
var mixedCodecs = []kgo.CompressionCodec{
	kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
}

// TestMixed has two Kafka 3.9.2 and a broker of ours in one cluster, with either as its
// first controller. Topics have three replicas, of which two must be in sync. They are
// made, produced to with every codec, trimmed, configured, expanded and deleted, and groups
// commit offsets; then brokers stop and are killed while producers are busy, come back and
// lead again. In the end every acknowledged record is there once, in order, at its offset,
// and the replicas are the same, byte by byte, and so are the epochs that they know. How
// soon brokers of Kafka's do their part is told, not asserted.
//
// CLUSTER_ENDS says how often a broker ends (4), CLUSTER_SEED repeats a run.
func TestMixed(t *testing.T) {
	count := harness.FromEnvironment(t, "CLUSTER_ENDS", 4)
	seed := harness.FromEnvironment(t, "CLUSTER_SEED", int(rand.Int32()))
	t.Logf("CLUSTER_SEED=%d", seed)
	for _, tt := range []struct {
		name  string
		first []int // among them is the controller
		ends  []end
	}{
		{"Kafka is controller", []int{1, 2}, []end{{ours, stopped}, {ours, bounced}, {ours, killed}, {kafkas, killed}}},
		{"ours is controller", []int{ourBroker}, []end{{kafkas, stopped}, {kafkas, killed}, {ours, bounced}, {ours, killed}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := startMixed(t, tt.first)
			m.codecs()
			m.trim()
			m.configure()
			m.expand()
			m.remove()
			m.commit()
			random := rand.New(rand.NewPCG(uint64(seed), 0))
			for len(tt.ends) < count {
				tt.ends = append(tt.ends, end{anyBroker, random.IntN(bounced + 1)})
			}
			n := 0
			for some := range slices.Chunk(tt.ends[:count], roundFaults) {
				m.underLoad(fmt.Sprintf("loaded-%d", n), some, random)
				n++
			}
			m.checkTrimmed()
			for _, b := range m.cluster.Members {
				b.Terminate(60 * time.Second)
			}
		})
	}
}

// mixed is a cluster of both.
type mixed struct {
	t       *testing.T
	cluster *harness.Cluster
	client  *kgo.Client
	admin   *kadm.Client
}

func startMixed(t *testing.T, first []int) *mixed {
	c := harness.StartCluster(t, harness.ClusterOptions{Kafka: []int{1, 2}, First: first, Session: mixedSession, Properties: []string{
		"min.insync.replicas=2", "auto.leader.rebalance.enable=false", "log.segment.bytes=1000000", "log.segment.delete.delay.ms=500",
		"log.retention.check.interval.ms=1000", "log.initial.task.delay.ms=1000", "offsets.topic.num.partitions=6", "offsets.topic.replication.factor=3",
	}})
	m := &mixed{t: t, cluster: c, client: client(t, c.Addrs())}
	m.admin = kadm.NewClient(m.client)
	for _, b := range each(t, c) {
		eventually(t, 30*time.Second, "every broker knows all three and the controller", func() bool {
			told := describe(t.Context(), b, "none")
			return told != nil && len(told.Brokers) == 3 && slices.Contains(first, int(told.ControllerID))
		})
	}
	return m
}

// codecs produces with every codec, with producers that are idempotent and others.
func (m *mixed) codecs() {
	m.t.Helper()
	const topic, partitions, records = "codecs", 3, 60
	create(m.t, m.client, topic, partitions, 3, map[string]*string{"retention.ms": text("-1")}) // the records are old
	n := 0
	for _, codec := range mixedCodecs {
		for _, more := range [][]kgo.Opt{nil, {kgo.DisableIdempotentWrite()}} {
			c := client(m.t, m.cluster.Addrs(), append(more, kgo.ProducerBatchCompression(codec))...)
			var batch []*kgo.Record
			for range partitions * records {
				r := harness.MakeRecord(n)
				batch = append(batch, &kgo.Record{Topic: topic, Partition: int32(n % partitions), Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Timestamp)})
				n++
			}
			if err := c.ProduceSync(within(m.t, 30*time.Second), batch...).FirstErr(); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	all := readAll(m.t, m.cluster, topic)
	for p, records := range all {
		for i, r := range records {
			if want := harness.MakeRecord(i*partitions + p); string(r.Value) != string(want.Value) || string(r.Key) != string(want.Key) {
				m.t.Fatalf("%s-%d: record %d is another", topic, p, i)
			}
		}
	}
	m.sameReplicas(topic)
}

// sameReplicas compares the files of all replicas, and what they know of epochs, up to
// where the topic ends now.
func (m *mixed) sameReplicas(topic string) {
	m.t.Helper()
	starts, err := m.admin.ListStartOffsets(within(m.t, 30*time.Second), topic)
	if err != nil {
		m.t.Fatal(err)
	}
	for p, end := range ends(m.t, m.client, topic) {
		start, _ := starts.Lookup(topic, p)
		checkPartition(m.t, m.cluster, topic, int(p), start.Offset, end)
		var epochs [3]string
		read := func() bool {
			for i, b := range m.cluster.Members {
				content, err := os.ReadFile(filepath.Join(replicaDir(b, topic, int(p)), "leader-epoch-checkpoint"))
				if err != nil {
					m.t.Fatal(err)
				}
				epochs[i] = string(content)
			}
			return epochs[0] == epochs[1] && epochs[1] == epochs[2]
		}
		// They are written in the background.
		for deadline := time.Now().Add(5 * time.Second); !read(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				m.t.Errorf("%s-%d: leader-epoch-checkpoint differs: %q", topic, p, epochs)
				break
			}
		}
	}
}

const (
	trimmed, trimmedPartitions = "trimmed", 3
	trimmedTo                  = 20
)

// trim deletes records. Kafka answers when all replicas have deleted them.
func (m *mixed) trim() {
	m.t.Helper()
	create(m.t, m.client, trimmed, trimmedPartitions, 3, nil)
	produce(m.t, m.client, trimmed, trimmedPartitions, 2*trimmedTo)
	to := kadm.Offsets{}
	for p := range int32(trimmedPartitions) {
		to.AddOffset(trimmed, p, trimmedTo, -1)
	}
	deleted, err := m.admin.DeleteRecords(within(m.t, 10*time.Second), to)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		m.t.Fatalf("delete records: %v", err)
	}
	deleted.Each(func(d kadm.DeleteRecordsResponse) {
		if d.LowWatermark != trimmedTo {
			m.t.Errorf("partition %d begins at %d", d.Partition, d.LowWatermark)
		}
	})
}

// checkTrimmed looks for what was trimmed with other leaders.
func (m *mixed) checkTrimmed() {
	m.t.Helper()
	starts, err := m.admin.ListStartOffsets(within(m.t, 30*time.Second), trimmed)
	if err != nil {
		m.t.Fatal(err)
	}
	starts.Each(func(o kadm.ListedOffset) {
		if o.Err != nil || o.Offset != trimmedTo {
			m.t.Errorf("%s-%d begins at %d (%v)", trimmed, o.Partition, o.Offset, o.Err)
		}
	})
	produce(m.t, m.client, trimmed, trimmedPartitions, 1) // for all to know the epoch
	m.sameReplicas(trimmed)
}

// configure changes what a topic may hold: every leader refuses what is too large, and
// all replicas delete what is too much.
func (m *mixed) configure() {
	m.t.Helper()
	const topic, partitions = "configured", 3
	create(m.t, m.client, topic, partitions, 3, map[string]*string{"segment.bytes": text("20000")})
	c := client(m.t, m.cluster.Addrs(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	send := func(p int32, size int) error {
		return c.ProduceSync(within(m.t, 10*time.Second), &kgo.Record{Topic: topic, Partition: p, Value: make([]byte, size)}).FirstErr()
	}
	for p := range int32(partitions) {
		for range 10 {
			if err := send(p, 9000); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	m.set(topic, "max.message.bytes", "1000")
	m.set(topic, "retention.bytes", "1")
	for p := range int32(partitions) {
		eventually(m.t, 10*time.Second, "the leader refuses what is too large", func() bool { return errors.Is(send(p, 2000), kerr.MessageTooLarge) })
	}
	for p := range partitions {
		for _, b := range m.cluster.Members {
			eventually(m.t, 10*time.Second, fmt.Sprintf("broker %d keeps only the newest segment of partition %d", b.ID, p), func() bool {
				segments, err := filepath.Glob(filepath.Join(replicaDir(b, topic, p), "*.log"))
				return err == nil && len(segments) == 1 && filepath.Base(segments[0]) != "00000000000000000000.log"
			})
		}
	}
	m.sameReplicas(topic)
}

// set changes the configuration of a topic.
func (m *mixed) set(topic, key, value string) {
	m.t.Helper()
	altered, err := m.admin.AlterTopicConfigs(within(m.t, 30*time.Second), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err != nil || altered[0].Err != nil {
		m.t.Fatalf("%s=%s: %v, %+v", key, value, err, altered)
	}
}

// expand gives a topic more partitions.
func (m *mixed) expand() {
	m.t.Helper()
	const topic, before, after = "expanded", 2, 6
	create(m.t, m.client, topic, before, 3, nil)
	produce(m.t, m.client, topic, before, 10)
	if _, err := m.admin.UpdatePartitions(within(m.t, 30*time.Second), after, topic); err != nil {
		m.t.Fatal(err)
	}
	for _, b := range each(m.t, m.cluster) {
		eventually(m.t, 10*time.Second, "every broker knows the new partitions", func() bool {
			told := describe(m.t.Context(), b, topic)
			return told != nil && len(told.Topics[0].Partitions) == after
		})
	}
	produce(m.t, client(m.t, m.cluster.Addrs()), topic, after, 10)
	m.sameReplicas(topic)
}

// remove deletes a topic and makes another of its name, which must not have the records
// of the first.
func (m *mixed) remove() {
	m.t.Helper()
	const topic, partitions = "removed", 3
	for _, n := range []int{10, 5} {
		create(m.t, m.client, topic, partitions, 3, nil)
		c := client(m.t, m.cluster.Addrs())
		produce(m.t, c, topic, partitions, n)
		m.sameReplicas(topic)
		for p, end := range ends(m.t, c, topic) {
			if end != int64(n) {
				m.t.Errorf("%s-%d ends at %d, not %d", topic, p, end, n)
			}
		}
		if gone, err := m.admin.DeleteTopic(within(m.t, 30*time.Second), topic); err != nil || gone.Err != nil {
			m.t.Fatalf("delete: %v %v", err, gone.Err)
		}
		eventually(m.t, 20*time.Second, "nothing is left of the topic", func() bool {
			for _, b := range m.cluster.Members {
				left, err := filepath.Glob(filepath.Join(b.Options.Dirs[0], topic+"*"))
				if err != nil {
					m.t.Fatal(err)
				}
				if len(left) > 0 {
					return false
				}
			}
			topics, err := m.admin.ListTopics(within(m.t, 10*time.Second))
			return err == nil && !topics.Has(topic)
		})
	}
}

// commit has groups commit offsets, and asks for them. Ours asks Kafka's brokers, which
// are in sync with it, whether it coordinates a group still.
func (m *mixed) commit() {
	m.t.Helper()
	const topic, groups = "committed", 30
	create(m.t, m.client, topic, 1, 3, nil)
	for _, b := range each(m.t, m.cluster) {
		eventually(m.t, 10*time.Second, "every broker knows the topic", func() bool {
			told := describe(m.t.Context(), b, topic)
			return told != nil && told.Topics[0].ErrorCode == 0 && len(told.Topics[0].Partitions) == 1
		})
	}
	names := make([]string, groups)
	for i := range names {
		names[i] = fmt.Sprint("group-", i)
		var offsets kadm.Offsets
		offsets.AddOffset(topic, 0, int64(i), -1)
		if err := m.admin.CommitAllOffsets(within(m.t, 30*time.Second), names[i], offsets); err != nil {
			m.t.Fatalf("commit of %s: %v", names[i], err)
		}
	}
	by := map[int32]int{}
	coordinators := m.admin.FindGroupCoordinators(within(m.t, 30*time.Second), names...)
	for i, name := range names {
		at := coordinators[name]
		by[at.NodeID]++
		found, err := m.admin.FetchOffsets(within(m.t, 30*time.Second), name)
		if err == nil {
			err = found.Error()
		}
		if o, _ := found.Lookup(topic, 0); err != nil || at.Err != nil || o.At != int64(i) {
			m.t.Errorf("%s of broker %d (%v) has committed %d, not %d (%v)", name, at.NodeID, at.Err, o.At, i, err)
		}
	}
	if len(by) != 3 {
		m.t.Errorf("not every broker coordinates some of the groups: %v", by)
	}
	described, err := m.admin.ListTopics(within(m.t, 30*time.Second), offsetsTopic)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, p := range described[offsetsTopic].Partitions {
		if len(p.ISR) != 3 {
			m.t.Errorf("%s-%d: in sync are %v", offsetsTopic, p.Partition, p.ISR)
		}
	}
}

// end is one end of a broker.
type end struct{ whose, how int }

const ( // whose end
	ours      = iota
	kafkas    // one that is not controller
	anyBroker // perhaps the controller
)

const ( // how
	stopped = iota // by SIGTERM
	killed         // by SIGKILL
	bounced        // by SIGKILL, and if it is ours back before its session has ended; Kafka must wait
)

// controller is the controller that broker 1 knows.
func (m *mixed) controller() (id int) {
	m.t.Helper()
	eventually(m.t, 10*time.Second, "broker 1 knows a controller", func() bool {
		id = controllerOf(m.t, m.client)
		return id > 0
	})
	return id
}

// broker chooses the broker that is to end.
func (m *mixed) broker(whose int, random *rand.Rand) *harness.Member {
	switch whose {
	case ours:
		return m.cluster.Member(ourBroker)
	case kafkas:
		if m.controller() == 1 {
			return m.cluster.Member(2)
		}
		return m.cluster.Member(1)
	}
	return m.cluster.Member(1 + random.IntN(3))
}

// underLoad ends brokers, each while it leads, and has them come back and lead again,
// while producers are busy.
func (m *mixed) underLoad(topic string, all []end, random *rand.Rand) {
	t, c := m.t, m.cluster
	t.Helper()
	create(t, m.client, topic, faultPartitions, 3, nil)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var producers []*load.Producer
	var running sync.WaitGroup
	for i, codec := range mixedCodecs {
		p := load.New(client(t, c.Addrs(), kgo.ProducerBatchCompression(codec), kgo.ProduceRequestTimeout(5*time.Second), kgo.RequestTimeoutOverhead(2*time.Second)), i, topic, faultPartitions)
		p.Pause = 2 * time.Millisecond
		producers = append(producers, p)
		running.Go(func() { p.Run(ctx) })
	}
	watch := newWatch(t, c, topic)
	running.Go(func() { watch.run(ctx) })
	getOn := func() {
		t.Helper()
		before := load.Acknowledged(producers)
		eventually(t, time.Minute, "the producers get on", func() bool { return load.Acknowledged(producers) > before+100 })
	}
	getOn()
	for _, e := range all {
		b := m.broker(e.whose, random)
		t.Logf("broker %d ends, the controller is %d", b.ID, m.controller())
		if !watch.ledBy(b.ID) {
			t.Errorf("broker %d leads nothing", b.ID)
		}
		began := time.Now()
		if e.how == stopped {
			b.Terminate(30 * time.Second)
			t.Logf("  it has stopped after %v", time.Since(began).Round(time.Millisecond))
			if said := "leaderships are handed over to other brokers"; b.ID == ourBroker && !strings.Contains(b.Output(), said) {
				t.Errorf("it did not say that %s:\n%s", said, b.Tail(20))
			}
		} else {
			b.Kill()
		}
		if e.how != bounced || b.ID != ourBroker {
			led := eventually(t, time.Minute, "every partition has another leader", func() bool { return watch.allLed(b.ID) })
			t.Logf("  leaders everywhere %v after its end", led.Round(time.Millisecond))
			getOn()
			eventually(t, time.Minute, "its registration ends", func() bool { return watch.unregistered(b.ID) })
		}
		b.Start()
		synced := eventually(t, time.Minute, "every replica is in sync again", watch.allInSync)
		moved := eventually(t, time.Minute, "the first replicas lead", func() bool { return m.electPreferred() && watch.preferredLead() })
		t.Logf("  it is back, in sync after %v, leads again after %v more", synced.Round(time.Millisecond), moved.Round(time.Millisecond))
		getOn()
	}
	stop()
	running.Wait()
	watch.report()
	load.Check(t, producers, readAll(t, c, topic))
	m.sameReplicas(topic)
}

// electPreferred has the first replicas lead all partitions. It reports false if some of
// them are not in sync yet.
func (m *mixed) electPreferred() bool {
	m.t.Helper()
	elected, err := m.admin.ElectLeaders(within(m.t, 30*time.Second), kadm.ElectPreferredReplica, nil)
	if err != nil {
		m.t.Fatalf("elect leaders: %v", err)
	}
	all := true
	for topic, partitions := range elected {
		for p, r := range partitions {
			switch {
			case errors.Is(r.Err, kerr.PreferredLeaderNotAvailable):
				all = false
			case r.Err != nil && !errors.Is(r.Err, kerr.ElectionNotNeeded):
				m.t.Errorf("elect a leader of %s-%d: %v %s", topic, p, r.Err, r.ErrMessage)
			}
		}
	}
	return all
}
