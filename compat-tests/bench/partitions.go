package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

const (
	seconds      = "s"
	cpuSeconds   = "cpu s"
	cpuPerMinute = "cpu ms/min"
	cpuPerFetch  = "cpu µs/fetch"
)

// The cells of partitionsScenario.
const (
	creating   = "creating the partitions"
	idleAlone  = "idle, no client"
	idleWith   = "idle, a consumer of all partitions"
	someActive = "ten partitions with 10 records a second each, a consumer of all"
	fetchOfFew = "an idle fetch over 10 partitions"
	fetchOfAll = "an idle fetch over all partitions"
)

// activePartitions and activeRate are what goes on in someActive.
const (
	activePartitions = 10
	activeRate       = 10 // records a second in each
)

// manyTopics are topics that have the partitions in equal numbers.
const manyTopics = 20

// partitionsScenario measures what partitions cost in which nothing happens.
func partitionsScenario(b *bench) error {
	var topics []string
	for range manyTopics {
		topics = append(topics, b.topic())
	}
	each := b.scale.partitions / manyTopics
	b.startAll()
	b.progress.at(0, 6, creating)
	// Once only: it takes Kafka long.
	rounds, err := b.rounds(creating, 1, b.turns(func(broker *harness.Broker) (Values, error) {
		begin := time.Now()
		cpu, err := spent(broker.Pid(), func() error { return createTopics(broker.Addr, each, topics...) })
		return Values{seconds: time.Since(begin).Seconds(), cpuSeconds: cpu.Seconds()}, err
	}))
	if err != nil {
		return err
	}
	b.add(Cell{Name: creating, Rounds: rounds})

	idle := []struct {
		name   string
		client func(addr string, topics []string, each int) (stop func() error, err error)
	}{
		{idleAlone, noClient},
		{idleWith, consumerOfAll},
		{someActive, consumerOfSome},
	}
	for i, cell := range idle {
		b.progress.at(1+i, 6, cell.name)
		rounds, err := b.rounds(cell.name, min(b.scale.rounds, 3), b.turns(func(broker *harness.Broker) (Values, error) {
			stop, err := cell.client(broker.Addr, topics, each)
			if err != nil {
				return nil, err
			}
			cpu, err := spent(broker.Pid(), func() error {
				time.Sleep(b.scale.idle)
				return nil
			})
			if err := stop(); err != nil {
				return nil, err
			}
			return Values{cpuPerMinute: float64(cpu) / float64(b.scale.idle) * 60e3}, err
		}))
		if err != nil {
			return err
		}
		b.add(Cell{Name: cell.name, Rounds: rounds})
	}

	fetches := []struct {
		name       string
		topics     []string
		partitions int // of each
	}{
		{fetchOfFew, topics[:1], min(10, each)},
		{fetchOfAll, topics, each},
	}
	for i, cell := range fetches {
		b.progress.at(4+i, 6, cell.name)
		turns := b.turns(func(broker *harness.Broker) (Values, error) {
			return idleFetches(broker, cell.topics, cell.partitions, b.scale.idle/2)
		})
		if err := b.warmUp(cell.name, cpuPerFetch, turns); err != nil {
			return err
		}
		rounds, err := b.rounds(cell.name, b.scale.rounds, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: cell.name, Rounds: rounds})
	}
	return nil
}

// turns of all brokers that are compared.
func (b *bench) turns(measure func(broker *harness.Broker) (Values, error)) []turn {
	var all []turn
	for _, subject := range b.brokers {
		all = append(all, turn{subject, func() (Values, error) { return measure(b.running[subject]) }})
	}
	return all
}

func noClient(string, []string, int) (func() error, error) { return func() error { return nil }, nil }

// fetchCounter counts Fetch responses.
type fetchCounter struct{ n atomic.Int64 }

func (c *fetchCounter) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == kmsg.Fetch.Int16() && err == nil {
		c.n.Add(1)
	}
}

// consumerOfAll has one consumer wait for records in all partitions. It asks for
// half a second at a time, as a Java consumer does.
func consumerOfAll(addr string, topics []string, each int) (func() error, error) {
	offsets := map[string]map[int32]kgo.Offset{}
	for _, topic := range topics {
		offsets[topic] = map[int32]kgo.Offset{}
		for p := range each {
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
			return nil, fmt.Errorf("a consumer of %d partitions got %d responses within 60 s; %v", each*len(topics), counter.n.Load(), stop())
		}
	}
	return stop, nil
}

// consumerOfSome has a producer send records to a few of the partitions that a
// consumer of all waits for.
func consumerOfSome(addr string, topics []string, each int) (func() error, error) {
	stopConsumer, err := consumerOfAll(addr, topics, each)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topics[0]), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
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
				client.Produce(context.Background(), &kgo.Record{Partition: int32(i % min(activePartitions, each)), Value: []byte("active")}, nil)
			}
		}
	}()
	return func() error {
		cancel()
		err := <-ended
		client.Close()
		if err := stopConsumer(); err != nil {
			return err
		}
		return err
	}, nil
}

// idleFetches makes a fetch session over partitions without new records and asks
// it again and again, without waiting on the broker.
func idleFetches(broker *harness.Broker, topics []string, partitions int, took time.Duration) (Values, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	first, err := firstFetch(ctx, client, topics, partitions)
	if err != nil {
		return nil, err
	}
	opened, err := fetch(ctx, client, first)
	if err != nil {
		return nil, err
	}
	if opened.SessionID == 0 {
		return nil, fmt.Errorf("no fetch session was opened over %d partitions", len(topics)*partitions)
	}
	next := kmsg.NewPtrFetchRequest()
	next.MaxBytes, next.SessionID = first.MaxBytes, opened.SessionID
	n := 0
	cpu, err := spent(broker.Pid(), func() error {
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

// firstFetch asks for a session over the partitions of some topics, from the end
// of each.
func firstFetch(ctx context.Context, client *kgo.Client, topics []string, partitions int) (*kmsg.FetchRequest, error) {
	admin := kadm.NewClient(client)
	details, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	first := kmsg.NewPtrFetchRequest()
	first.MaxBytes, first.SessionEpoch = 50<<20, 0
	for _, name := range topics {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = name, details[name].ID
		for p := range partitions {
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

func partitionsTables(r *Results) string {
	m := r.of("partitions")
	var rows [][]string
	row := func(what string, c Cell, value string) {
		rows = append(rows, []string{what, number(c.median(ours, value)), number(c.median(kafka, value)), spread(c.ratios(ours, kafka, value))})
	}
	row("creating them, s", m.cell(creating), seconds)
	row("creating them, processor s", m.cell(creating), cpuSeconds)
	row("idle, no client, processor ms a minute", m.cell(idleAlone), cpuPerMinute)
	row("idle, a consumer of all, processor ms a minute", m.cell(idleWith), cpuPerMinute)
	row("10 partitions with 10 records a second each, a consumer of all, processor ms a minute", m.cell(someActive), cpuPerMinute)
	row("one idle fetch over 10 partitions, processor µs", m.cell(fetchOfFew), cpuPerFetch)
	row("one idle fetch over 10,000 partitions, processor µs", m.cell(fetchOfAll), cpuPerFetch)
	row("resident at the end, MB", m.cell(memoryCell), resident)
	return table("lrrr", []string{"", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}

func partitionsCharts(r *Results) []chart {
	m := r.of("partitions")
	return []chart{{
		title: "10,000 partitions: what an idle fetch costs", axis: "CPU µs, logarithmic", log: true,
		groups: []group{m.cell(fetchOfFew).group("over 10 partitions", cpuPerFetch), m.cell(fetchOfAll).group("over 10,000 partitions", cpuPerFetch)},
	}}
}
