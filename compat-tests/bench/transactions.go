package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	transactionsASecond = "transactions/s"
	cpuPerTransaction   = "cpu µs/transaction"
	requestsEach        = "requests/transaction" // that the client sends
	statesEach          = "states/transaction"   // records of __transaction_state
	markersEach         = "markers/transaction"
)

// A transaction has some records, in one partition of a topic that has several.
const (
	transactionRecords    = 10
	transactionValue      = 100 // bytes
	transactionPartitions = 8
)

// transactingProducers make transactions at the same time in the cells of the scenarios
// of transactions.
var transactingProducers = []int{1, 8}

func transactionsCell(producers int) string {
	if producers == 1 {
		return "1 producer"
	}
	return fmt.Sprintf("%d producers", producers)
}

// Aims of transactions a second, by producers.
var (
	transactionAims        = map[int]float64{1: 600, 8: 2500}
	clusterTransactionAims = map[int]float64{8: 600}
)

// transactionsScenario measures producers that begin a transaction as soon as the last
// one is committed, on one broker.
func transactionsScenario(b *bench) error {
	b.startAll()
	return b.transactions()
}

// clusterTransactionsScenario measures the same on three brokers, of which each has all.
func clusterTransactionsScenario(b *bench) error {
	if err := b.startClusters(); err != nil {
		return err
	}
	return b.transactions()
}

func (b *bench) transactions() error {
	for _, subject := range b.brokers {
		b.progress.say("warming up " + subject)
		if _, err := b.transactionsOnce(b.running[subject], slices.Max(transactingProducers), b.scale.transactionHeat, loadLimit); err != nil {
			return err
		}
	}
	for i, producers := range transactingProducers {
		name := transactionsCell(producers)
		b.progress.at(i, len(transactingProducers), name)
		turns := b.turns(func(c cluster) (Values, error) {
			return b.transactionsOnce(c, producers, math.MaxInt64, b.scale.transactions)
		})
		if err := b.warmUp(name, cpuPerTransaction, turns); err != nil {
			return err
		}
		rounds, err := b.rounds(name, b.scale.rounds, turns)
		if err != nil {
			return err
		}
		b.add(Cell{Name: name, Is: map[string]string{"producers": fmt.Sprint(producers)}, Rounds: rounds})
	}
	return nil
}

// transactionsOnce has producers make transactions, so many and for so long.
func (b *bench) transactionsOnce(c cluster, producers int, most int64, limit time.Duration) (Values, error) {
	topic := b.topic()
	if err := createTopics(c.addr(), transactionPartitions, topic); err != nil {
		return nil, err
	}
	all := &transactors{topic: topic, value: b.payload.values(transactionValue)[0]}
	defer all.close()
	for range producers {
		if err := all.open(c.addr(), b.group()); err != nil {
			return nil, err
		}
	}
	// The first of each finds coordinators and leaders.
	var n atomic.Int64
	if _, err := all.run(func() bool { return n.Add(1) <= int64(producers) }); err != nil {
		return nil, err
	}
	before, err := recordsIn(c.addr(), topic, "__transaction_state")
	if err != nil {
		return nil, err
	}
	all.requests.Store(0)
	n.Store(0)
	begin := time.Now()
	var took []float64
	cpu, err := c.spent(func() (err error) {
		took, err = all.run(func() bool { return n.Add(1) <= most && time.Since(begin) < limit })
		return err
	})
	if err != nil {
		return nil, err
	}
	lasted := time.Since(begin)
	requests := all.requests.Load()
	after, err := recordsIn(c.addr(), topic, "__transaction_state")
	if err != nil {
		return nil, err
	}
	count := float64(len(took))
	slices.Sort(took)
	return Values{
		transactionsASecond: count / lasted.Seconds(),
		cpuPerTransaction:   float64(cpu.Microseconds()) / count,
		p50:                 percentile(took, 0.5), p99: percentile(took, 0.99),
		requestsEach: float64(requests) / count,
		statesEach:   float64(after[1]-before[1]) / count,
		markersEach:  float64(after[0]-before[0])/count - transactionRecords,
	}, b.drop(c, topic)
}

// recordsIn are how many records, markers too, there have been in each topic.
func recordsIn(addr string, topics ...string) ([]int64, error) {
	sums := make([]int64, len(topics))
	err := withAdmin(addr, func(ctx context.Context, admin *kadm.Client) error {
		ends, err := admin.ListEndOffsets(ctx, topics...)
		if err := errors.Join(err, ends.Error()); err != nil {
			return err
		}
		ends.Each(func(o kadm.ListedOffset) { sums[slices.Index(topics, o.Topic)] += o.Offset })
		return nil
	})
	return sums, err
}

// transactors are producers that make transactions.
type transactors struct {
	topic    string
	value    []byte
	clients  []*kgo.Client
	requests atomic.Int64
}

// OnBrokerWrite counts requests, for kgo.
func (a *transactors) OnBrokerWrite(kgo.BrokerMetadata, int16, int, time.Duration, time.Duration, error) {
	a.requests.Add(1)
}

func (a *transactors) open(addr, id string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.TransactionalID(id), kgo.DefaultProduceTopic(a.topic), kgo.WithHooks(a),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err == nil {
		a.clients = append(a.clients, client)
	}
	return err
}

func (a *transactors) close() {
	for _, client := range a.clients {
		client.Close()
	}
}

// run has all producers make transactions as long as more says so. It returns how long
// each commit took, in ms.
func (a *transactors) run(more func() bool) ([]float64, error) {
	took := make([][]float64, len(a.clients))
	err := together(len(a.clients), func(i int) error {
		for more() {
			ms, err := a.transact(a.clients[i])
			if err != nil {
				return err
			}
			took[i] = append(took[i], ms)
		}
		return nil
	})
	return slices.Concat(took...), err
}

// transact makes one transaction and returns how long its commit took, in ms.
func (a *transactors) transact(client *kgo.Client) (ms float64, err error) {
	if err := client.BeginTransaction(); err != nil {
		return 0, fmt.Errorf("begin a transaction: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), loadLimit)
	defer cancel()
	records := make([]*kgo.Record, transactionRecords)
	for i := range records {
		records[i] = &kgo.Record{Value: a.value}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return 0, fmt.Errorf("produce in a transaction: %w", err)
	}
	begin := time.Now()
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return 0, fmt.Errorf("commit a transaction: %w", err)
	}
	return time.Since(begin).Seconds() * 1e3, nil
}

func transactionsTables(r *Results) string {
	return transactionsTable(r, "transactions", transactionAims)
}

func clusterTransactionsTables(r *Results) string {
	return transactionsTable(r, "cluster-transactions", clusterTransactionAims)
}

func transactionsTable(r *Results, scenario string, aims map[int]float64) string {
	var rows [][]string
	for _, n := range transactingProducers {
		c := r.of(scenario).cell(transactionsCell(n))
		aim := ""
		if limit, has := aims[n]; has {
			aim = fmt.Sprint(limit)
		}
		rows = append(rows, []string{
			fmt.Sprint(n), aim, number(c.median(ours, transactionsASecond)), number(c.median(kafka, transactionsASecond)), c.pair(p50), c.pair(p99),
			c.pair(cpuPerTransaction), spread(c.ratios(ours, kafka, cpuPerTransaction)), c.pair(requestsEach), c.pair(statesEach), c.pair(markersEach),
		})
	}
	return fmt.Sprintf("Transactions a second, of %d records of %d bytes in one partition each; how long a commit takes; and what a transaction costs: "+
		"processor time, requests of the client, records of its states and markers:\n\n", transactionRecords, transactionValue) +
		table("rrrrrrrrrrr", []string{"Producers", "Aim", "Gracchus", "Kafka", "commit p50, ms", "p99, ms", "CPU, µs", "Of Kafka's", "requests", "states", "markers"}, rows)
}

func transactionsCharts(r *Results) []chart {
	all := chart{title: "Transactions of ten records", axis: "CPU µs per transaction"}
	for _, n := range transactingProducers {
		name := transactionsCell(n)
		all.groups = append(all.groups, r.of("transactions").cell(name).group(name, cpuPerTransaction))
	}
	return []chart{all}
}
