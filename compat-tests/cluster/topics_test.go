package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// What a client of Kafka must expect, and does not show to its user, of a topic that
// was made a moment ago: this broker has not heard of it, or of its leader, yet.
var young = []int16{kerr.UnknownTopicOrPartition.Code, kerr.LeaderNotAvailable.Code, kerr.NotLeaderForPartition.Code}

// TestThousandTopics: a topic, each tenth one with three replicas, is made, produced to
// and asked for its end, each through a broker picked at random, a thousand times. Nothing
// is answered that Kafka would not answer; COMPAT_TARGETS=kafka lets it answer itself.
func TestThousandTopics(t *testing.T) {
	var o harness.ClusterOptions
	if os.Getenv("COMPAT_TARGETS") == "kafka" {
		o.Kafka = []int{1, 2, 3}
	}
	c := harness.StartCluster(t, o)
	const topics, workers, records = 1000, 8, 3
	work := make(chan int)
	var wg sync.WaitGroup
	ctx := within(t, 2*time.Minute)
	began := time.Now()
	for w := range workers {
		clients := each(t, c, kgo.RecordRetries(0), kgo.DisableIdempotentWrite()) // every refusal is seen
		random := rand.New(rand.NewPCG(uint64(w), 1))
		broker := func() *kgo.Client { return clients[random.IntN(len(clients))] }
		wg.Go(func() {
			for i := range work {
				name, replicas := fmt.Sprintf("topic-%d", i), int16(1)
				if i%10 == 0 {
					replicas = 3
				}
				if err := liveThrough(ctx, name, replicas, records, broker); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for i := range topics {
		work <- i
	}
	close(work)
	wg.Wait()
	t.Logf("%d topics in %v", topics, time.Since(began).Round(time.Millisecond))
}

// liveThrough makes a topic, produces to it and asks for its end.
func liveThrough(ctx context.Context, name string, replicas int16, records int, broker func() *kgo.Client) error {
	create := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, replicas
	create.Topics, create.TimeoutMillis = append(create.Topics, topic), 10_000
	created, err := create.RequestWith(ctx, broker()) // finds the controller
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if code := created.Topics[0].ErrorCode; code != 0 {
		return fmt.Errorf("create: %s", errorOf(code))
	}
	if err := produceTo(ctx, name, records, broker); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	end, err := endOf(ctx, name, broker)
	if err == nil && end != int64(records) {
		err = fmt.Errorf("it ends at %d, not %d", end, records)
	}
	return err
}

// produceTo writes records, through any broker until each is taken.
func produceTo(ctx context.Context, name string, records int, broker func() *kgo.Client) error {
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		var batch []*kgo.Record
		for range records {
			batch = append(batch, &kgo.Record{Topic: name, Value: []byte("value")})
		}
		for _, result := range broker().ProduceSync(ctx, batch...) {
			refused, ok := errors.AsType[*kerr.Error](result.Err)
			switch {
			case result.Err == nil:
				records--
			case !ok || !slices.Contains(young, refused.Code):
				return result.Err
			}
		}
		if records == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// endOf asks any broker who leads partition 0, and that one for the end.
func endOf(ctx context.Context, name string, broker func() *kgo.Client) (int64, error) {
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		any := broker()
		m := describe(ctx, any, name)
		if m == nil {
			return 0, fmt.Errorf("describe: no answer")
		}
		told := m.Topics[0]
		if slices.Contains(young, told.ErrorCode) {
			continue
		}
		if told.ErrorCode != 0 || len(told.Partitions) != 1 {
			return 0, fmt.Errorf("describe: %s, %d partitions", errorOf(told.ErrorCode), len(told.Partitions))
		}
		if code := told.Partitions[0].ErrorCode; code == kerr.LeaderNotAvailable.Code {
			continue
		} else if code != 0 {
			return 0, fmt.Errorf("describe: partition: %s", errorOf(code))
		}
		ask := kmsg.NewPtrListOffsetsRequest()
		ask.ReplicaID = -1
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Timestamp = -1
		asked := kmsg.NewListOffsetsRequestTopic()
		asked.Topic, asked.Partitions = name, append(asked.Partitions, partition)
		ask.Topics = append(ask.Topics, asked)
		resp, err := any.Broker(int(told.Partitions[0].Leader)).Request(ctx, ask)
		if err != nil {
			return 0, fmt.Errorf("list offsets: %w", err)
		}
		answer := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if slices.Contains(young, answer.ErrorCode) {
			continue
		}
		if answer.ErrorCode != 0 {
			return 0, fmt.Errorf("list offsets: %s", errorOf(answer.ErrorCode))
		}
		return answer.Offset, nil
	}
	return 0, ctx.Err()
}
