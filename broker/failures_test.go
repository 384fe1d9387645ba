package broker

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// leaders asks for the leader of each partition of a topic.
func leaders(t *testing.T, c *kgo.Client, topic string) map[int32]int32 {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	named := kmsg.NewMetadataRequestTopic()
	named.Topic = &topic
	req.Topics = append(req.Topics, named)
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	all := map[int32]int32{}
	for _, p := range resp.Topics[0].Partitions {
		if (p.Leader < 0) != (p.ErrorCode == kerr.LeaderNotAvailable.Code) || (p.Leader < 0) != (len(p.OfflineReplicas) == 1) {
			t.Errorf("partition %d: leader %d, error %v, offline %v", p.Partition, p.Leader, kerr.ErrorForCode(p.ErrorCode), p.OfflineReplicas)
		}
		all[p.Partition] = p.Leader
	}
	return all
}

// When one of two log directories fails, clients learn that its partitions have
// no leader, and go on with those of the other.
func TestFailedDirectoryInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		b := h.start(t, nil)
		defer stop(t, b)
		c := h.client(t, kgo.RecordDeliveryTimeout(time.Second), kgo.ProducerBatchMaxBytes(1000))
		defer c.Close()
		const partitions = 4
		createTopic(t, c, "t", partitions, nil)
		produce(t, c, "t", partitions, "before")

		// The disk goes while a client writes, after the embedded ZooKeeper's own.
		bad := "/b"
		h.badDisk.Store(&bad)
		var lost []int32
		for p := range int32(partitions) {
			if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte("after")}).FirstErr(); err != nil {
				lost = append(lost, p)
			}
		}
		if len(lost) == 0 || len(lost) == partitions {
			t.Fatalf("partitions %v of %d failed; want some", lost, partitions)
		}
		time.Sleep(5 * time.Second)
		for p, leader := range leaders(t, c, "t") {
			want := int32(1)
			for _, l := range lost {
				if l == p {
					want = -1
				}
			}
			if leader != want {
				t.Errorf("partition %d: clients are told leader %d, want %d (lost: %v)", p, leader, want, lost)
			}
		}
		// The others are served, and new partitions go to the directory that is left.
		for p := range int32(partitions) {
			if !slices.Contains(lost, p) {
				if got := consume(t, h, "t", p, 2); !slices.Equal(got, []string{"before", "after"}) {
					t.Errorf("partition %d has %q", p, got)
				}
			}
		}
		createTopic(t, c, "new", partitions, nil)
		produce(t, c, "new", partitions, "a record")
		for p := range int32(partitions) {
			consume(t, h, "new", p, 1)
		}
	})
}

// A client that fetches from more partitions than files may be open is served.
func TestFetchFromManyPartitionsInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		const partitions, cached = 400, 20
		b := h.start(t, map[string]string{"gracchus.log.max.open.files": fmt.Sprint(cached)})
		defer stop(t, b)
		offsets := map[int32]kgo.Offset{}
		for p := range int32(partitions) {
			offsets[p] = kgo.NewOffset().At(0)
		}
		c := h.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": offsets}))
		defer c.Close()
		createTopic(t, c, "t", partitions, nil)
		produce(t, c, "t", partitions, "a record")
		h.mostOpen.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		seen := 0
		for seen < partitions {
			fetches := c.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			seen += fetches.NumRecords()
		}
		// Those of one response, and some that belong to nothing of this.
		if most := h.mostOpen.Load(); most > cached+64+30 {
			t.Errorf("%d files were open", most)
		}
	})
}

// A broker stops cleanly, and in time, while its ZooKeeper does not answer.
func TestStopWithoutZooKeeperInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		zk, err := zkserver.New(zkserver.Config{MaxSessionTimeout: time.Minute}, h.store)
		if err != nil {
			t.Fatal(err)
		}
		if err := zk.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := inproc.Listen("zookeeper")
		go zk.Serve(l)
		settings, _, err := config.Parse(map[string]string{
			"broker.id": "1", "listeners": "PLAINTEXT://" + clientAddress, "log.dirs": "/a", "zookeeper.connect": "zookeeper:2181"})
		if err != nil {
			t.Fatal(err)
		}
		env := h.env()
		env.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			if address == "zookeeper:2181" {
				return l.Dial(ctx)
			}
			return h.dial(ctx, address)
		}
		b, err := New(settings, env)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := zk.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		stop(t, b)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := h.disk.Stat("/a/.kafka_cleanshutdown"); err != nil {
			t.Error(err)
		}
		if _, err := h.disk.Stat("/a/" + sessionFile); err != nil {
			t.Errorf("the session's secret, which the next start needs: %v", err)
		}
	})
}
