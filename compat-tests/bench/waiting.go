package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// activePartitions and activeRate are what goes on in someActive.
const (
	activePartitions = 10
	activeRate       = 10 // records a second in each
)

func noClient(string, manyPartitions) (func() error, error) { return func() error { return nil }, nil }

// fetchCounter counts Fetch responses.
type fetchCounter struct{ n atomic.Int64 }

func (c *fetchCounter) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == kmsg.Fetch.Int16() && err == nil {
		c.n.Add(1)
	}
}

// consumerOfAll has one consumer wait for records in all partitions. It asks for
// half a second at a time, as a Java consumer does.
func consumerOfAll(addr string, many manyPartitions) (func() error, error) {
	offsets := map[string]map[int32]kgo.Offset{}
	for _, topic := range many.topics {
		offsets[topic] = map[int32]kgo.Offset{}
		for p := range many.each {
			offsets[topic][int32(p)] = kgo.NewOffset().At(0)
		}
	}
	counter := &fetchCounter{}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(offsets), kgo.FetchMaxWait(500*time.Millisecond), kgo.WithHooks(counter))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := client.PollFetches(ctx).Err(); err != nil && ctx.Err() == nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	stop := func() error {
		cancel()
		err := <-ended
		client.Close()
		return err
	}
	// The first fetches make the session.
	for deadline := time.Now().Add(60 * time.Second); counter.n.Load() < 4; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("a consumer of %d partitions got %d responses within 60 s; %v", many.each*len(many.topics), counter.n.Load(), stop())
		}
	}
	return stop, nil
}

// consumerOfActive has a producer send records to a few of the partitions that a
// consumer of all waits for.
func consumerOfActive(addr string, many manyPartitions) (func() error, error) {
	stopConsumer, err := consumerOfAll(addr, many)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(many.topics[0]), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, errors.Join(err, stopConsumer())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ticker := time.NewTicker(time.Second / (activePartitions * activeRate))
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				ended <- client.Flush(context.Background())
				return
			case <-ticker.C:
				client.Produce(context.Background(), &kgo.Record{Partition: int32(i % min(activePartitions, many.each)), Value: []byte("active")}, nil)
			}
		}
	}()
	return func() error {
		cancel()
		err := <-ended
		client.Close()
		return errors.Join(err, stopConsumer())
	}, nil
}
