package compat

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestTakeOverCompaction lets Kafka 3.9.2 write to compacted topics, copies its data
// directory, and has Kafka compact the one copy and Gracchus the other, three times with
// more records in between; then Kafka compacts what both have left once more. Each time
// the same records must be there, at the same offsets, tombstones and markers included,
// and read_committed readers must see the same, also while transactions are open.
func TestTakeOverCompaction(t *testing.T) {
	t.Parallel()
	zookeeper := harness.ZooKeeper(t)
	dir := t.TempDir()
	options := func(name string) harness.Options {
		return harness.Options{
			ZooKeeper: zookeeper,
			Dirs:      []string{filepath.Join(dir, name)},
			Properties: []string{
				"zookeeper.session.timeout.ms=6000", "log.cleaner.backoff.ms=100", "log.segment.delete.delay.ms=1000",
				// Batches larger than the buffer, and more keys than fit into one pass.
				"log.cleaner.io.buffer.size=20000", "log.cleaner.dedupe.buffer.size=1100000",
				"auto.create.topics.enable=false", "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1",
			},
		}
	}
	written := options("written")
	b := harness.StartKafka(t, written)
	var open *openTransactions
	for _, topic := range compactedTopics {
		createTopic(t, b, topic.name, 1, map[string]string{
			"cleanup.policy": "compact", "segment.bytes": strconv.Itoa(topic.segment), "delete.retention.ms": "0",
			"min.cleanable.dirty.ratio": "1", "index.interval.bytes": "1000",
		})
		topic.write(t, b, 1)
		if topic.transactional {
			writeTransactions(t, b, topic.name)
		}
		if topic.open {
			open = startOpenTransactions(t, b, topic.name)
			open.write(t, b, 1)
		}
		topic.roll(t, b)
	}
	b.StopCleanly(t)

	// copyWritten returns the options of a broker on a copy of what was written.
	copyWritten := func(name string) harness.Options {
		o := options(name)
		if err := os.CopyFS(o.Dirs[0], os.DirFS(written.Dirs[0])); err != nil {
			t.Fatal(err)
		}
		return o
	}
	alone, together := copyWritten("Kafka"), copyWritten("Gracchus")
	want, got := map[string][]string{}, map[string][]string{}
	compactTopics(t, harness.StartKafka, alone, open.clone(), []int{1, 2, 3, 4}, want)
	compactTopics(t, ours(), together, open, []int{1, 2, 3}, got)
	checkIndexes(t, together.Dirs[0])
	compactTopics(t, harness.StartKafka, together, open, []int{4}, got)
	if len(got) != len(want) {
		t.Errorf("%d comparisons with Kafka, of %d", len(got), len(want))
	}
	for what, want := range want {
		got := got[what]
		t.Logf("%s: %d records are left", what, len(want))
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Errorf("%s: record %d is\n%s\nand with Kafka\n%s", what, i, at(got, i), at(want, i))
				break
			}
		}
	}
}

// compactTopics starts a broker, has it compact the topics in each of some rounds, and
// notes what is left then.
func compactTopics(t *testing.T, start func(harness.TB, harness.Options) *harness.Broker, o harness.Options, open *openTransactions, rounds []int, left map[string][]string) {
	t.Helper()
	waitForSession(t, o.ZooKeeper)
	b := start(t, o)
	waitForTopics(t, b)
	for _, round := range rounds {
		if round > 1 {
			for _, topic := range compactedTopics {
				if !topic.once {
					topic.write(t, b, round)
				}
				if topic.open {
					open.write(t, b, round)
				}
				topic.roll(t, b)
			}
		}
		setDirtyRatio(t, b, "0")
		waitForCompaction(t, o.Dirs[0], open.stable(t, b))
		setDirtyRatio(t, b, "1")
		for _, topic := range compactedTopics {
			what := fmt.Sprintf("%s, compaction %d", topic.name, round)
			if topic.open {
				open.describe(t, b, what, left)
			} else {
				left[what] = everything(t, b, topic.name)
			}
		}
	}
	b.StopCleanly(t)
}

func at(records []string, i int) string {
	if i >= len(records) {
		return fmt.Sprintf("none, after %d", len(records))
	}
	return records[i]
}

// compactedTopic says what is in a topic.
type compactedTopic struct {
	name          string
	codec         string
	segment       int
	records, keys int
	valueBytes    int // at most
	transactional bool
	open          bool // there are openTransactions
	tombstones    bool
	once          bool // nothing is written to it in later rounds
}

var compactedTopics = []compactedTopic{
	{name: "compact-none", codec: "none", segment: 16 << 10, records: 500, keys: 60, valueBytes: 400, tombstones: true},
	{name: "compact-gzip", codec: "gzip", segment: 8 << 10, records: 400, keys: 60, valueBytes: 400, tombstones: true},
	{name: "compact-snappy", codec: "snappy", segment: 16 << 10, records: 400, keys: 60, valueBytes: 400, tombstones: true},
	{name: "compact-lz4", codec: "lz4", segment: 16 << 10, records: 400, keys: 60, valueBytes: 400, tombstones: true},
	{name: "compact-zstd", codec: "zstd", segment: 8 << 10, records: 400, keys: 60, valueBytes: 400, tombstones: true},
	{name: "compact-large", codec: "none", segment: 1 << 20, records: 20, keys: 3, valueBytes: 300_000, tombstones: true},
	{name: "compact-many", codec: "none", segment: 256 << 10, records: 60_000, keys: 50_000, valueBytes: 10, once: true},
	{name: "compact-txn", codec: "lz4", segment: 8 << 10, records: 200, keys: 20, valueBytes: 200, tombstones: true, transactional: true},
	{name: "compact-open", codec: "none", segment: 4 << 10, records: 60, keys: 15, valueBytes: 100, tombstones: true, open: true},
}

// write appends the records of a round, which are always the same.
func (c compactedTopic) write(t *testing.T, b *harness.Broker, round int) {
	t.Helper()
	client := franz(t, b, kgo.ProducerBatchCompression(franzCodecs[c.codec]), kgo.ProducerBatchMaxBytes(900_000))
	defer client.Close()
	rng := rand.New(rand.NewPCG(uint64(round), uint64(c.records)))
	var some []*kgo.Record
	for i := range c.records {
		some = append(some, c.record(rng, round, i))
		if len(some) == 500 || c.records <= 500 && (rng.IntN(8) == 0 || i == c.records-1) {
			if err := client.ProduceSync(within(t, 60*time.Second), some...).FirstErr(); err != nil {
				t.Fatalf("produce to %s: %v", c.name, err)
			}
			some = nil
		}
	}
}

func (c compactedTopic) record(rng *rand.Rand, round, i int) *kgo.Record {
	r := &kgo.Record{
		Topic: c.name, Key: fmt.Appendf(nil, "key-%d", rng.IntN(c.keys)), Timestamp: time.UnixMilli(int64(1_700_000_000_000 + round*1_000_000 + i*10 - rng.IntN(100))),
		Headers: []kgo.RecordHeader{{Key: "round", Value: []byte(strconv.Itoa(round))}},
	}
	if value := rng.IntN(c.valueBytes); !c.tombstones || rng.IntN(4) > 0 {
		r.Value = bytes.Repeat(fmt.Appendf(nil, "%d.", rng.IntN(1000)), value/4+1)
	}
	return r
}

// roll begins another segment, so that everything before can be compacted: with
// records whose keys are never seen again.
func (c compactedTopic) roll(t *testing.T, b *harness.Broker) {
	t.Helper()
	client := franz(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer client.Close()
	for i := range 2 {
		r := &kgo.Record{Topic: c.name, Key: fmt.Appendf(nil, "roll-%d", i), Value: make([]byte, c.segment*3/4), Timestamp: time.UnixMilli(1_700_000_000_000)}
		if err := client.ProduceSync(within(t, 30*time.Second), r).FirstErr(); err != nil {
			t.Fatalf("produce to %s: %v", c.name, err)
		}
	}
}

// writeTransactions writes transactions of several producers, every third of them
// aborted.
func writeTransactions(t *testing.T, b *harness.Broker, topic string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, 9))
	for p := range 2 {
		client := franz(t, b, kgo.TransactionalID(fmt.Sprintf("compaction-%d", p)))
		for n := range 9 {
			if err := client.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for i := range 1 + rng.IntN(5) {
				r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key-%d", rng.IntN(15)), Value: fmt.Appendf(nil, "transaction %d of %d: %d", n, p, i), Timestamp: time.UnixMilli(1_700_000_000_000)}
				if err := client.ProduceSync(within(t, 30*time.Second), r).FirstErr(); err != nil {
					t.Fatalf("produce in a transaction: %v", err)
				}
			}
			if err := client.EndTransaction(within(t, 30*time.Second), n%3 != 0); err != nil {
				t.Fatalf("end a transaction: %v", err)
			}
		}
		client.Close()
	}
}

// waitForTopics waits until a broker that has just started leads all topics.
func waitForTopics(t *testing.T, b *harness.Broker) {
	t.Helper()
	admin := kadm.NewClient(franz(t, b, kgo.MetadataMinAge(100*time.Millisecond))) // what it knows already it does not ask for again
	waitUntil(t, "the topics have no leaders", func() bool {
		topics, err := admin.ListTopics(within(t, 30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(compactedTopics, func(c compactedTopic) bool {
			return !topics.Has(c.name) || topics[c.name].Partitions[0].Leader != 1
		})
	})
}

// checkIndexes has Kafka check the offset indexes of the compacted topics. What else its
// DumpLogSegments looks for, gaps and times without records, is there where Kafka itself
// has compacted.
func checkIndexes(t *testing.T, dir string) {
	t.Helper()
	indexes, err := filepath.Glob(filepath.Join(dir, "compact-*", "*.index"))
	if err != nil || len(indexes) < len(compactedTopics) {
		t.Fatalf("%d indexes, %v", len(indexes), err)
	}
	said := runIndexCheck(t, startTools(t), indexes)
	for _, f := range indexes {
		if !strings.Contains(said, f+" passed sanity check.") && !strings.Contains(said, f+" is empty.") {
			t.Errorf("%s did not pass the sanity check:\n%s", f, said)
		}
	}
}

// setDirtyRatio says from when on topics are compacted: with 1 never.
func setDirtyRatio(t *testing.T, b *harness.Broker, ratio string) {
	t.Helper()
	var names []string
	for _, c := range compactedTopics {
		names = append(names, c.name)
	}
	answers, err := kadm.NewClient(franz(t, b)).AlterTopicConfigs(within(t, 30*time.Second), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "min.cleanable.dirty.ratio", Value: &ratio}}, names...)
	for _, a := range answers {
		if err == nil {
			err = a.Err
		}
	}
	if err != nil {
		t.Fatalf("alter min.cleanable.dirty.ratio: %v", err)
	}
}

// waitForCompaction waits until cleaner-offset-checkpoint says that all topics have been
// compacted up to their last segments, or to that in which a transaction is open.
func waitForCompaction(t *testing.T, dir string, stable int64) {
	t.Helper()
	waitUntil(t, "topics are not compacted to their ends", func() bool {
		checkpoint, err := os.ReadFile(filepath.Join(dir, "cleaner-offset-checkpoint"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		lines := strings.Split(string(checkpoint), "\n")
		return !slices.ContainsFunc(compactedTopics, func(c compactedTopic) bool {
			logs := filepath.Join(dir, c.name+"-0")
			end := lastSegment(t, logs)
			if c.open {
				end = segmentOf(t, logs, stable)
			}
			return !slices.Contains(lines, fmt.Sprintf("%s 0 %d", c.name, end))
		})
	})
}

// lastSegment is the base offset of a partition's last segment.
func lastSegment(t *testing.T, dir string) int64 {
	t.Helper()
	return segmentOf(t, dir, math.MaxInt64)
}

// segmentOf is the base offset of the segment that an offset is in.
func segmentOf(t *testing.T, dir string, offset int64) (base int64) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no segments in %s, %v", dir, err)
	}
	for _, log := range logs {
		n, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(log), ".log"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if n <= offset {
			base = max(base, n)
		}
	}
	return base
}

// everything describes all records of a topic's partition 0, control records included.
func everything(t *testing.T, b *harness.Broker, topic string) []string {
	t.Helper()
	client := franz(t, b, kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	defer client.Close()
	ctx := within(t, 60*time.Second)
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	var all []string
	for last := int64(-1); last < end.Offset-1; {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Fatalf("fetch %s: %v (%d records were there, the last at %d of %d)", topic, e.Err, len(all), last, end.Offset)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			last = r.Offset
			value := fmt.Sprintf("%d bytes %.20q", len(r.Value), r.Value)
			if r.Value == nil {
				value = "none"
			}
			all = append(all, fmt.Sprintf("offset %d, key %q, value %s, time %d, headers %v, control %v, transactional %v", r.Offset, r.Key, value,
				r.Timestamp.UnixMilli(), r.Headers, r.Attrs.IsControl(), r.Attrs.IsTransactional()))
		})
	}
	return all
}
