package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// nodes are brokers that replicate to each other, each with its storage in memory,
// its handlers and its connections. The test is their controller.
type nodes struct {
	t        testing.TB
	settings *config.Settings
	brokers  map[int32]*node // those that are up
	disks    map[int32]*vfs.Mem
	weather  weather
	// real has the brokers use a directory of the disk, and sockets. Not in a bubble.
	real string

	mu         sync.Mutex
	partitions map[protocol.TopicPartition]*decided
	epochs     int64 // of registrations
	alters     []kmsg.AlterPartitionRequest
	// onAlter, if set, may answer in the controller's place; nil leaves it to it.
	onAlter func(*kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error)
	// onConfirm, if set, is called before a leader asks whether it still leads.
	onConfirm func(to int32, req *kmsg.OffsetForLeaderEpochRequest)
}

// decided is what the controller knows of a partition.
type decided struct {
	id            protocol.TopicID
	replicas, isr []int32
	leader, epoch int32
	version       int32
}

// node is one broker.
type node struct {
	id       int32
	epoch    atomic.Int64 // of its registration
	store    *storage.Store
	view     *cluster.View
	replicas *replica.Replicas
	groups   *group.Coordinator
	pool     *peer.Pool
	server   *server.Server
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
}

// weather is what the network does to what brokers send each other.
type weather struct {
	mu    sync.Mutex
	rng   *rand.Rand
	delay time.Duration // at most, of each write
	cut   int           // one write in so many breaks its connection; 0: none
	apart map[[2]int32]bool
	conns map[*rainyConn]struct{}
}

// strike returns how long a write takes, and whether it breaks the connection.
func (w *weather) strike(from, to int32) (delay time.Duration, broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.delay > 0 {
		delay = time.Duration(w.rng.Int64N(int64(w.delay)))
	}
	return delay, w.apart[[2]int32{from, to}] || w.cut > 0 && w.rng.IntN(w.cut) == 0
}

// part separates two brokers from each other, or joins them again.
func (w *weather) part(a, b int32, apart bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.apart == nil {
		w.apart = map[[2]int32]bool{}
	}
	w.apart[[2]int32{a, b}], w.apart[[2]int32{b, a}] = apart, apart
	for c := range w.conns {
		if apart && w.apart[[2]int32{c.from, c.to}] {
			c.Conn.Close()
			delete(w.conns, c)
		}
	}
}

func (w *weather) connect(nc net.Conn, from, to int32) net.Conn {
	c := &rainyConn{nc, w, from, to}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = map[*rainyConn]struct{}{}
	}
	w.conns[c] = struct{}{}
	return c
}

// rainyConn is a connection out in the weather.
type rainyConn struct {
	net.Conn
	weather  *weather
	from, to int32
}

func (c *rainyConn) Write(b []byte) (int, error) {
	delay, broken := c.weather.strike(c.from, c.to)
	if delay > 0 {
		time.Sleep(delay)
	}
	if broken {
		c.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

// newNodes starts brokers 1 to n.
func newNodes(t testing.TB, n int, properties ...string) *nodes {
	t.Helper()
	given := map[string]string{"zookeeper.connect": "embedded"}
	for _, p := range properties {
		name, value, _ := cutProperty(p)
		given[name] = value
	}
	settings, _, err := config.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	ns := &nodes{t: t, settings: settings, brokers: map[int32]*node{}, disks: map[int32]*vfs.Mem{}, partitions: map[protocol.TopicPartition]*decided{}, epochs: 100}
	ns.startAll(n)
	return ns
}

func (ns *nodes) startAll(n int) {
	for id := int32(1); id <= int32(n); id++ {
		ns.disks[id] = vfs.NewMem()
		ns.start(id)
	}
	ns.t.Cleanup(func() {
		for id := range ns.brokers {
			ns.stop(id)
		}
	})
}

// listen opens a broker's door, and says how to come in.
func (ns *nodes) listen(id int32) (net.Listener, func(context.Context) (net.Conn, error), error) {
	if ns.real == "" {
		l := inproc.Listen(fmt.Sprint("broker ", id))
		return l, l.Dial, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	return l, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}, nil
}

// disk is a broker's file system, and its log directory there.
func (ns *nodes) disk(id int32) (vfs.FS, string) {
	if ns.real == "" {
		return ns.disks[id], "/data"
	}
	return vfs.OS(), filepath.Join(ns.real, fmt.Sprint("broker", id))
}

func cutProperty(p string) (name, value string, ok bool) {
	for i := range p {
		if p[i] == '=' {
			return p[:i], p[i+1:], true
		}
	}
	return p, "", false
}

// peers is a node's way to the others: the pool, and the test as controller.
type peers struct {
	*peer.Pool
	nodes *nodes
}

func (p peers) SendToController(_ context.Context, _ int32, req kmsg.Request) (kmsg.Response, error) {
	return p.nodes.alter(req.(*kmsg.AlterPartitionRequest))
}

func (p peers) Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error) {
	if q, ok := req.(*kmsg.OffsetForLeaderEpochRequest); ok && p.nodes.onConfirm != nil {
		p.nodes.onConfirm(to.Broker, q)
	}
	return p.Pool.Send(ctx, to, req)
}

// start runs a broker on its disk. What it is to lead and follow it is not told yet.
func (ns *nodes) start(id int32) *node {
	ns.t.Helper()
	var err error
	check := func(what string) {
		ns.t.Helper()
		if err != nil {
			ns.t.Fatalf("broker %d: %s: %v", id, what, err)
		}
	}
	ns.mu.Lock()
	ns.epochs++
	n := &node{id: id, view: cluster.NewView()}
	n.epoch.Store(ns.epochs)
	ns.mu.Unlock()
	n.listener, n.dial, err = ns.listen(id)
	check("listen")
	fsys, dir := ns.disk(id)
	topicConfig := func(string) *config.Topic { return ns.settings.Topic(nil) }
	n.store, err = storage.Open(storage.Config{Storage: config.Storage{Dirs: []string{dir}, HWCheckpointInterval: 5 * time.Second}}, fsys, commitlog.NewFileCache(100), nil)
	check("open")
	err = errors.Join(n.store.Identify(id, clusterID), n.store.Load(context.Background(), topicConfig))
	check("load")
	n.pool, err = peer.New(peer.Config{BrokerID: id, Listener: "PLAINTEXT",
		DialSelf: n.dial,
		Dial:     func(ctx context.Context, e cluster.Endpoint) (net.Conn, error) { return ns.dial(ctx, id, e.Port) },
	}, n.view)
	check("peers")
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("broker", id)
	}
	n.replicas, err = replica.New(replica.Config{
		BrokerID:    id,
		TopicConfig: func(context.Context, string) (*config.Topic, error) { return topicConfig(""), nil },
		Peers:       peers{n.pool, ns},
		BrokerEpoch: n.epoch.Load,
		Replication: ns.settings.Broker().Replication,
		Logger:      log,
	}, n.store, n.view)
	check("replicas")
	ctx := context.Background()
	n.groups = newGroups(ns.t, ns.settings, n.replicas)
	err = errors.Join(n.pool.Start(ctx), n.store.Start(ctx), n.replicas.Start(ctx), n.groups.Start(ctx))
	check("start")
	routes, err := Routes(Deps{
		BrokerID: id, ClusterID: clusterID, BrokerEpoch: n.epoch.Load, FeatureEpoch: func() int64 { return 0 },
		Settings: ns.settings, View: n.view, Store: n.store, Replicas: n.replicas,
		Topics: &fakeTopics{}, Controller: &fakeController{}, ProducerIDs: &fakeIDs{}, Groups: n.groups,
		Transactions: newTransactions(ns.t, ns.settings, n.replicas, n.view, n.pool, &fakeIDs{}), Peers: n.pool, OldOffsets: &fakeOffsets{}, Logger: log,
	})
	check("routes")
	n.server, err = server.New(server.Config{Log: log}, routes, []server.Listener{{Listener: n.listener, Name: "PLAINTEXT", InterBroker: true}})
	check("server")
	err = n.server.Start(ctx)
	check("server")
	ns.mu.Lock()
	ns.brokers[id] = n
	ns.mu.Unlock()
	ns.tellAll()
	return n
}

func (ns *nodes) dial(ctx context.Context, from, to int32) (net.Conn, error) {
	if _, broken := ns.weather.strike(from, to); broken {
		return nil, errors.New("the network is down")
	}
	ns.mu.Lock()
	n := ns.brokers[to]
	ns.mu.Unlock()
	if n == nil {
		return nil, fmt.Errorf("broker %d is down", to)
	}
	c, err := n.dial(ctx)
	if err != nil || ns.real != "" {
		return c, err
	}
	return ns.weather.connect(c, from, to), nil
}

// stop ends a broker in order.
func (ns *nodes) stop(id int32) {
	ns.t.Helper()
	ns.mu.Lock()
	n := ns.brokers[id]
	delete(ns.brokers, id)
	ns.mu.Unlock()
	ctx := context.Background()
	if err := errors.Join(n.groups.Stop(ctx), n.server.Stop(ctx), n.replicas.Stop(ctx), n.pool.Stop(ctx), n.store.Stop(ctx)); err != nil {
		ns.t.Errorf("stop broker %d: %v", id, err)
	}
}

// kill ends a broker as kill -9 does, or as a power loss if there is an rng.
func (ns *nodes) kill(id int32, rng *rand.Rand) {
	ns.t.Helper()
	var after *vfs.Mem
	if rng != nil {
		after = ns.disks[id].Crash(rng)
	} else {
		after = ns.disks[id].Kill()
	}
	ns.stop(id)
	ns.disks[id] = after
}

// up returns the ids of the brokers that are up, ascending.
func (ns *nodes) up() (ids []int32) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for id := range ns.brokers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// tellAll tells all brokers who is alive and what was decided (UpdateMetadata).
func (ns *nodes) tellAll() {
	for _, id := range ns.up() {
		ns.brokers[id].view.Apply(ns.update())
	}
}

func (ns *nodes) update() cluster.Update {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	u := cluster.Update{ControllerID: 1, ControllerEpoch: 1}
	for id := range ns.brokers {
		u.Brokers = append(u.Brokers, cluster.Broker{ID: id, Endpoints: []cluster.Endpoint{{Listener: "PLAINTEXT", Host: "host", Port: id, SecurityProtocol: "PLAINTEXT"}}})
	}
	for tp, d := range ns.partitions {
		u.Topics = append(u.Topics, cluster.TopicUpdate{Name: tp.Topic, ID: d.id, Partitions: []cluster.Partition{{
			ID: tp.Partition, Leader: d.leader, LeaderEpoch: d.epoch, ISR: slices.Clone(d.isr), Replicas: d.replicas, PartitionEpoch: d.version}}})
	}
	return u
}

// create makes a partition with these replicas, the first of which leads.
func (ns *nodes) create(tp protocol.TopicPartition, replicas ...int32) {
	ns.t.Helper()
	ns.mu.Lock()
	ns.partitions[tp] = &decided{id: topicID(tp.Topic), replicas: replicas, isr: slices.Clone(replicas), leader: replicas[0]}
	ns.mu.Unlock()
	ns.tellAll()
	ns.send(tp, ns.up()...)
}

// lead makes a broker leader in a new epoch, with that ISR, or the one that is.
func (ns *nodes) lead(tp protocol.TopicPartition, leader int32, isr ...int32) {
	ns.t.Helper()
	ns.mu.Lock()
	d := ns.partitions[tp]
	d.leader = leader
	d.epoch++
	d.version++
	if isr != nil {
		d.isr = isr
	}
	ns.mu.Unlock()
	ns.tellAll()
	ns.send(tp, ns.up()...)
}

// send sends LeaderAndIsr to brokers, one after the other.
func (ns *nodes) send(tp protocol.TopicPartition, to ...int32) {
	ns.t.Helper()
	for _, id := range to {
		if err := ns.trySend(tp, id); err != nil {
			ns.t.Fatalf("broker %d: %v", id, err)
		}
	}
}

func (ns *nodes) trySend(tp protocol.TopicPartition, to int32) error {
	ns.mu.Lock()
	d := ns.partitions[tp]
	n := ns.brokers[to]
	c := replica.RoleChange{Partition: tp, TopicID: d.id, Leader: d.leader, LeaderEpoch: d.epoch, PartitionEpoch: d.version, ControllerEpoch: 1,
		Replicas: d.replicas, ISR: slices.Clone(d.isr), IsNew: d.epoch == 0}
	ns.mu.Unlock()
	if n == nil || !slices.Contains(d.replicas, to) {
		return nil
	}
	errs, err := n.replicas.ApplyRoles(context.Background(), 1, []replica.RoleChange{c})
	if err = errors.Join(append(errs, err)...); errors.Is(err, kerr.StaleControllerEpoch) {
		return nil // it knows already
	}
	return err
}

// alter is the controller's side of AlterPartition (spec §2).
func (ns *nodes) alter(req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	ns.mu.Lock()
	ns.alters = append(ns.alters, *req)
	hook := ns.onAlter
	ns.mu.Unlock()
	if hook != nil {
		if resp, err := hook(req); resp != nil || err != nil {
			return resp, err
		}
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	resp := kmsg.NewPtrAlterPartitionResponse()
	for _, t := range req.Topics {
		out := kmsg.AlterPartitionResponseTopic{TopidID: t.TopicID, Topic: t.Topic}
		if !protocol.TopicID(t.TopicID).IsZero() {
			out.Topic = ""
		}
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, ns.decide(protocol.TopicPartition{Topic: t.Topic, Partition: p.Partition}, &p))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (ns *nodes) decide(tp protocol.TopicPartition, p *kmsg.AlterPartitionRequestTopicPartition) kmsg.AlterPartitionResponseTopicPartition {
	d := ns.partitions[tp]
	out := kmsg.AlterPartitionResponseTopicPartition{Partition: p.Partition}
	same := d != nil && d.epoch == p.LeaderEpoch && slices.Equal(d.isr, p.NewISR)
	switch {
	case d == nil:
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
	case p.LeaderEpoch < d.epoch:
		out.ErrorCode = kerr.FencedLeaderEpoch.Code
	case same:
	case p.PartitionEpoch < d.version:
		out.ErrorCode = kerr.InvalidUpdateVersion.Code
	case slices.ContainsFunc(p.NewISR, func(id int32) bool { return ns.brokers[id] == nil }):
		out.ErrorCode = kerr.IneligibleReplica.Code
	default:
		d.isr = slices.Clone(p.NewISR)
		d.version++
	}
	if out.ErrorCode == 0 {
		out.LeaderID, out.LeaderEpoch, out.ISR, out.PartitionEpoch = d.leader, d.epoch, slices.Clone(d.isr), d.version
	}
	return out
}

// isr returns the ISR as the controller knows it, sorted.
func (ns *nodes) isr(tp protocol.TopicPartition) []int32 {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return slices.Sorted(slices.Values(ns.partitions[tp].isr))
}

func (ns *nodes) partition(id int32, tp protocol.TopicPartition) *replica.Partition {
	ns.t.Helper()
	p, err := ns.brokers[id].replicas.Partition(tp)
	if err != nil {
		ns.t.Fatalf("broker %d: %v", id, err)
	}
	return p
}

func (ns *nodes) log(id int32, tp protocol.TopicPartition) *commitlog.Log {
	ns.t.Helper()
	log, err := ns.partition(id, tp).Log()
	if err != nil {
		ns.t.Fatalf("broker %d: %v", id, err)
	}
	return log
}

// append appends a batch of one record, with acks=1, and returns its offset.
func (ns *nodes) append(id int32, tp protocol.TopicPartition, value string) int64 {
	ns.t.Helper()
	r, err := ns.partition(id, tp).Append(oneRecord(value), replica.AppendRequest{ProduceVersion: 11, Acks: replica.AcksLeader})
	if err != nil {
		ns.t.Fatalf("append to broker %d: %v", id, err)
	}
	return r.BaseOffset
}

// bytes returns everything below offset that a log holds.
func (ns *nodes) bytes(id int32, tp protocol.TopicPartition, from, below int64) []byte {
	ns.t.Helper()
	log := ns.log(id, tp)
	var all []byte
	for from < below {
		r, err := log.Read(from, 1<<20, below, true)
		if err != nil {
			ns.t.Fatalf("broker %d: %v", id, err)
		}
		before := len(all)
		all, err = r.AppendTo(all)
		r.Release()
		if err != nil {
			ns.t.Fatal(err)
		}
		if len(all) == before {
			break
		}
		from = nextOffset(ns.t, all[before:])
	}
	return all
}
