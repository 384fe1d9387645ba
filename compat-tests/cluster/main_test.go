// Package cluster has several brokers live through what happens to brokers, and looks
// at them from outside.
package cluster

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestMain runs the tests, or a worker of theirs.
func TestMain(m *testing.M) {
	if role := os.Getenv(workerRole); role != "" {
		runWorker(role)
		return
	}
	code := m.Run()
	harness.StopShared()
	os.Exit(code)
}

// takeover is how long the cluster may be without a controller or without leaders after
// the loss of a broker.
const takeover = harness.SessionTimeout + 3*time.Second

// within is a context for what must be done in time.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until it is so, and fails the test if that takes longer than limit.
// It returns how long it took.
func eventually(t *testing.T, limit time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > limit {
			t.Fatalf("not so after %v: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

// client knows the brokers at some addresses and places records by hand. It asks again
// soon, and for as long as it takes, as to topics that a broker has not heard of yet, and
// does not think of TLS when a broker ends before it answers for the first time.
func client(t *testing.T, addrs []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.AlwaysRetryEOF(),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// describe is what one broker says of the cluster, or nil if it does not answer. With
// no topics named, all are described.
func describe(ctx context.Context, broker *kgo.Client, topics ...string) *kmsg.MetadataResponse {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := broker.SeedBrokers()[0].Request(bounded, req)
	if err != nil {
		return nil
	}
	return resp.(*kmsg.MetadataResponse)
}

// controllerOf is the controller that a broker knows, or -1.
func controllerOf(t *testing.T, broker *kgo.Client) int {
	if m := describe(t.Context(), broker, "none"); m != nil {
		return int(m.ControllerID)
	}
	return -1
}

func create(t *testing.T, c *kgo.Client, topic string, partitions int32, replicas int16, configs map[string]*string) {
	t.Helper()
	if _, err := kadm.NewClient(c).CreateTopic(within(t, 30*time.Second), partitions, replicas, configs, topic); err != nil {
		t.Fatalf("create %s: %v", topic, err)
	}
}

// produce writes n records to each partition and has them acknowledged.
func produce(t *testing.T, c *kgo.Client, topic string, partitions int32, n int) {
	t.Helper()
	var records []*kgo.Record
	for p := range partitions {
		for range n {
			records = append(records, &kgo.Record{Topic: topic, Partition: p, Value: []byte("value")})
		}
	}
	if err := c.ProduceSync(within(t, 30*time.Second), records...).FirstErr(); err != nil {
		t.Fatalf("produce to %s: %v", topic, err)
	}
}

// ends are the latest offsets of a topic's partitions.
func ends(t *testing.T, c *kgo.Client, topic string) map[int32]int64 {
	t.Helper()
	listed, err := kadm.NewClient(c).ListEndOffsets(within(t, 30*time.Second), topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		t.Fatalf("end offsets of %s: %v", topic, err)
	}
	all := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { all[o.Partition] = o.Offset })
	return all
}

// errorOf is the name of an error code, for messages.
func errorOf(code int16) string {
	if err := kerr.ErrorForCode(code); err != nil {
		return err.Error()
	}
	return "no error"
}
