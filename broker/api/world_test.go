package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/txn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a broker with its storage in memory and everything that its handlers
// need, except ZooKeeper: topics, controller and producer ids are fakes. Requests
// go over connections, as those of clients do.
type world struct {
	t        testing.TB
	settings *config.Settings
	view     *cluster.View
	store    *storage.Store
	replicas *replica.Replicas
	groups   *group.Coordinator
	txns     *txn.Coordinator
	peers    *peer.Pool
	old      *fakeOffsets
	topics   *fakeTopics
	control  *fakeController
	routes   []server.Route
	server   *server.Server
	brokers  *inproc.Listener // listener PLAINTEXT, for brokers and clients
	clients  *inproc.Listener // listener CLIENT, for clients only
	conn     net.Conn         // to brokers; see call
	next     int32
	logs     logBuffer
}

const (
	self      int32 = 1
	testWait        = 20 * time.Second
	clusterID       = "NyyirfviREmETMc30zMIMg"
)

// newWorld starts a broker with the given settings.
func newWorld(t testing.TB, properties ...string) *world {
	t.Helper()
	return newWorldWithin(t, server.Config{}, properties...)
}

// newWorldWithin is newWorld with other limits of the server's.
func newWorldWithin(t testing.TB, limits server.Config, properties ...string) *world {
	t.Helper()
	given := map[string]string{"zookeeper.connect": "embedded", "broker.id": "1", "log.dirs": "/data"}
	for _, p := range properties {
		name, value, _ := strings.Cut(p, "=")
		given[name] = value
	}
	w := &world{t: t, view: cluster.NewView(), control: &fakeController{active: true}}
	var err error
	check := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	w.settings, _, err = config.Parse(given)
	check("settings")
	w.topics = &fakeTopics{w: w, own: map[string]map[string]string{}}
	var fsys vfs.FS = vfs.NewMem()
	if given["log.dirs"] != "/data" {
		fsys = vfs.OS()
	}
	w.store, err = storage.Open(storage.Config{
		Storage:            config.Storage{Dirs: []string{given["log.dirs"]}},
		VerifyTransactions: func() bool { return w.settings.Broker().Transactions.Verify },
	}, fsys, commitlog.NewFileCache(100), nil)
	check("open")
	err = errors.Join(w.store.Identify(self, clusterID), w.store.Load(context.Background(), w.topicConfig))
	check("load")
	w.replicas, err = replica.New(replica.Config{BrokerID: self, TopicConfig: func(_ context.Context, topic string) (*config.Topic, error) { return w.topicConfig(topic), nil }}, w.store, w.view)
	check("replicas")
	w.brokers, w.clients = inproc.Listen("brokers"), inproc.Listen("clients")
	w.peers, err = peer.New(peer.Config{BrokerID: self, Listener: "PLAINTEXT", DialSelf: w.brokers.Dial,
		Dial: func(context.Context, cluster.Endpoint) (net.Conn, error) {
			return nil, errors.New("there are no other brokers")
		},
	}, w.view)
	check("peers")
	ids := &fakeIDs{}
	w.groups = newGroups(t, w.settings, w.replicas)
	w.txns = newTransactions(t, w.settings, w.replicas, w.view, w.peers, ids)
	w.old = &fakeOffsets{at: map[string]int64{}}
	err = errors.Join(w.store.Start(context.Background()), w.replicas.Start(context.Background()), w.groups.Start(context.Background()), w.peers.Start(context.Background()), w.txns.Start(context.Background()))
	check("start")
	log := slog.New(slog.NewTextHandler(&w.logs, nil))
	w.routes, err = Routes(Deps{
		BrokerID: self, ClusterID: clusterID,
		BrokerEpoch: func() int64 { return 30 }, FeatureEpoch: func() int64 { return 5 },
		Settings: w.settings, View: w.view, Store: w.store, Replicas: w.replicas,
		Topics: w.topics, Controller: w.control, ProducerIDs: ids, Groups: w.groups, Transactions: w.txns, Peers: w.peers, OldOffsets: w.old, Logger: log,
	})
	check("routes")
	limits.Log = log
	srv, err := server.New(limits, w.routes, []server.Listener{
		{Listener: w.brokers, Name: "PLAINTEXT", InterBroker: true}, {Listener: w.clients, Name: "CLIENT"}})
	check("server")
	w.server = srv
	err = srv.Start(context.Background())
	check("server")
	w.conn = w.dial(w.brokers)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testWait)
		defer cancel()
		w.conn.Close()
		if err := errors.Join(w.txns.Stop(ctx), w.groups.Stop(ctx), w.peers.Stop(ctx), srv.Stop(ctx), w.replicas.Stop(ctx), w.store.Stop(ctx)); err != nil {
			t.Error(err)
		}
	})
	w.update(1)
	return w
}

// newGroups returns the coordinator of a broker, which is not started.
func newGroups(t testing.TB, settings *config.Settings, replicas *replica.Replicas) *group.Coordinator {
	t.Helper()
	c, err := group.New(group.Config{
		Settings:   group.SettingsOf(settings.Broker(), 1<<28),
		Partitions: func(context.Context) (int32, error) { return settings.Broker().Offsets.Partitions, nil },
	}, replicas.TopicLog(protocol.ConsumerOffsetsTopic))
	if err != nil {
		t.Fatal(err)
	}
	replicas.Subscribe(c.RoleChanged)
	return c
}

// newTransactions returns the coordinator of a broker, which is not started.
func newTransactions(t testing.TB, settings *config.Settings, replicas *replica.Replicas, view *cluster.View, peers *peer.Pool, ids *fakeIDs) *txn.Coordinator {
	t.Helper()
	c, err := txn.New(txn.Config{
		Settings: txn.SettingsOf(settings.Broker(), 1<<28),
		PartitionsOf: func(_ context.Context, topic string) (int32, error) {
			if topic == protocol.TransactionStateTopic {
				return settings.Broker().Transactions.Partitions, nil
			}
			return 0, nil
		},
		NextProducerID: ids.Next,
	}, replicas.TopicLog(protocol.TransactionStateTopic), view, peers)
	if err != nil {
		t.Fatal(err)
	}
	replicas.Subscribe(c.RoleChanged)
	return c
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	b    strings.Builder
	grew chan struct{} // closed by the next line; nil while nobody waits
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grew != nil {
		close(l.grew)
		l.grew = nil
	}
	return l.b.Write(p)
}

// await waits until text has been logged n times. A connection's end is logged
// after the client has seen it.
func (l *logBuffer) await(t testing.TB, text string, n int) {
	t.Helper()
	limit := time.After(testWait)
	for {
		l.mu.Lock()
		log := l.b.String()
		if l.grew == nil {
			l.grew = make(chan struct{})
		}
		grew := l.grew
		l.mu.Unlock()
		if strings.Count(log, text) >= n {
			return
		}
		select {
		case <-grew:
		case <-limit:
			t.Fatalf("%q is not there %d times, the log has\n%s", text, n, log)
		}
	}
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) topicConfig(topic string) *config.Topic { return w.settings.Topic(w.topics.own[topic]) }

func (w *world) dial(l *inproc.Listener) net.Conn {
	w.t.Helper()
	c, err := l.Dial(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// send writes a request without waiting for the reply.
func (w *world) send(c net.Conn, req kmsg.Request, version int16) {
	req.SetVersion(version)
	w.next++
	if _, err := c.Write(protocol.EncodeRequest(nil, w.next, "test", req)); err != nil {
		w.t.Fatal(err)
	}
}

// receive reads the reply to req and checks that it is what kmsg would write:
// nothing missing, nothing left over.
func (w *world) receive(c net.Conn, req kmsg.Request) kmsg.Response {
	w.t.Helper()
	c.SetReadDeadline(time.Now().Add(testWait))
	frame, err := protocol.ReadFrame(c, 100<<20, nil)
	if err != nil {
		w.t.Fatalf("%s v%d: %v", protocol.APIKey(req.Key()), req.GetVersion(), err)
	}
	body := frame[4:]
	if req.IsFlexible() && req.Key() != int16(protocol.ApiVersions) {
		body = body[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		w.t.Fatalf("%s v%d: %v", protocol.APIKey(req.Key()), req.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
		w.t.Fatalf("%s v%d: the response is\n%x, kmsg writes\n%x", protocol.APIKey(req.Key()), req.GetVersion(), body, again)
	}
	return resp
}

// call sends a request over the world's connection and returns the response.
func call[R kmsg.Response](w *world, version int16, req kmsg.Request) R {
	w.t.Helper()
	w.send(w.conn, req, version)
	return w.receive(w.conn, req).(R)
}

// update tells the broker, as the controller does, that brokers 1 and 2 are
// alive.
func (w *world) update(version int16, states ...kmsg.UpdateMetadataRequestTopicState) {
	w.t.Helper()
	req := kmsg.NewPtrUpdateMetadataRequest()
	req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = self, 3, -1
	req.TopicStates = states
	for id := self; id <= 2; id++ {
		b := kmsg.NewUpdateMetadataRequestLiveBroker()
		b.ID, b.Rack = id, kmsg.StringPtr("rack")
		for i, name := range []string{"PLAINTEXT", "CLIENT"} {
			b.Endpoints = append(b.Endpoints, kmsg.UpdateMetadataRequestLiveBrokerEndpoint{ListenerName: name, Host: fmt.Sprintf("host%d", id), Port: 9092 + int32(i)})
		}
		req.LiveBrokers = append(req.LiveBrokers, b)
	}
	if resp := call[*kmsg.UpdateMetadataResponse](w, 8, req); resp.ErrorCode != 0 {
		w.t.Fatalf("UpdateMetadata: %d", resp.ErrorCode)
	}
}

// topicID is the id of a topic in these tests.
func topicID(name string) (id protocol.TopicID) {
	copy(id[:], name+"................")
	return id
}

// lead makes a topic whose partitions this broker leads, with the given ISR.
func (w *world) lead(topic string, partitions int32, epoch int32, isr ...int32) {
	w.t.Helper()
	if isr == nil {
		isr = []int32{self}
	}
	w.assign(topic, partitions, self, epoch, isr)
}

// assign tells the broker, as the controller does, about a topic.
func (w *world) assign(topic string, partitions, leader, epoch int32, replicas []int32) {
	w.t.Helper()
	roles := kmsg.NewPtrLeaderAndISRRequest()
	roles.ControllerID, roles.ControllerEpoch, roles.BrokerEpoch = self, 3, 30
	role := kmsg.NewLeaderAndISRRequestTopicState()
	role.Topic, role.TopicID = topic, topicID(topic)
	state := kmsg.NewUpdateMetadataRequestTopicState()
	state.Topic, state.TopicID = topic, topicID(topic)
	for i := range partitions {
		role.PartitionStates = append(role.PartitionStates, kmsg.LeaderAndISRRequestTopicPartition{
			Partition: i, ControllerEpoch: 3, Leader: leader, LeaderEpoch: epoch, ISR: replicas, Replicas: replicas, ZKVersion: epoch, IsNew: epoch == 0})
		state.PartitionStates = append(state.PartitionStates, kmsg.UpdateMetadataRequestTopicPartition{
			Partition: i, ControllerEpoch: 3, Leader: leader, LeaderEpoch: epoch, ISR: replicas, Replicas: replicas, ZKVersion: epoch})
	}
	roles.TopicStates = append(roles.TopicStates, role)
	if slices.Contains(replicas, self) {
		resp := call[*kmsg.LeaderAndISRResponse](w, 7, roles)
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					w.t.Fatalf("LeaderAndIsr of %s-%d: %d", topic, p.Partition, p.ErrorCode)
				}
			}
		}
	}
	w.update(8, state)
}

// batch is a batch of n records with values of the given size.
func batch(n, size int) []byte {
	b := record.NewBuilder()
	for i := range n {
		b.Append(1700000000000+int64(i), []byte{byte(i)}, bytes.Repeat([]byte{'v'}, size))
	}
	out, err := b.Build()
	if err != nil {
		panic(err)
	}
	return out
}

func produceOne(topic string, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 1000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}}}}
	return req
}

func (w *world) produce(topic string, partition int32, records []byte) int64 {
	w.t.Helper()
	p := call[*kmsg.ProduceResponse](w, 9, produceOne(topic, partition, 1, records)).Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		w.t.Fatalf("produce: %d", p.ErrorCode)
	}
	return p.BaseOffset
}

// expectClosed fails unless the broker closes the connection.
func (w *world) expectClosed(c net.Conn) {
	w.t.Helper()
	c.SetReadDeadline(time.Now().Add(testWait))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		w.t.Fatalf("read %d bytes, error %v; want a closed connection", n, err)
	}
}

// codeOf is the error code at the start of what b encodes.
func codeOf(b []byte) int16 { return int16(binary.BigEndian.Uint16(b)) }

// fakeTopics makes topics at once.
type fakeTopics struct {
	w       *world
	own     map[string]map[string]string
	err     error // of every method
	created []topics.CreateRequest
	deleted []string
	grown   []topics.ExpandRequest
	ops     map[string][]topics.ConfigOp
	auto    []string
}

func (f *fakeTopics) Create(_ context.Context, requests []topics.CreateRequest, _ time.Duration, _ bool) []topics.CreateResult {
	var out []topics.CreateResult
	for _, r := range requests {
		f.created = append(f.created, r)
		out = append(out, topics.CreateResult{Name: r.Name, ID: topicID(r.Name), Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"retention.ms": "7"}, Err: f.err})
	}
	return out
}

func (f *fakeTopics) AutoCreate(_ context.Context, name string) error {
	f.auto = append(f.auto, name)
	return f.err
}

func (f *fakeTopics) Delete(_ context.Context, names []string, _ time.Duration) []error {
	f.deleted = append(f.deleted, names...)
	return f.each(len(names))
}

func (f *fakeTopics) Expand(_ context.Context, requests []topics.ExpandRequest, _ time.Duration, _ bool) []error {
	f.grown = append(f.grown, requests...)
	return f.each(len(requests))
}

func (f *fakeTopics) each(n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = f.err
	}
	return errs
}

func (f *fakeTopics) Configs(_ context.Context, topic string) (map[string]string, error) {
	return f.own[topic], f.err
}

func (f *fakeTopics) ReplaceConfigs(_ context.Context, topic string, values []topics.ConfigOp, validateOnly bool) error {
	return f.note("replace "+topic, values, validateOnly)
}

func (f *fakeTopics) ChangeConfigs(_ context.Context, topic string, ops []topics.ConfigOp, validateOnly bool) error {
	return f.note("change "+topic, ops, validateOnly)
}

func (f *fakeTopics) note(what string, ops []topics.ConfigOp, validateOnly bool) error {
	if validateOnly {
		what = "validate: " + what
	}
	if f.ops == nil {
		f.ops = map[string][]topics.ConfigOp{}
	}
	f.ops[what] = ops
	return f.err
}

type fakeController struct {
	active bool
	err    error

	changes  []controller.ISRChange // asked for last
	altered  []controller.ISRResult
	shutdown [2]int64 // broker and epoch that asked for it last
	led      []protocol.TopicPartition
	unclean  bool
	elect    func([]protocol.TopicPartition) []controller.ElectionResult // nil: they fail
}

func (f *fakeController) AlterPartition(_ context.Context, _ int32, _ int64, changes []controller.ISRChange) ([]controller.ISRResult, error) {
	f.changes = changes
	if f.altered == nil {
		return make([]controller.ISRResult, len(changes)), f.err
	}
	return f.altered, f.err
}

func (f *fakeController) ControlledShutdown(_ context.Context, broker int32, epoch int64) ([]protocol.TopicPartition, error) {
	f.shutdown = [2]int64{int64(broker), epoch}
	return f.led, f.err
}

func (f *fakeController) ElectLeaders(_ context.Context, unclean bool, tps []protocol.TopicPartition) ([]controller.ElectionResult, error) {
	f.unclean = unclean
	if f.err != nil {
		return nil, f.err
	}
	if f.elect != nil {
		return f.elect(tps), nil
	}
	results := make([]controller.ElectionResult, len(tps))
	for i := range results {
		results[i].Err = fmt.Errorf("none.: %w", kerr.EligibleLeadersNotAvailable)
	}
	return results, nil
}

func (f *fakeController) Active() (int32, bool) { return 3, f.active }

func (f *fakeController) AllocateProducerIDs(_ context.Context, _ int32, epoch int64) (int64, int32, error) {
	if epoch != 30 {
		return 0, 0, fmt.Errorf("broker epoch %d: %w", epoch, kerr.StaleBrokerEpoch)
	}
	return 5000, 1000, f.err
}

type fakeIDs struct{ last int64 }

func (f *fakeIDs) Next(context.Context) (int64, error) {
	f.last++
	return f.last, nil
}
