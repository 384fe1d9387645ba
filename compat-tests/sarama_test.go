package compat

import (
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func TestSarama(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		s := saramaClient{sarama.MaxVersion, []string{b.Addr}}
		admin := s.admin(t)
		for _, codec := range codecs {
			for _, idempotent := range []bool{false, true} {
				topic := "sarama-" + codec
				if idempotent {
					topic += "-idempotent"
				}
				if err := admin.CreateTopic(topic, keepForEver(), false); err != nil {
					t.Fatalf("create %s: %v", topic, err)
				}
				s.produce(t, topic, saramaCodecs[codec], idempotent)
				s.read(t, topic, harness.MakeRecord)
				checkTopic(t, b, topic, partitions, count)
			}
		}
		s.administrate(t, admin, "sarama-none")
	})
}

// saramaClient is sarama as it talks to a broker of some version, and no newer:
// its requests, and its record formats, are those of that time.
type saramaClient struct {
	version sarama.KafkaVersion
	addrs   []string
}

func (s saramaClient) config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = s.version
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 50 * time.Millisecond
	return c
}

func (s saramaClient) admin(t *testing.T) sarama.ClusterAdmin {
	t.Helper()
	admin, err := sarama.NewClusterAdmin(s.addrs, s.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	return admin
}

// record is what a record format of the version can say of a record: headers came
// with 0.11, timestamps with 0.10.
func (s saramaClient) record(r harness.Record) harness.Record {
	if !s.version.IsAtLeast(sarama.V0_11_0_0) {
		r.Headers = nil
	}
	if !s.version.IsAtLeast(sarama.V0_10_0_0) {
		r.Timestamp = -1
	}
	return r
}

func keepForEver() *sarama.TopicDetail {
	forEver := "-1"
	return &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &forEver}}
}

func (s saramaClient) produce(t *testing.T, topic string, codec sarama.CompressionCodec, idempotent bool) {
	t.Helper()
	c := s.config()
	c.Producer.Compression = codec
	if idempotent {
		c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	}
	producer, err := sarama.NewSyncProducer(s.addrs, c)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	var all []*sarama.ProducerMessage
	for i := range count {
		r := s.record(harness.MakeRecord(i))
		m := &sarama.ProducerMessage{Topic: topic, Partition: int32(i % partitions), Timestamp: time.UnixMilli(r.Timestamp)}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		all = append(all, m)
	}
	if err := producer.SendMessages(all); err != nil {
		var failed sarama.ProducerErrors
		if errors.As(err, &failed) {
			t.Fatalf("produce to %s: %v, and %d more", topic, failed[0], len(failed)-1)
		}
		t.Fatalf("produce to %s: %v", topic, err)
	}
	for i, m := range all {
		if m.Offset != int64(i/partitions) {
			t.Fatalf("record %d of %s got offset %d", i, topic, m.Offset)
		}
	}
}

// read reads a topic, whose records are want as far as this client can tell.
func (s saramaClient) read(t *testing.T, topic string, want func(i int) harness.Record) {
	t.Helper()
	consumer, err := sarama.NewConsumer(s.addrs, s.config())
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	for p := range partitions {
		from, err := consumer.ConsumePartition(topic, int32(p), sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		timeout := time.After(30 * time.Second)
		for n := range count / partitions {
			select {
			case m := <-from.Messages():
				if m.Offset != int64(n) {
					t.Fatalf("%s-%d: offset %d, not %d", topic, p, m.Offset, n)
				}
				got := harness.Record{Key: m.Key, Value: m.Value, Timestamp: m.Timestamp.UnixMilli()}
				for _, h := range m.Headers {
					got.Headers = append(got.Headers, harness.Header{Key: string(h.Key), Value: h.Value})
				}
				if err := s.record(want(n*partitions + p)).Same(s.record(got)); err != nil {
					t.Fatalf("%s-%d offset %d: %v", topic, p, n, err)
				}
			case err := <-from.Errors():
				t.Fatal(err)
			case <-timeout:
				t.Fatalf("%s-%d: %d records in 30 s", topic, p, n)
			}
		}
		if err := from.Close(); err != nil {
			t.Error(err)
		}
	}
}

// administrate does what the version of the client knows.
func (s saramaClient) administrate(t *testing.T, admin sarama.ClusterAdmin, topic string) {
	t.Helper()
	if err := admin.CreateTopic(topic, keepForEver(), false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		t.Errorf("create again: %v", err)
	}
	if err := admin.CreateTopic(topic+"-tried", keepForEver(), true); err != nil {
		t.Errorf("create, only to validate: %v", err)
	}
	client, err := sarama.NewClient(s.addrs, s.config())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	offset := func(time, want int64) {
		t.Helper()
		if got, err := client.GetOffset(topic, 1, time); err != nil || got != want {
			t.Errorf("offset for %d: %d %v, want %d", time, got, err, want)
		}
	}
	offset(sarama.OffsetOldest, 0)
	offset(sarama.OffsetNewest, count/partitions)
	offset(harness.MakeRecord(31).Timestamp, 10)
	offset(harness.MakeRecord(31).Timestamp+1, 11)

	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic}
	config := func(name string) string {
		t.Helper()
		entries, err := admin.DescribeConfig(resource)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name == name {
				return e.Value
			}
		}
		return "not described"
	}
	if got := config("retention.ms"); got != "-1" {
		t.Errorf("retention.ms is %q", got)
	}
	if s.version.IsAtLeast(sarama.V2_3_0_0) {
		value := "1000000"
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			"segment.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value},
		}, false); err != nil {
			t.Errorf("alter incrementally: %v", err)
		}
		waitUntil(t, "segment.bytes is 1000000", func() bool { return config("segment.bytes") == value })
	}
	// The old request replaces all that the topic has.
	if err := admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": new("-1")}, false); err != nil {
		t.Errorf("alter: %v", err)
	}
	waitUntil(t, "segment.bytes is back", func() bool { return config("segment.bytes") == "1073741824" && config("retention.ms") == "-1" })

	if err := admin.DeleteRecords(topic, map[int32]int64{1: 10}); err != nil {
		t.Errorf("delete records: %v", err)
	}
	offset(sarama.OffsetOldest, 10)
	if s.version.IsAtLeast(sarama.V1_0_0_0) {
		if err := admin.CreatePartitions(topic, partitions+2, nil, false); err != nil {
			t.Errorf("add partitions: %v", err)
		}
		waitUntil(t, "the topic has 5 partitions", func() bool {
			described, err := admin.DescribeTopics([]string{topic})
			return err == nil && len(described) == 1 && len(described[0].Partitions) == partitions+2
		})
	}
	if err := admin.DeleteTopic(topic); err != nil {
		t.Errorf("delete: %v", err)
	}
	waitUntil(t, "the topic is gone", func() bool {
		topics, err := admin.ListTopics()
		_, there := topics[topic]
		_, tried := topics[topic+"-tried"]
		return err == nil && !there && !tried
	})
}
