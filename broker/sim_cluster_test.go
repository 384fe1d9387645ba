package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/internal/simnet"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage/vfs"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// simulation is a cluster of brokers, a ZooKeeper and clients, each on a machine of its
// own, in one synctest bubble.
type simulation struct {
	t          *testing.T
	net        *simnet.Network
	seed       uint64
	began      time.Time
	logger     *slog.Logger
	zk         *simZooKeeper
	brokers    []*simBroker // broker i+1
	clients    *simnet.Process
	seen       *observations
	groups     []*simGroup
	replicated []protocol.TopicPartition // each on all brokers
	failpoint  failpoint
	running    sync.WaitGroup // everything that has to end with the bubble

	abandoned chan struct{} // closed when nobody waits for producers any more

	troubled atomic.Bool  // something has come between brokers and clients
	healed   atomic.Int64 // when it last was over, Unix nanoseconds

	mu      sync.Mutex
	history []string
}

// Machines.
const (
	zooKeeperMachine = "zookeeper"
	clientMachine    = "clients"
)

func brokerMachine(id int32) string { return fmt.Sprint("broker-", id) }

const simSessionTimeout = 6 * time.Second

func newSimulation(t *testing.T, brokers int, seed uint64, logger *slog.Logger, properties map[string]string) *simulation {
	t.Helper()
	s := &simulation{
		t: t, net: simnet.New(seed), seed: seed, began: time.Now(), logger: logger, seen: newObservations(), abandoned: make(chan struct{}),
		brokers: make([]*simBroker, brokers), replicated: simReplicated(),
	}
	s.zk = &simZooKeeper{s: s, store: zkserver.NewMemStore()}
	s.zk.up()
	s.clients = s.net.Process(clientMachine)
	for i, name := range simGroupNames {
		s.groups = append(s.groups, newSimGroup(s, name, 2+i))
	}
	for i := range s.brokers {
		s.brokers[i] = &simBroker{s: s, id: int32(i + 1), disk: vfs.NewMem(), properties: properties}
		s.brokers[i].start()
	}
	return s
}

// note adds to the history of what was done to the cluster.
func (s *simulation) note(format string, args ...any) {
	line := fmt.Sprintf("%9.3fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	s.logger.Info("=== " + line)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, line)
}

func (s *simulation) story() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.history, "\n  ")
}

// random is a source of its own for everybody who needs one, so that it does not matter
// in which order they ask.
func (s *simulation) random(who uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, who)) }

// close ends the cluster, ZooKeeper last, and waits for those that were killed.
func (s *simulation) close() {
	for _, m := range s.brokers {
		m.terminate()
	}
	for _, m := range s.brokers {
		if m.life != nil {
			<-m.life.ended
		}
	}
	s.clients.Kill()
	s.running.Wait()
	s.zk.down()
}

// simBroker is a broker's machine.
type simBroker struct {
	s          *simulation
	id         int32
	properties map[string]string
	disk       *vfs.Mem
	life       *life // nil while nothing runs on it
}

// life is one process of a broker.
type life struct {
	*simBroker
	disk     *vfs.Mem
	process  *simnet.Process
	cancel   context.CancelFunc
	stopping bool          // it was asked to
	ended    chan struct{} // closed when it has stopped

	mu     sync.Mutex
	broker *Broker // once it has started
}

func (b *simBroker) name() string { return brokerMachine(b.id) }

// start runs a broker and, as a supervisor does, runs it again when it could not start.
func (b *simBroker) start() {
	if b.life != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{simBroker: b, disk: b.disk, process: b.s.net.Process(b.name()), cancel: cancel, ended: make(chan struct{})}
	b.life = l
	b.s.running.Go(func() {
		defer close(l.ended)
		l.run(ctx)
	})
}

// kill is kill -9: what was written stays.
func (b *simBroker) kill() {
	if b.life == nil {
		return
	}
	b.life.process.Kill()
	b.disk = b.disk.Kill()
	b.life.cancel()
	b.life = nil
}

// powerOff leaves of what was not synced what the power loss leaves of it.
func (b *simBroker) powerOff(rnd *rand.Rand) {
	if b.life == nil {
		return
	}
	b.life.process.PowerOff()
	b.disk = b.disk.Crash(rnd)
	b.life.cancel()
	b.life = nil
}

// terminate is SIGTERM. The process may go on for long; it is gone when ended is closed.
func (b *simBroker) terminate() {
	if b.life != nil {
		b.life.stopping = true
		b.life.cancel()
	}
}

// restart starts a broker that was asked to stop, once it has.
func (b *simBroker) restart() {
	l := b.life
	switch {
	case l == nil:
		b.start()
		return
	case !l.stopping:
		return // it was killed meanwhile, and has started again
	}
	select {
	case <-l.ended:
	case <-time.After(stopLimit):
		b.s.seen.bad("broker %d has not stopped within %v", b.id, stopLimit)
	}
	b.life = nil
	b.start()
}

// stopLimit is how long a broker may take to stop, whatever is cut: it tries three times
// to hand over, and each time waits for a connection.
const stopLimit = time.Minute

// broker is the one that runs, nil if none has started.
func (b *simBroker) broker() *Broker {
	if b.life == nil {
		return nil
	}
	b.life.mu.Lock()
	defer b.life.mu.Unlock()
	return b.life.broker
}

func (l *life) run(ctx context.Context) {
	for {
		b := l.build()
		err := b.Start(ctx)
		if err == nil {
			l.set(b)
			select {
			case <-ctx.Done():
			case err := <-b.Failed():
				l.s.seen.bad("broker %d gave up: %v", l.id, err)
			}
			l.set(nil)
			if err := b.Stop(context.Background()); err != nil && !l.process.Dead() {
				l.s.seen.bad("broker %d did not stop cleanly: %v", l.id, err)
			}
			return
		}
		l.s.logger.Warn("a broker could not start", "on", l.id, "error", err)
		if ctx.Err() != nil {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func (l *life) set(b *Broker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broker = b
}

func (l *life) build() *Broker {
	all := map[string]string{"log.dirs": "/a"}
	for _, some := range []map[string]string{member(int(l.id)), l.properties} {
		for name, value := range some {
			all[name] = value
		}
	}
	settings, _, err := config.Parse(all)
	if err != nil {
		l.s.t.Fatal(err)
	}
	b, err := New(settings, l.env())
	if err != nil {
		l.s.t.Fatal(err)
	}
	l.watchRoles(b)
	return b
}

// watchRoles has everybody hear of what the broker leads, before the controller can tell
// it. Its coordinator of groups has heard before it is asked.
func (l *life) watchRoles(b *Broker) {
	l.after(b, "replicas", func() {
		l.s.seen.begins(l.id)
		b.parts.replicas.Subscribe(func(e replica.RoleEvent) {
			if !l.process.Dead() {
				l.s.seen.took(l.id, e)
			}
		})
	})
	l.after(b, "groups", func() {
		b.parts.replicas.Subscribe(func(e replica.RoleEvent) {
			for _, g := range l.s.groups {
				if e.Partition == g.home && e.Role == replica.Leader && !l.process.Dead() {
					g.begins(l.id, b.parts.groups)
				}
			}
		})
	})
}

// after has something be done when a phase of the broker has started.
func (l *life) after(b *Broker, phase string, do func()) {
	for i := range b.lifecycle.phases {
		p := &b.lifecycle.phases[i]
		if p.name != phase {
			continue
		}
		start := p.start
		p.start = func(ctx context.Context) error {
			err := start(ctx)
			if err == nil {
				do()
			}
			return err
		}
		return
	}
	l.s.t.Fatalf("a broker has no phase %q", phase)
}

func (l *life) env() Env {
	return Env{
		FS: failpointDisk{l.disk, l},
		Listen: func(_ context.Context, address string) (net.Listener, error) {
			return l.process.Listen(address)
		},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return l.process.Dial(ctx, address)
		},
		Hostname: func(context.Context) string { return l.name() },
		OpenZooKeeperStore: func(string) (zkserver.Store, error) {
			return nil, errors.New("ZooKeeper is elsewhere")
		},
		Logger: l.s.logger.With("on", l.id),
	}
}

// simOffsetsPartitions is how many partitions __consumer_offsets has.
const simOffsetsPartitions = 3

// simReplicated are the partitions of a cluster that lives through random faults.
func simReplicated() (all []protocol.TopicPartition) {
	for p := range int32(simPartitions) {
		all = append(all, simPartition(p))
	}
	for p := range int32(simOffsetsPartitions) {
		all = append(all, simOffsetsPartition(p))
	}
	return all
}

func simOffsetsPartition(p int32) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: p}
}

func simPartition(p int32) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: simTopic, Partition: p}
}
