package broker

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// elsewhere is a ZooKeeper outside the broker, on the host's network, that can go and
// come back with what it has stored.
type elsewhere struct {
	t       *testing.T
	host    *host
	server  *zkserver.Server
	serving sync.WaitGroup
}

const elsewhereAddress = "zookeeper:2181"

func (z *elsewhere) up() {
	z.t.Helper()
	server, err := zkserver.New(zkserver.Config{MinSessionTimeout: time.Second}, z.host.store)
	if err == nil {
		err = server.Start(context.Background())
	}
	if err != nil {
		z.t.Fatal(err)
	}
	z.server = server
	l := z.host.listen(elsewhereAddress)
	z.serving.Go(func() { server.Serve(l) })
}

func (z *elsewhere) down() {
	z.t.Helper()
	if err := z.server.Stop(context.Background()); err != nil {
		z.t.Fatal(err)
	}
	z.serving.Wait()
}

var withoutEmbedded = map[string]string{"zookeeper.connect": elsewhereAddress, "zookeeper.session.timeout.ms": "6000"}

// While ZooKeeper is gone, for however long, clients produce and consume; when it is
// back, so is everything else.
func TestLongOutageInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		z := &elsewhere{t: t, host: h}
		z.up()
		b := h.start(t, withoutEmbedded)
		c := h.client(t)
		createTopic(t, c, "t", 1, nil)
		produce(t, c, "t", 1, "before")
		epoch := b.parts.registration.Epoch()
		z.down()
		time.Sleep(10 * time.Minute)
		produce(t, c, "t", 1, "during")
		z.up()
		for b.parts.registration.Epoch() == epoch {
			time.Sleep(100 * time.Millisecond)
			if _, active := b.parts.controller.Active(); active {
				break
			}
		}
		createTopic(t, c, "u", 1, nil)
		produce(t, c, "t", 1, "after")
		if got := consume(t, h, "t", 0, 3); !slices.Equal(got, []string{"before", "during", "after"}) {
			t.Errorf("%q", got)
		}
		c.Close()
		stop(t, b)
		z.down()
	})
}

// A broker stops in time although ZooKeeper is gone and clients wait for what only
// ZooKeeper can answer.
func TestStopInAnOutageInBubble(t *testing.T) {
	for name, gone := range map[string]time.Duration{"just gone": time.Millisecond, "long gone": 10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost()
				z := &elsewhere{t: t, host: h}
				z.up()
				b := h.start(t, withoutEmbedded)
				c := h.client(t)
				createTopic(t, c, "t", 1, nil)
				z.down()
				time.Sleep(gone)
				ctx, cancel := context.WithCancel(t.Context())
				var waiting sync.WaitGroup
				waiting.Go(func() {
					req := kmsg.NewPtrCreateTopicsRequest()
					req.TimeoutMillis = 1000
					topic := kmsg.NewCreateTopicsRequestTopic()
					topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "u", 1, 1
					req.Topics = append(req.Topics, topic)
					req.RequestWith(ctx, c)
				})
				waiting.Go(func() {
					req := kmsg.NewPtrMetadataRequest()
					req.AllowAutoTopicCreation = true
					topic := kmsg.NewMetadataRequestTopic()
					name := "v"
					topic.Topic = &name
					req.Topics = append(req.Topics, topic)
					req.RequestWith(ctx, c)
				})
				time.Sleep(100 * time.Millisecond)
				began := time.Now()
				if err := b.Stop(context.Background()); err != nil {
					t.Log(err)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %v to stop", took)
				}
				cancel()
				waiting.Wait()
				c.Close()
			})
		})
	}
}
