package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// idleFetches makes a fetch session over partitions without new records and asks
// it again and again, without waiting on the broker.
func idleFetches(c cluster, many manyPartitions, took time.Duration) (Values, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.addr()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	first, err := firstFetch(ctx, client, many)
	if err != nil {
		return nil, err
	}
	opened, err := fetch(ctx, client, first)
	if err != nil {
		return nil, err
	}
	if opened.SessionID == 0 {
		return nil, fmt.Errorf("no fetch session was opened over %d partitions", len(many.topics)*many.each)
	}
	next := kmsg.NewPtrFetchRequest()
	next.MaxBytes, next.SessionID = first.MaxBytes, opened.SessionID
	n := 0
	cpu, err := c.spent(func() error {
		for deadline := time.Now().Add(took); time.Now().Before(deadline); n++ {
			next.SessionEpoch = int32(n + 1)
			response, err := fetch(ctx, client, next)
			if err != nil {
				return err
			}
			if len(response.Topics) > 0 {
				return fmt.Errorf("a fetch that had to be idle was answered with %d topics", len(response.Topics))
			}
		}
		return nil
	})
	return Values{cpuPerFetch: float64(cpu.Microseconds()) / float64(n)}, err
}

// firstFetch asks for a session over partitions, from the end of each.
func firstFetch(ctx context.Context, client *kgo.Client, many manyPartitions) (*kmsg.FetchRequest, error) {
	admin := kadm.NewClient(client)
	details, err := admin.ListTopics(ctx, many.topics...)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, many.topics...)
	if err != nil {
		return nil, err
	}
	first := kmsg.NewPtrFetchRequest()
	first.MaxBytes, first.SessionEpoch = 50<<20, 0
	for _, name := range many.topics {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = name, details[name].ID
		for p := range many.each {
			end, has := ends.Lookup(name, int32(p))
			if !has || end.Err != nil {
				return nil, fmt.Errorf("no end offset of %s-%d: %v", name, p, end.Err)
			}
			partition := kmsg.NewFetchRequestTopicPartition()
			partition.Partition, partition.FetchOffset, partition.PartitionMaxBytes = int32(p), end.Offset, 1<<20
			t.Partitions = append(t.Partitions, partition)
		}
		first.Topics = append(first.Topics, t)
	}
	return first, nil
}

func fetch(ctx context.Context, client *kgo.Client, request *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	got, err := client.Broker(1).Request(ctx, request)
	if err != nil {
		return nil, err
	}
	response := got.(*kmsg.FetchResponse)
	return response, kerr.ErrorForCode(response.ErrorCode)
}
