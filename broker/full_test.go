package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// On a full disk a client gets the storage error for its records, and everything
// else; the broker stops and starts; and when something was deleted the same
// client goes on, with the topic too that was created without room.
func TestFullDiskInBubble(t *testing.T) {
	for _, reserve := range []string{"0", "1048576"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost()
			properties := map[string]string{"log.dirs": "/a", "gracchus.log.reserve.bytes": reserve}
			b := h.start(t, properties)
			c := h.client(t, kgo.RecordRetries(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
			defer func() { c.Close() }()
			createTopic(t, c, "t", 1, nil)
			createTopic(t, c, "doomed", 1, map[string]string{"file.delete.delay.ms": "3600000"})
			big := strings.Repeat("v", 100_000)
			for range 30 {
				produce(t, c, "doomed", 1, big)
			}
			h.disk.SetCapacity(h.disk.Used() + 500_000)
			acknowledged := 0
			var err error
			for range 20 {
				if err = c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte(big)}).FirstErr(); err != nil {
					break
				}
				acknowledged++
			}
			if !errors.Is(err, kerr.KafkaStorageError) || acknowledged == 0 {
				t.Fatalf("reserve %s: after %d records: %v", reserve, acknowledged, err)
			}
			h.disk.SetCapacity(h.disk.Used())
			consume(t, h, "t", 0, acknowledged)
			if leader := leaders(t, c, "t")[0]; leader != 1 {
				t.Errorf("reserve %s: on a full disk clients are told leader %d", reserve, leader)
			}
			if reserve != "0" {
				stop(t, b)
				b = h.start(t, properties)
				consume(t, h, "t", 0, acknowledged)
			}
			tryCreateTopic(t, c, "late")
			deleteTopic(t, c, "doomed")
			time.Sleep(5 * time.Second)
			for _, topic := range []string{"t", "late"} {
				if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("after")}).FirstErr(); err != nil {
					t.Errorf("reserve %s: produce to %s after room was made: %v", reserve, topic, err)
				}
			}
			if got := consume(t, h, "t", 0, acknowledged+1); !slices.Equal(got[acknowledged:], []string{"after"}) {
				t.Errorf("reserve %s: t has %d records", reserve, len(got))
			}
			stop(t, b)
		})
	}
}

// Without room for the embedded ZooKeeper's store what changes the cluster fails,
// records flow, and when there is room again it goes on by itself.
func TestFullZooKeeperInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		b := h.start(t, nil)
		defer stop(t, b)
		c := h.client(t)
		defer c.Close()
		createTopic(t, c, "t", 2, nil)
		produce(t, c, "t", 2, "one")
		h.storeFull.Store(true)
		for i := range 3 {
			if err := tryCreateTopic(t, c, fmt.Sprint("refused", i)); err == nil {
				t.Error("a topic is created where nothing can be stored")
			}
			time.Sleep(time.Minute) // several times what a session lives
			produce(t, c, "t", 2, "two")
		}
		select {
		case err := <-b.Failed():
			t.Fatalf("the broker has given up: %v", err)
		default:
		}
		h.storeFull.Store(false)
		time.Sleep(5 * time.Second)
		createTopic(t, c, "new", 2, nil)
		produce(t, c, "new", 2, "three")
		for p := range int32(2) {
			consume(t, h, "t", p, 4)
		}
	})
}

func tryCreateTopic(t *testing.T, c *kgo.Client, name string) error {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 3_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

func deleteTopic(t *testing.T, c *kgo.Client, name string) {
	t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics, req.TopicNames = append(req.Topics, topic), append(req.TopicNames, name)
	resp, err := req.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("delete topic %s: %v", name, err)
	}
}
