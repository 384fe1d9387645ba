package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	latencyRate  = 2000    // records a second
	latencyValue = 1 << 10 // bytes
)

const (
	p50         = "p50 ms"
	p99         = "p99 ms"
	p999        = "p99.9 ms"
	clientP99   = "client p99 ms" // how late the client itself was to send a record
	perRequest  = "records/request"
	cpuUsRecord = "cpu µs/record"
)

// latencyCell is the only one of its scenario.
const latencyCell = "2,000 records a second"

// latencyScenario measures the time from when a record is due to be sent until a
// consumer has it. Records are due at fixed times, whether those before them have
// arrived or not: a broker that stops for a while makes all of them late.
func latencyScenario(b *bench) error {
	f, err := startFloor(b.TempDir())
	if err != nil {
		return err
	}
	b.Cleanup(f.stop)
	b.startAll()
	if err := b.heat(b.brokers); err != nil {
		return err
	}
	turns := b.turns(func(c cluster) (Values, error) { return b.latencyOnce(c, latencyRate) })
	turns = append(turns, turn{theFloor, func() (Values, error) {
		topic := b.topic()
		if err := f.relay(topic); err != nil {
			return nil, err
		}
		return b.latencyTurn(f.kafka, f.spent, topic, latencyRate)
	}})
	return b.latencyRounds(latencyCell, turns)
}

func (b *bench) latencyRounds(name string, turns []turn) error {
	b.progress.at(0, 2, name+", warm-up")
	if err := b.warmUp(name, cpuUsRecord, turns); err != nil {
		return err
	}
	b.progress.at(1, 2, name)
	rounds, err := b.rounds(name, b.scale.rounds, turns)
	if err != nil {
		return err
	}
	b.add(Cell{Name: name, Rounds: rounds})
	return nil
}

// latencyOnce takes a turn with a new topic of a broker.
func (b *bench) latencyOnce(c cluster, rate int) (Values, error) {
	topic := b.topic()
	if err := createTopics(c.addr(), 1, topic); err != nil {
		return nil, err
	}
	values, err := b.latencyTurn(c.addr(), c.spent, topic, rate)
	if err != nil {
		return nil, err
	}
	if err := c.allInSync(topic); err != nil {
		return nil, err
	}
	return values, b.drop(c, topic)
}

// latencyTurn sends records to an empty topic, rate a second, for as long as the scale
// says.
func (b *bench) latencyTurn(addr string, spent func(func() error) (time.Duration, error), topic string, rate int) (Values, error) {
	m := &meter{}
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.WithHooks(m), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}),
	)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()

	// The first record opens the connections.
	n := int(b.scale.latency.Seconds() * float64(rate))
	if err := producer.ProduceSync(ctx, &kgo.Record{Value: binary.BigEndian.AppendUint64(nil, uint64(n))}).FirstErr(); err != nil {
		return nil, err
	}
	if err := consumer.PollFetches(ctx).Err(); err != nil {
		return nil, err
	}

	begin := time.Now().Add(10 * time.Millisecond)
	due := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second / time.Duration(rate)) }
	defer holdGarbage()()
	arrived := make(chan error, 1)
	latencies := make([]float64, 0, n)
	go func() { arrived <- receive(ctx, consumer, n, due, &latencies) }()
	before, sentBefore := m.requests.Load(), time.Now()
	late := make([]float64, 0, n)
	cpu, err := spent(func() error {
		exact := exactTimer()
		defer exact.stop()
		for i := range n {
			exact.sleep(time.Until(due(i)))
			value := make([]byte, latencyValue)
			binary.BigEndian.PutUint64(value, uint64(i))
			late = append(late, time.Since(due(i)).Seconds()*1e3)
			producer.Produce(ctx, &kgo.Record{Value: value}, nil)
		}
		return <-arrived
	})
	if err != nil {
		return nil, fmt.Errorf("after %v: %w", time.Since(sentBefore), err)
	}
	slices.Sort(latencies)
	slices.Sort(late)
	return Values{
		p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99), p999: percentile(latencies, 0.999),
		clientP99:   percentile(late, 0.99),
		perRequest:  float64(n) / float64(m.requests.Load()-before),
		cpuUsRecord: float64(cpu.Microseconds()) / float64(n),
	}, nil
}

// mostGarbage is far more than a turn leaves behind.
const mostGarbage = 1 << 30 // bytes

// holdGarbage has the client collect none until release: its own pauses would be measured
// as the broker's, and hide what the faster one does.
func holdGarbage() (release func()) {
	runtime.GC()
	limit, percent := debug.SetMemoryLimit(mostGarbage), debug.SetGCPercent(-1)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// receive takes n records and notes how long after they were due each arrived.
func receive(ctx context.Context, consumer *kgo.Client, n int, due func(int) time.Time, latencies *[]float64) error {
	for len(*latencies) < n {
		fetches := consumer.PollFetches(ctx)
		now := time.Now()
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			i := int(binary.BigEndian.Uint64(r.Value))
			*latencies = append(*latencies, now.Sub(due(i)).Seconds()*1e3)
		})
	}
	return nil
}

func latencyTables(r *Results) string {
	m := r.of("latency")
	c := m.cell(latencyCell)
	var rows [][]string
	for _, what := range []struct{ name, value string }{
		{"p50, ms", p50},
		{"p99, ms", p99},
		{"p99.9, ms", p999},
		{"processor time per record, µs", cpuUsRecord},
		{"records per request", perRequest},
		{"the client's own delay, p99, ms", clientP99},
	} {
		rows = append(rows, []string{what.name, number(c.median(ours, what.value)), number(c.median(kafka, what.value)), number(c.median(theFloor, what.value)),
			spread(c.ratios(ours, kafka, what.value)), spread(c.ratios(theFloor, kafka, what.value))})
	}
	return table("lrrrrr", []string{"", "Gracchus", "Kafka", "Floor", "Of Kafka's", "Floor, of Kafka's"}, rows)
}

func latencyCharts(r *Results) []chart {
	return []chart{latencyChart("From the schedule to the consumer, 2,000 records a second", r.of("latency").cell(latencyCell))}
}

func latencyChart(title string, c Cell) chart {
	return chart{
		title: title, axis: "ms, logarithmic", log: true,
		groups: []group{c.group("median", p50), c.group("99 of 100", p99), c.group("999 of 1,000", p999)},
	}
}
