package compat

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

func franz(t *testing.T, b *harness.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func createTopic(t *testing.T, b *harness.Broker, topic string, partitions int32, configs map[string]string) {
	t.Helper()
	values := map[string]*string{"retention.ms": kadm.StringPtr("-1")}
	for name, value := range configs {
		values[name] = &value
	}
	if _, err := kadm.NewClient(franz(t, b)).CreateTopic(within(t, 30*time.Second), partitions, 1, values, topic); err != nil {
		t.Fatalf("create %s: %v", topic, err)
	}
}

// toFranz is record i of a topic: records go around its partitions.
func toFranz(topic string, partitions, i int) *kgo.Record {
	r := harness.MakeRecord(i)
	f := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Timestamp)}
	for _, h := range r.Headers {
		f.Headers = append(f.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return f
}

func fromFranz(f *kgo.Record) harness.Record {
	r := harness.Record{Key: f.Key, Value: f.Value, Timestamp: f.Timestamp.UnixMilli()}
	for _, h := range f.Headers {
		r.Headers = append(r.Headers, harness.Header{Key: h.Key, Value: h.Value})
	}
	return r
}

// produce writes records from to to−1 and checks the offsets that are answered.
func produce(t *testing.T, client *kgo.Client, topic string, partitions, from, to int) {
	t.Helper()
	var all []*kgo.Record
	for i := from; i < to; i++ {
		all = append(all, toFranz(topic, partitions, i))
	}
	if err := client.ProduceSync(within(t, 60*time.Second), all...).FirstErr(); err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
	for n, r := range all {
		if want := int64((from + n) / partitions); r.Offset != want {
			t.Fatalf("record %d of %s got offset %d, not %d", from+n, topic, r.Offset, want)
		}
	}
}

// read returns everything that is in a topic, by partition, from the offset
// start; expected is how many records there are in all.
func read(t *testing.T, b *harness.Broker, topic string, partitions int, start int64, expected int) [][]*kgo.Record {
	t.Helper()
	offsets := map[int32]kgo.Offset{}
	for p := range partitions {
		offsets[int32(p)] = kgo.NewOffset().At(start)
	}
	client := franz(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	defer client.Close()
	ctx := within(t, 60*time.Second)
	got, n := make([][]*kgo.Record, partitions), 0
	for n < expected {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Fatalf("fetch %s-%d: %v (%d of %d records were there)", e.Topic, e.Partition, e.Err, n, expected)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got[r.Partition] = append(got[r.Partition], r)
			n++
		})
	}
	if n != expected {
		t.Fatalf("%s has %d records, not %d", topic, n, expected)
	}
	return got
}

// checkTopic compares a topic with the records 0 to count−1, byte by byte.
func checkTopic(t *testing.T, b *harness.Broker, topic string, partitions, count int) {
	t.Helper()
	checkTopicIs(t, b, topic, partitions, count, harness.MakeRecord)
}

func checkTopicIs(t *testing.T, b *harness.Broker, topic string, partitions, count int, want func(i int) harness.Record) {
	t.Helper()
	for p, records := range read(t, b, topic, partitions, 0, count) {
		for n, r := range records {
			if r.Offset != int64(n) {
				t.Fatalf("%s-%d: record %d is at offset %d", topic, p, n, r.Offset)
			}
			if err := want(n*partitions + p).Same(fromFranz(r)); err != nil {
				t.Fatalf("%s-%d offset %d: %v", topic, p, n, err)
			}
		}
	}
}
