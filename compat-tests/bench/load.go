package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// load is what a producer sends, and what was sent for a consumer to read.
type load struct {
	record int    // bytes of a record's value; there are no keys
	batch  int    // bytes of a full batch before it is compressed
	codec  string // none, gzip, snappy, lz4, zstd
	acks   string // all, 1
	bytes  int64  // values in all
}

func (l load) String() string {
	return fmt.Sprintf("%s records, %s batches, %s, acks=%s", sizeName(l.record), sizeName(l.batch), l.codec, l.acks)
}

// sizeName is a size as people say it.
func sizeName(bytes int) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 1<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	default:
		return fmt.Sprintf("%d B", bytes)
	}
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// traffic is what went over the connections for a load.
type traffic struct {
	took     time.Duration
	values   int64 // bytes of values
	requests int64 // Produce requests, or Fetch responses with records
	wire     int64 // their bytes
	batches  int64
}

// meter counts Produce requests and Fetch responses as the client sees them.
type meter struct{ requests, wire, batches atomic.Int64 }

func (m *meter) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, err error) {
	if key == kmsg.Produce.Int16() && err == nil {
		m.requests.Add(1)
		m.wire.Add(int64(bytes))
	}
}

// emptyFetch is more than what a Fetch response without records has.
const emptyFetch = 200

func (m *meter) OnBrokerRead(_ kgo.BrokerMetadata, key int16, bytes int, _, _ time.Duration, err error) {
	if key == kmsg.Fetch.Int16() && err == nil && bytes > emptyFetch {
		m.requests.Add(1)
		m.wire.Add(int64(bytes))
	}
}

func (m *meter) OnProduceBatchWritten(kgo.BrokerMetadata, string, int32, kgo.ProduceBatchMetrics) {
	m.batches.Add(1)
}

func (m *meter) OnFetchBatchRead(kgo.BrokerMetadata, string, int32, kgo.FetchBatchMetrics) {
	m.batches.Add(1)
}

func (m *meter) traffic(took time.Duration, values int64) traffic {
	return traffic{took: took, values: values, requests: m.requests.Load(), wire: m.wire.Load(), batches: m.batches.Load()}
}

// loadLimit is how long a load may take before something must be wrong.
const loadLimit = 3 * time.Minute

// produce sends a load to partition 0 of a topic, as fast as the broker takes it.
// The values go round. Batches are full but for the last.
func produce(addr, topic string, l load, values [][]byte) (traffic, error) {
	m := &meter{}
	opts := []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.WithHooks(m), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchMaxBytes(int32(l.batch)), kgo.ProducerBatchCompression(codecs[l.codec]),
		kgo.ProducerLinger(100 * time.Millisecond), kgo.MaxBufferedRecords(1 << 20), kgo.MaxBufferedBytes(32 << 20),
	}
	if l.acks == "1" {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(5))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return traffic{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	var failed atomic.Pointer[error]
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	records := l.bytes / int64(l.record)
	begin := time.Now()
	var slab []kgo.Record
	for i := range records {
		if len(slab) == 0 {
			slab = make([]kgo.Record, 1024)
		}
		r := &slab[0]
		slab = slab[1:]
		r.Value = values[int(i)%len(values)]
		client.Produce(ctx, r, promise)
	}
	if err := client.Flush(ctx); err != nil {
		return traffic{}, fmt.Errorf("produce %v to %s: %w", l, topic, err)
	}
	took := time.Since(begin)
	if err := failed.Load(); err != nil {
		return traffic{}, fmt.Errorf("produce %v to %s: %w", l, topic, *err)
	}
	return m.traffic(took, records*int64(l.record)), nil
}

// consume reads a load from partition 0 of a topic, from its start, with the
// client's default limits: 50 MiB a response, 1 MiB of a partition.
func consume(addr, topic string, l load, opts ...kgo.Opt) (traffic, error) {
	m := &meter{}
	begin := time.Now()
	client, err := kgo.NewClient(append(opts,
		kgo.SeedBrokers(addr), kgo.WithHooks(m),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}),
	)...)
	if err != nil {
		return traffic{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	var got int64
	for left := l.bytes / int64(l.record); left > 0; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return traffic{}, fmt.Errorf("consume %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got += int64(len(r.Value))
			left--
		})
	}
	return m.traffic(time.Since(begin), got), nil
}

// adminLimit is how long administration may take: Kafka creates 10,000 partitions
// in minutes if the machine has something else to do.
const adminLimit = 10 * time.Minute

// withAdmin does something with an administrator's client.
func withAdmin(addr string, do func(ctx context.Context, admin *kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), adminLimit)
	defer cancel()
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32(adminLimit.Milliseconds()))
	return do(ctx, admin)
}

// createTopics makes topics with as many replicas as the brokers have by default.
func createTopics(addr string, partitions int, topics ...string) error {
	return withAdmin(addr, func(ctx context.Context, admin *kadm.Client) error {
		created, err := admin.CreateTopics(ctx, int32(partitions), -1, nil, topics...)
		return errors.Join(err, created.Error())
	})
}

func deleteTopics(addr string, topics ...string) error {
	return withAdmin(addr, func(ctx context.Context, admin *kadm.Client) error {
		deleted, err := admin.DeleteTopics(ctx, topics...)
		return errors.Join(err, deleted.Error())
	})
}
