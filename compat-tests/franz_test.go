package compat

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

func TestFranz(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		for _, codec := range codecs {
			for _, idempotent := range []bool{false, true} {
				topic := "franz-" + codec
				opts := []kgo.Opt{kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerLinger(5 * time.Millisecond)}
				if idempotent {
					topic += "-idempotent"
				} else {
					opts = append(opts, kgo.DisableIdempotentWrite())
				}
				createTopic(t, b, topic, partitions, nil)
				client := franz(t, b, opts...)
				produce(t, client, topic, partitions, 0, count)
				client.Close()
				checkTopic(t, b, topic, partitions, count)
			}
		}
		t.Run("admin", func(t *testing.T) { franzAdmin(t, b) })
		t.Run("large", func(t *testing.T) { franzLarge(t, b) })
	})
}

// franzAdmin goes through what kadm can do with topics, on a topic of its own.
func franzAdmin(t *testing.T, b *harness.Broker) {
	const topic = "franz-admin"
	createTopic(t, b, topic, partitions, map[string]string{"segment.bytes": "100000"})
	client := franz(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	produce(t, client, topic, partitions, 0, count)
	admin := kadm.NewClient(client)
	ctx := within(t, 2*time.Minute)

	if _, err := admin.CreateTopic(ctx, 1, 1, nil, topic); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("create again: %v", err)
	}
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "no/such/name"); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("create with a wrong name: %v", err)
	}
	if _, err := admin.CreateTopic(ctx, 1, 2, nil, "franz-two-replicas"); !errors.Is(err, kerr.InvalidReplicationFactor) {
		t.Errorf("create with two replicas: %v", err)
	}

	offset := func(what string, listed kadm.ListedOffsets, err error, want int64) {
		t.Helper()
		o, ok := listed.Lookup(topic, 1)
		if err != nil || !ok || o.Err != nil || o.Offset != want {
			t.Errorf("%s: %+v %v, want offset %d", what, o, err, want)
		}
	}
	perPartition := int64(count / partitions)
	listed, err := admin.ListStartOffsets(ctx, topic)
	offset("start", listed, err, 0)
	listed, err = admin.ListEndOffsets(ctx, topic)
	offset("end", listed, err, perPartition)
	listed, err = admin.ListCommittedOffsets(ctx, topic)
	offset("committed", listed, err, perPartition)
	listed, err = admin.ListMaxTimestampOffsets(ctx, topic)
	offset("max timestamp", listed, err, perPartition-1)
	listed, err = admin.ListOffsetsAfterMilli(ctx, harness.MakeRecord(31).Timestamp, topic)
	offset("at a time", listed, err, 10)
	listed, err = admin.ListOffsetsAfterMilli(ctx, harness.MakeRecord(31).Timestamp+1, topic)
	offset("after a time", listed, err, 11)

	config := func(name string) *kadm.Config {
		t.Helper()
		all, err := admin.DescribeTopicConfigs(ctx, topic)
		if err != nil || len(all) != 1 || all[0].Err != nil {
			t.Fatalf("describe configs: %+v %v", all, err)
		}
		for _, c := range all[0].Configs {
			if c.Key == name {
				return &c
			}
		}
		t.Fatalf("%s is not described", name)
		return nil
	}
	if c := config("segment.bytes"); c.MaybeValue() != "100000" || c.Source.String() != "DYNAMIC_TOPIC_CONFIG" || len(c.Synonyms) != 2 {
		t.Errorf("segment.bytes is described as %+v", c)
	}
	alter := func(op kadm.IncrementalOp, name, value string) error {
		t.Helper()
		altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: name, Value: &value}}, topic)
		if err != nil {
			t.Fatal(err)
		}
		return altered[0].Err
	}
	if err := alter(kadm.SetConfig, "max.message.bytes", "2000"); err != nil {
		t.Errorf("alter: %v", err)
	}
	waitUntil(t, "max.message.bytes is 2000", func() bool { return config("max.message.bytes").MaybeValue() == "2000" })
	// The broker acts on it, not only shows it.
	waitUntil(t, "a large record is refused", func() bool {
		err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 3000)}).FirstErr()
		return errors.Is(err, kerr.MessageTooLarge)
	})
	if err := alter(kadm.SetConfig, "max.message.bytes", "many"); !errors.Is(err, kerr.InvalidConfig) {
		t.Errorf("alter to a wrong value: %v", err)
	}
	brokers, err := admin.DescribeBrokerConfigs(ctx, 1)
	if err != nil || len(brokers) != 1 || len(brokers[0].Configs) < 200 {
		t.Errorf("describe the broker's configs: %v %v", len(brokers), err)
	}

	deleted, err := admin.DeleteRecords(ctx, kadm.Offsets{topic: {1: {Topic: topic, Partition: 1, At: 10}}})
	if r, ok := deleted.Lookup(topic, 1); err != nil || !ok || r.Err != nil || r.LowWatermark != 10 {
		t.Errorf("delete records: %+v %v", deleted, err)
	}
	listed, err = admin.ListStartOffsets(ctx, topic)
	offset("start after deleting records", listed, err, 10)

	if updated, err := admin.UpdatePartitions(ctx, partitions+2, topic); err != nil || updated.Error() != nil {
		t.Errorf("add partitions: %v %v", updated, err)
	}
	waitUntil(t, "the topic has 5 partitions", func() bool {
		topics, err := admin.ListTopics(ctx, topic)
		return err == nil && len(topics[topic].Partitions) == partitions+2
	})

	dirs, err := admin.DescribeAllLogDirs(ctx, nil)
	if err != nil || dirs[1].Error() != nil {
		t.Errorf("describe log dirs: %v", err)
	}
	size := int64(0)
	dirs.Each(func(d kadm.DescribedLogDir) { size += d.Topics.Size() })
	if size < 100000 {
		t.Errorf("log directories hold %d bytes", size)
	}

	if gone, err := admin.DeleteTopics(ctx, topic); err != nil || gone.Error() != nil {
		t.Errorf("delete: %v %v", gone, err)
	}
	waitUntil(t, "the topic is gone", func() bool {
		topics, err := admin.ListTopics(ctx)
		return err == nil && !topics.Has(topic)
	})
	if gone, err := admin.DeleteTopics(ctx, "no-such-topic"); err == nil && !errors.Is(gone.Error(), kerr.UnknownTopicOrPartition) {
		t.Errorf("delete what is not there: %v", gone.Error())
	}
}

// franzLarge writes batches near the limit of a batch, and one above.
func franzLarge(t *testing.T, b *harness.Broker) {
	const topic = "franz-large"
	createTopic(t, b, topic, 1, nil)
	client := franz(t, b, kgo.ProducerBatchMaxBytes(2<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	ctx := within(t, time.Minute)
	value := make([]byte, 1048588-61-30)
	for i := range value {
		value[i] = byte(i * i >> 8)
	}
	for range 5 {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: value, Timestamp: time.UnixMilli(harness.FirstTimestamp)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	tooLarge := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 1048588)}).FirstErr()
	if !errors.Is(tooLarge, kerr.MessageTooLarge) {
		t.Errorf("a batch above max.message.bytes: %v", tooLarge)
	}
	for _, r := range read(t, b, topic, 1, 0, 5)[0] {
		want := harness.Record{Value: value, Timestamp: harness.FirstTimestamp}
		if err := want.Same(fromFranz(r)); err != nil {
			t.Errorf("offset %d: %v", r.Offset, err)
		}
	}
	// A fetch limit below the batch's size still gets it, alone.
	small := franz(t, b, kgo.FetchMaxBytes(1000), kgo.FetchMaxPartitionBytes(1000),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(2)}}))
	if got := small.PollRecords(ctx, 1).Records(); len(got) != 1 || got[0].Offset != 2 {
		t.Errorf("a small fetch got %v", got)
	}
}
