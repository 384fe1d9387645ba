package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// Transactions of each test: every third is aborted.
const transactions = 30

func aborts(n int) bool { return n%3 == 1 }

// values are those of a transaction, in the order of its records.
func values(n int) (list []string) {
	for i := range 10 {
		list = append(list, fmt.Sprintf("%d-%d", n, i))
	}
	return list
}

func TestFranzTransactions(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		const topic = "franz-transactions"
		produceTransactions(t, b, topic)
		checkCommitted(t, b, topic)
	})
}

// produceTransactions creates a topic and has franz-go write the transactions.
func produceTransactions(t *testing.T, b *harness.Broker, topic string) {
	t.Helper()
	createTopic(t, b, topic, partitions, nil)
	client := franz(t, b, kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))
	defer client.Close()
	ctx := within(t, time.Minute)
	for n := range transactions {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i, v := range values(n) {
			r := &kgo.Record{Value: []byte(v), Partition: int32(i % partitions)}
			if i > 5 { // and the rest of it in a batch of its own
				client.Flush(ctx)
			}
			client.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("transaction %d: %v", n, err)
				}
			})
		}
		if err := client.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(ctx, kgo.TransactionEndTry(!aborts(n))); err != nil {
			t.Fatalf("end transaction %d: %v", n, err)
		}
	}
}

// leaveOpen begins a transaction in a partition that nobody ends.
func leaveOpen(t *testing.T, b *harness.Broker, topic string, partition int32) {
	t.Helper()
	client := franz(t, b)
	defer client.Close()
	p := newBareProducer(t, client, topic+"-open", 15*time.Minute)
	p.add(t, client, topic, partition)
	p.send(t, client, topic, partition, "an open transaction")
}

func TestSaramaTransactions(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		const topic = "sarama-transactions"
		createTopic(t, b, topic, partitions, nil)
		cfg := saramaClient{sarama.MaxVersion, []string{b.Addr}}.config()
		cfg.Producer.Idempotent, cfg.Net.MaxOpenRequests = true, 1
		cfg.Producer.Transaction.ID = topic
		producer, err := sarama.NewSyncProducer([]string{b.Addr}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		client := franz(t, b)
		committed := int64(-1) // of a group, with the transactions
		for n := range transactions {
			if err := producer.BeginTxn(); err != nil {
				t.Fatal(err)
			}
			var all []*sarama.ProducerMessage
			for i, v := range values(n) {
				all = append(all, &sarama.ProducerMessage{Topic: topic, Partition: int32(i % partitions), Value: sarama.StringEncoder(v)})
			}
			if err := producer.SendMessages(all); err != nil {
				t.Fatalf("transaction %d: %v", n, err)
			}
			progress := map[string][]*sarama.PartitionOffsetMetadata{topic: {{Partition: 1, Offset: int64(n), LeaderEpoch: -1}}}
			if err := producer.AddOffsetsToTxn(progress, topic); err != nil {
				t.Fatalf("offsets of transaction %d: %v", n, err)
			}
			end := producer.CommitTxn
			if aborts(n) {
				end = producer.AbortTxn
			} else {
				committed = int64(n)
			}
			if err := end(); err != nil {
				t.Fatalf("end transaction %d: %v", n, err)
			}
			if at := stableOffset(t, client, topic, topic, 1); at != committed {
				t.Fatalf("after transaction %d the group has committed %d, not %d", n, at, committed)
			}
		}
		checkCommitted(t, b, topic)

		cfg.Consumer.IsolationLevel = sarama.ReadCommitted
		consumer, err := sarama.NewConsumer([]string{b.Addr}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		for from := range int64(middles) {
			want, got := offsetsOf(0, from, true), []string{}
			part, err := consumer.ConsumePartition(topic, 0, from)
			if err != nil {
				t.Fatal(err)
			}
			for limit := time.After(time.Minute); len(got) < len(want); {
				select {
				case m := <-part.Messages():
					got = append(got, fmt.Sprintf("%d %s", m.Offset, m.Value))
				case <-limit:
					t.Fatalf("from offset %d: %d of %d records after a minute", from, len(got), len(want))
				}
			}
			compareLines(t, fmt.Sprintf("from offset %d", from), got, want)
			part.AsyncClose()
			for range part.Messages() {
			}
		}
	})
}

// stableOffset is what a group has committed for a partition, when no transaction may yet
// change it.
func stableOffset(t *testing.T, client *kgo.Client, group, topic string, partition int32) int64 {
	t.Helper()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{partition}}}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable, req.Groups = true, append(req.Groups, g)
	for ctx := within(t, 30*time.Second); ; {
		resp, err := req.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(resp.Groups[0].ErrorCode)
		}
		if err != nil {
			t.Fatalf("offsets of %s: %v", group, err)
		}
		switch p := resp.Groups[0].Topics[0].Partitions[0]; kerr.ErrorForCode(p.ErrorCode) {
		case nil:
			return p.Offset
		case kerr.UnstableOffsetCommit: // its markers are on their way
		default:
			t.Fatalf("offset of %s: error %d", group, p.ErrorCode)
		}
	}
}

// middles are the offsets from which readers begin: each of the first transactions, of
// which one is committed and one aborted.
const middles = 12

// offsetsOf are the offsets and values of a partition of the transactions from an offset
// on, of all records or of those that are committed.
func offsetsOf(p int32, from int64, committed bool) (list []string) {
	offset := int64(0)
	for n := range transactions {
		for i, v := range values(n) {
			if int32(i%partitions) != p {
				continue
			}
			if offset >= from && !(committed && aborts(n)) {
				list = append(list, fmt.Sprintf("%d %s", offset, v))
			}
			offset++
		}
		offset++ // the marker
	}
	return list
}

// checkCommitted checks that read_committed readers see what was committed, each record
// once and in order, and that others see all: from the beginning, and from the middle of
// batches.
func checkCommitted(t *testing.T, b *harness.Broker, topic string) {
	t.Helper()
	for p := range int32(partitions) {
		for from := range int64(middles) {
			if got, want := readFrom(t, b, topic, p, from, kgo.ReadCommitted()), offsetsOf(p, from, true); !slices.Equal(got, want) {
				t.Errorf("%s-%d from offset %d: read_committed sees %q, want %q", topic, p, from, got, want)
			}
		}
		if got, want := readFrom(t, b, topic, p, 0, kgo.ReadUncommitted()), offsetsOf(p, 0, false); !slices.Equal(got, want) {
			t.Errorf("%s-%d: read_uncommitted sees %q, want %q", topic, p, got, want)
		}
	}
}

// readAll reads the values of a partition, once no transaction is open in it.
func readAll(t *testing.T, b *harness.Broker, topic string, p int32, level kgo.IsolationLevel) (list []string) {
	t.Helper()
	for _, r := range readFrom(t, b, topic, p, 0, level) {
		_, value, _ := strings.Cut(r, " ")
		list = append(list, value)
	}
	return list
}

// readFrom reads the offsets and values of a partition from an offset on, once no
// transaction is open in it.
func readFrom(t *testing.T, b *harness.Broker, topic string, p int32, from int64, level kgo.IsolationLevel) (list []string) {
	t.Helper()
	ctx := within(t, time.Minute)
	admin := kadm.NewClient(franz(t, b))
	defer admin.Close()
	var end kadm.ListedOffset
	waitUntil(t, "all transactions have ended", func() bool {
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		ends, err2 := admin.ListEndOffsets(ctx, topic)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		end, _ = ends.Lookup(topic, p)
		at, _ := stable.Lookup(topic, p)
		return end.Err == nil && at.Err == nil && at.Offset == end.Offset
	})
	client := franz(t, b, kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(from)}}))
	defer client.Close()
	for at := from; at < end.Offset; {
		for _, r := range poll(ctx, t, client) {
			if at = r.Offset + 1; !r.Attrs.IsControl() {
				list = append(list, fmt.Sprintf("%d %s", r.Offset, r.Value))
			}
		}
	}
	return list
}

func poll(ctx context.Context, t *testing.T, client *kgo.Client) []*kgo.Record {
	t.Helper()
	fetches := client.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	return fetches.Records()
}

// What is consumed, transformed and produced is exactly once: offsets and records are
// committed together, or not at all.
func TestFranzConsumesAndProduces(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		const from, to = "franz-eos-in", "franz-eos-out"
		createTopic(t, b, from, 1, nil)
		createTopic(t, b, to, 1, nil)
		ctx := within(t, time.Minute)
		var want []string
		in := franz(t, b, kgo.DefaultProduceTopic(from))
		for i := range 200 {
			want = append(want, fmt.Sprint(i))
			if err := in.ProduceSync(ctx, &kgo.Record{Value: []byte(fmt.Sprint(i))}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		for done, n := 0, 0; done < len(want); n++ { // each round is another member, with the same id
			s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(b.Addr), kgo.TransactionalID("eos"), kgo.DefaultProduceTopic(to),
				kgo.ConsumerGroup("eos"), kgo.ConsumeTopics(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
				kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
			if err != nil {
				t.Fatal(err)
			}
			fetches := s.PollRecords(ctx, 30)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			if err := s.Begin(); err != nil {
				t.Fatal(err)
			}
			for _, r := range fetches.Records() {
				s.Produce(ctx, &kgo.Record{Value: r.Value}, func(_ *kgo.Record, err error) {
					// An abort drops what is not sent yet.
					if err != nil && !(aborts(n) && errors.Is(err, kgo.ErrAborting)) {
						t.Error(err)
					}
				})
			}
			committed, err := s.End(ctx, kgo.TransactionEndTry(!aborts(n)))
			if err != nil {
				t.Fatal(err)
			}
			if committed {
				done += len(fetches.Records())
			}
			s.Close()
		}
		if got := readAll(t, b, to, 0, kgo.ReadCommitted()); !slices.Equal(got, want) {
			t.Errorf("read %q", got)
		}
	})
}
