package topics_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lab is a cluster with a real ZooKeeper server, session, controller and topic
// manager, in which brokers only listen to what the controller says.
type lab struct {
	t        testing.TB
	ctx      context.Context
	zk       *zkmeta.Client
	view     *cluster.View
	settings *config.Settings
	topics   *topics.Manager
	brokers  *listeningBrokers
	others   []*session.Client
	dial     func(context.Context, string) (net.Conn, error)
}

// newLab starts broker 1 as the controller. stop ends everything.
func newLab(t testing.TB, store zkserver.Store, settings map[string]string) (l *lab, stop func()) {
	l = &lab{t: t, ctx: context.Background(), view: cluster.NewView()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	properties := map[string]string{"zookeeper.connect": "embedded", "broker.id": "1"}
	for name, value := range settings {
		properties[name] = value
	}
	var err error
	l.settings, _, err = config.Parse(properties)
	must(err)
	server, err := zkserver.New(zkserver.Config{MinSessionTimeout: time.Second}, store)
	must(err)
	must(server.Start(l.ctx))
	listener := inproc.Listen("zookeeper")
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(listener) })
	l.dial = func(ctx context.Context, _ string) (net.Conn, error) { return listener.Dial(ctx) }

	s := l.connect()
	l.zk = zkmeta.New(s)
	must(l.zk.EnsurePaths(l.ctx))
	_, err = l.zk.RegisterBroker(l.ctx, s.SessionID(), registration(1, ""))
	must(err)
	l.brokers = &listeningBrokers{view: l.view}
	c, err := controller.New(controller.Config{
		BrokerID: 1, Listener: "PLAINTEXT", InterBroker: "PLAINTEXT", Settings: l.settings,
		Register: func(context.Context, session.ID) error { return nil },
	}, l.zk, l.brokers)
	must(err)
	must(c.Start(l.ctx))
	l.topics, err = topics.New(topics.Config{Random: func(int) int { return 0 }}, l.zk, l.view, l.settings)
	must(err)
	l.awaitBrokers(1)
	return l, func() {
		must(c.Stop(l.ctx))
		for _, other := range l.others {
			must(other.Stop(l.ctx))
		}
		must(s.Stop(l.ctx))
		must(server.Stop(l.ctx))
		serving.Wait()
	}
}

func (l *lab) connect() *session.Client {
	l.t.Helper()
	s, err := session.New(session.Config{Servers: []string{"zookeeper:2181"}, SessionTimeout: 10 * time.Second, Dial: l.dial})
	if err == nil {
		err = s.Start(l.ctx)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// brokerUp registers another broker and waits until the view has it.
func (l *lab) brokerUp(id int32, rack string) {
	l.t.Helper()
	s := l.connect()
	l.others = append(l.others, s)
	if _, err := zkmeta.New(s).RegisterBroker(l.ctx, s.SessionID(), registration(id, rack)); err != nil {
		l.t.Fatal(err)
	}
	l.awaitBrokers(1 + len(l.others))
}

func (l *lab) awaitBrokers(n int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	if _, err := l.view.Wait(ctx, func(s *cluster.Snapshot) bool { return len(s.Brokers()) == n }); err != nil {
		l.t.Fatal("waiting for brokers:", err)
	}
}

func registration(id int32, rack string) zkmeta.BrokerRegistration {
	return zkmeta.BrokerRegistration{ID: id, Rack: rack, JMXPort: -1, Endpoints: []zkmeta.Endpoint{
		{Listener: "PLAINTEXT", SecurityProtocol: "PLAINTEXT", Host: fmt.Sprint("b", id), Port: 9092},
	}}
}

// listeningBrokers answers every request without error. What broker 1 is told of the
// cluster goes into the view.
type listeningBrokers struct {
	view *cluster.View

	mu       sync.Mutex
	requests map[string]int
	deaf     bool // broker 1 hears nothing
}

func (b *listeningBrokers) Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error) {
	b.mu.Lock()
	deaf := b.deaf
	if b.requests == nil {
		b.requests = map[string]int{}
	}
	b.requests[kmsg.NameForKey(req.Key())]++
	b.mu.Unlock()
	if deaf {
		return nil, peer.ErrDisconnected
	}
	resp := req.ResponseKind()
	switch r := req.(type) {
	case *kmsg.UpdateMetadataRequest:
		if to.Broker == 1 {
			b.view.Apply(updateOf(r))
		}
	case *kmsg.StopReplicaRequest:
		answer := resp.(*kmsg.StopReplicaResponse)
		for _, topic := range r.Topics {
			for _, p := range topic.PartitionStates {
				answer.Partitions = append(answer.Partitions, kmsg.StopReplicaResponsePartition{Topic: topic.Topic, Partition: p.Partition})
			}
		}
	}
	return resp, nil
}

func (b *listeningBrokers) setDeaf(deaf bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = deaf
}

func updateOf(r *kmsg.UpdateMetadataRequest) cluster.Update {
	u := cluster.Update{ControllerID: r.ControllerID, ControllerEpoch: r.ControllerEpoch}
	for _, b := range r.LiveBrokers {
		broker := cluster.Broker{ID: b.ID}
		if b.Rack != nil {
			broker.Rack = *b.Rack
		}
		u.Brokers = append(u.Brokers, broker)
	}
	for _, t := range r.TopicStates {
		topic := cluster.TopicUpdate{Name: t.Topic, ID: t.TopicID}
		for _, p := range t.PartitionStates {
			topic.Partitions = append(topic.Partitions, cluster.Partition{
				ID: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, ISR: p.ISR, Replicas: p.Replicas,
			})
		}
		u.Topics = append(u.Topics, topic)
	}
	return u
}
