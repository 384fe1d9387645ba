package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// lab is a controller on broker 1 with a ZooKeeper in memory, and brokers that are
// no more than a registration and a record of what the controller told them. It runs
// in a synctest bubble.
type lab struct {
	t           testing.TB
	ctx         context.Context
	dial        func(context.Context) (net.Conn, error) // to ZooKeeper
	chroot      string
	store       zkserver.Store
	server      *zkserver.Server
	listener    *inproc.Listener
	serving     sync.WaitGroup
	admin       *zkmeta.Client // a tool's, in a session of its own
	settings    *config.Settings
	controller  *Controller
	self        *session.Client // of broker 1 and its controller
	others      map[int32]*session.Client
	fakes       *fakeBrokers
	created     int
	beforeStart func() // between the registration of broker 1 and the start of its controller
	cutOff      bool   // broker 1 cannot reach ZooKeeper
	mu          sync.Mutex
	conns       []net.Conn // of broker 1 to ZooKeeper
	fault       *fault     // nil, or what strikes them
}

const sessionTimeout = 6 * time.Second

func newLab(t testing.TB, settings map[string]string) *lab {
	l := &lab{t: t, ctx: context.Background(), store: zkserver.NewMemStore(), others: map[int32]*session.Client{}}
	l.dial = l.dialServer
	l.startServer()
	l.prepare(settings)
	return l
}

// prepare makes the paths that every cluster has, and brokers to talk to.
func (l *lab) prepare(settings map[string]string) {
	properties := map[string]string{"zookeeper.connect": "embedded", "broker.id": "1"}
	for name, value := range settings {
		properties[name] = value
	}
	var err error
	l.settings, _, err = config.Parse(properties)
	l.must(err)
	l.admin = zkmeta.New(l.connect(l.dial, nil))
	l.must(l.admin.EnsurePaths(l.ctx))
	l.fakes = &fakeBrokers{t: l.t, self: 1, told: map[int32]*told{}, unreachable: map[int32]bool{}, failing: map[int32]map[string]int16{}, epochs: map[int32]int64{}, knows: map[int32]*knowledge{}, gone: map[int32]bool{}, leaders: map[leadership]int32{}}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// startServer makes and serves a ZooKeeper server on the lab's store.
func (l *lab) startServer() {
	l.t.Helper()
	server, err := zkserver.New(zkserver.Config{MinSessionTimeout: time.Second}, l.store)
	l.must(err)
	l.must(server.Start(l.ctx))
	listener := inproc.Listen("zookeeper")
	l.mu.Lock()
	l.server, l.listener = server, listener
	l.mu.Unlock()
	l.serving.Go(func() { server.Serve(listener) })
}

func (l *lab) connect(dial func(context.Context) (net.Conn, error), onSession func(session.Event)) *session.Client {
	l.t.Helper()
	s, err := session.New(l.sessionConfig(dial))
	l.must(err)
	if onSession != nil {
		s.OnSession(onSession)
	}
	l.must(s.Start(l.ctx))
	return s
}

func (l *lab) sessionConfig(dial func(context.Context) (net.Conn, error)) session.Config {
	return session.Config{
		Servers: []string{"zookeeper:2181"}, Chroot: l.chroot, SessionTimeout: sessionTimeout, MaxInFlight: 10,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) },
	}
}

// startController registers broker 1 and starts its controller.
func (l *lab) startController() {
	l.t.Helper()
	var running *Controller
	var mu sync.Mutex
	l.self = l.connect(l.dialZooKeeper, func(e session.Event) {
		mu.Lock()
		defer mu.Unlock()
		if running != nil {
			running.OnSession(e)
		}
	})
	zk := zkmeta.New(l.self)
	register := func(ctx context.Context, id session.ID) error {
		epoch, err := zk.RegisterBroker(ctx, id, registrationOf(1))
		if err == nil {
			l.fakes.registered(1, epoch)
		}
		return err
	}
	l.must(register(l.ctx, l.self.SessionID()))
	c, err := New(Config{
		BrokerID: 1, Listener: "INTERNAL", InterBroker: "INTERNAL",
		Settings: l.settings, Logger: testLogger(l.t), Register: register,
	}, zk, l.fakes)
	l.must(err)
	mu.Lock()
	running = c
	mu.Unlock()
	l.controller = c
	if l.beforeStart != nil {
		l.beforeStart()
	}
	l.must(c.Start(l.ctx))
}

func (l *lab) dialZooKeeper(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	cut := l.cutOff
	l.mu.Unlock()
	if cut {
		return nil, errors.New("cut off")
	}
	c, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return &faultyConn{Conn: c, current: l.currentFault}, nil
}

func (l *lab) setFault(f *fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

func (l *lab) currentFault() *fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

func (l *lab) dialServer(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	listener := l.listener
	l.mu.Unlock()
	return listener.Dial(ctx)
}

// cut takes broker 1's connection to ZooKeeper away, or gives it back.
func (l *lab) cut(off bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutOff = off
	if off {
		for _, c := range l.conns {
			c.Close()
		}
		l.conns = nil
	}
}

// brokerUp registers another broker.
func (l *lab) brokerUp(id int32) {
	l.t.Helper()
	s := l.connect(l.dial, nil)
	epoch, err := zkmeta.New(s).RegisterBroker(l.ctx, s.SessionID(), registrationOf(id))
	l.must(err)
	l.others[id] = s
	l.fakes.registered(id, epoch)
}

// bounce replaces a broker's registration by that of a new session in one stroke, so
// that nobody sees it missing.
func (l *lab) bounce(id int32) {
	l.t.Helper()
	s := l.connect(l.dial, nil)
	data, err := registrationOf(id).Encode()
	l.must(err)
	path := zkmeta.BrokerIDPath(id)
	r, err := s.Do1(l.ctx, 0, session.Multi(
		session.Delete(path, session.AnyVersion),
		session.Create(path, nil, session.Ephemeral),
		session.Set(path, data, 0),
	))
	l.must(err)
	l.fakes.registered(id, r.Multi[2].Stat.Czxid)
	l.must(l.others[id].Stop(l.ctx))
	l.others[id] = s
}

// brokerDown closes the broker's session, which takes its registration.
func (l *lab) brokerDown(id int32) {
	l.t.Helper()
	l.must(l.others[id].Stop(l.ctx))
	delete(l.others, id)
	l.fakes.mu.Lock()
	l.fakes.gone[id] = true
	l.fakes.mu.Unlock()
}

func registrationOf(id int32) zkmeta.BrokerRegistration {
	return zkmeta.BrokerRegistration{ID: id, JMXPort: -1, Endpoints: []zkmeta.Endpoint{
		{Listener: "CLIENTS", SecurityProtocol: "SASL_SSL", Host: fmt.Sprint("b", id), Port: 9092},
		{Listener: "INTERNAL", SecurityProtocol: "PLAINTEXT", Host: fmt.Sprint("b", id), Port: 9093},
	}}
}

// endSelf ends the session of broker 1 behind its back.
func (l *lab) endSelf() {
	id, password := l.self.SessionSecret()
	l.must(session.Dissolve(l.ctx, l.sessionConfig(l.dial), id, password))
}

func (l *lab) close() {
	l.cut(false)
	if l.controller != nil {
		if err := l.controller.Stop(l.ctx); err != nil {
			l.t.Error(err)
		}
		l.self.Stop(l.ctx)
	}
	for _, s := range l.others {
		s.Stop(l.ctx)
	}
	l.admin.Session().Stop(l.ctx)
	if l.server != nil {
		l.server.Stop(l.ctx)
	}
	l.serving.Wait()
}

// createTopic writes a topic as any broker would; replicas of partition i are
// assignment[i].
func (l *lab) createTopic(name string, assignment [][]int32, configs map[string]string) error {
	id := protocol.TopicID{}
	l.created++
	copy(id[:], fmt.Sprint(name, "-", l.created)) // no two topics have one id
	data, err := zkmeta.NewTopicAssignment(id, assignment).Encode()
	if err != nil {
		return err
	}
	// Below CreateTopic, which asks for a controller: topics may be older than it.
	encoded, err := zkmeta.EncodeConfig(configs)
	if err != nil {
		return err
	}
	zk := l.admin.Session()
	if _, err := zk.Do1(l.ctx, 0, session.Create(zkmeta.TopicConfig(name).Path(), encoded, session.Persistent)); err != nil {
		return err
	}
	_, err = zk.Do1(l.ctx, 0, session.Create(zkmeta.TopicPath(name), data, session.Persistent))
	return err
}
