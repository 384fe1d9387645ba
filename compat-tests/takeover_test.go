package compat

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestTakeOver lets Kafka 3.9.2 and Gracchus run by turns on the same data
// directories and znodes. Each turn finds all that the turns before wrote, goes
// on with the same producer, and writes more.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name  string
		clean bool
	}{{"clean stops", true}, {"kill -9", false}} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			takeOver(t, harness.ZooKeeper(t), mode.clean)
		})
	}
}

const takeOverRounds = 3

func takeOver(t *testing.T, zookeeper string, clean bool) {
	dir := t.TempDir()
	o := harness.Options{
		ZooKeeper: zookeeper,
		Dirs:      []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")},
		// A session that is left behind by kill -9 must not hold up the next.
		Properties: []string{"zookeeper.session.timeout.ms=6000", "log.segment.delete.delay.ms=1000"},
	}
	tools := startTools(t)
	l := &ledger{topics: map[string]*written{}}
	for round := range takeOverRounds {
		for _, who := range []struct {
			name  string
			start func(harness.TB, harness.Options) *harness.Broker
		}{{"Kafka", harness.StartKafka}, {"Gracchus", ours()}} {
			name := fmt.Sprintf("round %d, %s", round+1, who.name)
			if !t.Run(name, func(t *testing.T) {
				waitForSession(t, zookeeper)
				b := who.start(t, o)
				l.turn(t, b)
				if clean {
					b.StopCleanly(t)
					dumpLogSegments(t, tools, o.Dirs)
				} else {
					b.Kill()
				}
			}) {
				return
			}
		}
	}
	t.Run("Kafka at last", func(t *testing.T) {
		waitForSession(t, zookeeper)
		b := harness.StartKafka(t, o)
		l.check(t, b)
		b.StopCleanly(t)
		dumpLogSegments(t, tools, o.Dirs)
	})
}

// ours starts Gracchus, or Kafka when the tests themselves are checked.
func ours() func(harness.TB, harness.Options) *harness.Broker {
	if os.Getenv("COMPAT_TARGETS") == "kafka" {
		return harness.StartKafka
	}
	return harness.StartGracchus
}

// ledger knows what must be in the brokers.
type ledger struct {
	turns     int
	clusterID string
	topics    map[string]*written
	producer  *rawProducer
	deleted   []string
}

// written is a topic: record numbers go around its partitions.
type written struct {
	id         kadm.TopicID
	partitions int
	count      int
}

const producerTopic = "take-producer"

// turn checks all that is there, and adds to it.
func (l *ledger) turn(t *testing.T, b *harness.Broker) {
	l.turns++
	if l.turns == 1 {
		for _, codec := range codecs {
			l.create(t, b, "take-"+codec, 2)
		}
		l.create(t, b, producerTopic, 1)
	}
	l.check(t, b)
	for _, codec := range codecs {
		l.write(t, b, "take-"+codec, franz(t, b, kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerBatchMaxBytes(16<<10)), 200)
	}
	l.goOnProducing(t, franz(t, b))

	// What the broker before made is deleted, and something made for the next.
	for _, topic := range slices.Sorted(maps.Keys(l.topics)) {
		if strings.HasPrefix(topic, "take-doomed") {
			l.delete(t, b, topic)
		}
	}
	doomed := fmt.Sprintf("take-doomed-%d", l.turns)
	l.create(t, b, doomed, 3)
	l.write(t, b, doomed, franz(t, b, kgo.ProducerBatchMaxBytes(16<<10)), 50)
	if l.turns == 2 { // more partitions than a topic began with
		if _, err := kadm.NewClient(franz(t, b)).UpdatePartitions(within(t, 30*time.Second), 2, producerTopic); err != nil {
			t.Fatalf("add partitions: %v", err)
		}
	}
	l.check(t, b)
	// Deleted at the very end: the files may still be there for the next broker.
	brief := fmt.Sprintf("take-brief-%d", l.turns)
	l.create(t, b, brief, 2)
	l.write(t, b, brief, franz(t, b), 20)
	l.delete(t, b, brief)
}

func (l *ledger) create(t *testing.T, b *harness.Broker, topic string, partitions int) {
	t.Helper()
	createTopic(t, b, topic, int32(partitions), map[string]string{"segment.bytes": "65536", "index.interval.bytes": "1024"})
	topics, err := kadm.NewClient(franz(t, b)).ListTopics(within(t, 30*time.Second), topic)
	if err != nil || topics[topic].ID == (kadm.TopicID{}) {
		t.Fatalf("%s has no id: %v", topic, err)
	}
	l.topics[topic] = &written{id: topics[topic].ID, partitions: partitions}
}

func (l *ledger) delete(t *testing.T, b *harness.Broker, topic string) {
	t.Helper()
	admin := kadm.NewClient(franz(t, b))
	if gone, err := admin.DeleteTopics(within(t, 30*time.Second), topic); err != nil || gone.Error() != nil {
		t.Fatalf("delete %s: %v %v", topic, err, gone.Error())
	}
	waitUntil(t, topic+" is gone", func() bool {
		topics, err := admin.ListTopics(within(t, 10*time.Second))
		return err == nil && !topics.Has(topic)
	})
	delete(l.topics, topic)
	l.deleted = append(l.deleted, topic)
}

func (l *ledger) write(t *testing.T, b *harness.Broker, topic string, client *kgo.Client, n int) {
	t.Helper()
	w := l.topics[topic]
	produce(t, client, topic, w.partitions, w.count, w.count+n)
	w.count += n
	client.Close()
}

// goOnProducing goes on with the producer id and the sequence numbers of the
// turn before.
func (l *ledger) goOnProducing(t *testing.T, client *kgo.Client) {
	t.Helper()
	const size = 10
	w := l.topics[producerTopic]
	if l.producer == nil {
		l.producer = newRawProducer(t, client)
	} else {
		// The last batch of the turn before, again: answered, not written.
		code, offset := l.producer.send(t, client, producerTopic, l.producer.next-size, w.count-size, w.count)
		if code != 0 || offset != int64(w.count-size) {
			t.Fatalf("the last batch again: error code %d, offset %d; it is at offset %d", code, offset, w.count-size)
		}
		const outOfOrderSequence = 45
		if code, _ := l.producer.send(t, client, producerTopic, l.producer.next+1, w.count, w.count+1); code != outOfOrderSequence {
			t.Fatalf("a batch with a gap before it: error code %d", code)
		}
	}
	for range 7 {
		code, offset := l.producer.send(t, client, producerTopic, l.producer.next, w.count, w.count+size)
		if code != 0 || offset != int64(w.count) {
			t.Fatalf("sequence number %d: error code %d, offset %d instead of %d", l.producer.next, code, offset, w.count)
		}
		l.producer.next += size
		w.count += size
	}
}

// check reads every record of every topic, and compares the rest of what can be
// seen of the cluster.
func (l *ledger) check(t *testing.T, b *harness.Broker) {
	t.Helper()
	admin := kadm.NewClient(franz(t, b))
	var meta kadm.Metadata
	waitUntil(t, "the broker knows and leads all topics", func() bool {
		var err error
		if meta, err = admin.Metadata(within(t, 30*time.Second)); err != nil {
			return false
		}
		for topic, w := range l.topics {
			there := meta.Topics[topic]
			if there.ID == (kadm.TopicID{}) || len(there.Partitions) < w.partitions {
				return false
			}
			for _, p := range there.Partitions {
				if p.Err != nil || p.Leader < 0 {
					return false
				}
			}
		}
		return true
	})
	if l.clusterID == "" {
		l.clusterID = meta.Cluster
	}
	if meta.Cluster != l.clusterID || l.clusterID == "" {
		t.Errorf("cluster id %q, it was %q", meta.Cluster, l.clusterID)
	}
	for _, topic := range l.deleted {
		if meta.Topics.Has(topic) {
			t.Errorf("%s was deleted, and is there", topic)
		}
	}
	for topic, w := range l.topics {
		if got := meta.Topics[topic].ID; got != w.id {
			t.Errorf("%s has id %v, it was %v", topic, got, w.id)
		}
		record := harness.MakeRecord
		if topic == producerTopic && l.producer != nil {
			record = l.producer.record
		}
		checkTopicIs(t, b, topic, w.partitions, w.count, record)
		ends, err := admin.ListEndOffsets(within(t, 30*time.Second), topic)
		for p := range w.partitions {
			want := int64((w.count + w.partitions - 1 - p) / w.partitions)
			if end, ok := ends.Lookup(topic, int32(p)); err != nil || !ok || end.Offset != want {
				t.Errorf("%s-%d ends at %d (%v), not %d", topic, p, end.Offset, err, want)
			}
		}
		// The middle by its time.
		if w.count > 0 {
			middle := w.count / 2 / w.partitions * w.partitions
			at, err := admin.ListOffsetsAfterMilli(within(t, 30*time.Second), record(middle).Timestamp, topic)
			if found, ok := at.Lookup(topic, 0); err != nil || !ok || found.Offset != int64(middle/w.partitions) {
				t.Errorf("%s-0 at the time of record %d: %+v %v, want offset %d", topic, middle, found, err, middle/w.partitions)
			}
		}
		configs, err := admin.DescribeTopicConfigs(within(t, 30*time.Second), topic)
		if err != nil || len(configs) != 1 || !slices.ContainsFunc(configs[0].Configs, func(c kadm.Config) bool {
			return c.Key == "segment.bytes" && c.MaybeValue() == "65536"
		}) {
			t.Errorf("%s lost its segment.bytes: %v", topic, err)
		}
	}
}

// dumpLogSegments has Kafka's own tool read every file of every log.
func dumpLogSegments(t *testing.T, tools *tools, dirs []string) {
	t.Helper()
	var files []string
	for _, dir := range dirs {
		for _, pattern := range []string{"*.log", "*.index", "*.timeindex", "*.snapshot"} {
			found, err := filepath.Glob(filepath.Join(dir, "*", pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				if !strings.HasSuffix(filepath.Dir(f), "-delete") {
					files = append(files, f)
				}
			}
		}
	}
	if len(files) < 10 {
		t.Fatalf("only %d files to look at", len(files))
	}
	// After hours of torture there are more than a tool can look at.
	const most, atOnce = 2000, 250
	if len(files) > most {
		rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		t.Logf("DumpLogSegments looks at %d of %d files", most, len(files))
		files = files[:most]
	}
	for some := range slices.Chunk(files, atOnce) {
		dumpSome(t, tools, some)
	}
}

func dumpSome(t *testing.T, tools *tools, files []string) {
	t.Helper()
	said := tools.dumpLogs(t, "--deep-iteration", "--files", strings.Join(files, ","))
	sane := runIndexCheck(t, tools, files)
	for _, complaint := range []string{"Mismatch", "mismatch", "Non-consecutive", "out of order", "Exception", "invalid", "isvalid: false", "failed", "Corrupt", "rror:"} {
		if i := strings.Index(said, complaint); i >= 0 {
			t.Errorf("DumpLogSegments complains: …%s…", said[max(0, i-300):min(len(said), i+300)])
		}
	}
	if strings.Count(said, "Dumping ") != len(files) {
		t.Errorf("DumpLogSegments read %d of %d files:\n%.2000s", strings.Count(said, "Dumping "), len(files), said)
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".index") && !strings.Contains(sane, f+" passed sanity check.") && !strings.Contains(sane, f+" is empty.") {
			t.Errorf("%s did not pass the sanity check", f)
		}
	}
}

func runIndexCheck(t *testing.T, tools *tools, files []string) string {
	t.Helper()
	indexes := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !strings.HasSuffix(f, ".index") })
	if len(indexes) == 0 {
		return ""
	}
	return tools.dumpLogs(t, "--index-sanity-check", "--files", strings.Join(indexes, ","))
}
