package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const self int32 = 1

var (
	t0  = protocol.TopicPartition{Topic: "t", Partition: 0}
	tID = protocol.TopicID{6: 0x40, 8: 0x80, 15: 7}
)

// world is a broker's storage in memory, with Replicas on top of it.
type world struct {
	t        testing.TB
	faults   *vfs.Faults
	store    *storage.Store
	view     *cluster.View
	replicas *Replicas
	events   []RoleEvent

	mu     sync.Mutex
	topics map[string]*config.Topic
	asked  int // how often a configuration was read
}

// newWorld has one log directory and one live broker besides this one, 2. The
// goroutines of store and Replicas run only after start.
func newWorld(t testing.TB, dirs ...string) *world {
	t.Helper()
	if dirs == nil {
		dirs = []string{"/data"}
	}
	return newWorldOn(t, vfs.NewMem(), dirs...)
}

func newWorldOn(t testing.TB, fsys vfs.FS, dirs ...string) *world {
	t.Helper()
	w := &world{t: t, faults: vfs.NewFaults(fsys), view: cluster.NewView(), topics: map[string]*config.Topic{}}
	w.view.Apply(cluster.Update{ControllerID: self, Brokers: []cluster.Broker{{ID: self}, {ID: 2}}})
	var err error
	w.store, err = storage.Open(storage.Config{Storage: config.Storage{Dirs: dirs}}, w.faults, commitlog.NewFileCache(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Stop(context.Background()) })
	if err := w.store.Identify(self, "cluster"); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Load(context.Background(), func(string) *config.Topic { return defaultTopic() }); err != nil {
		t.Fatal(err)
	}
	w.replicas, err = New(Config{BrokerID: self, TopicConfig: w.topicConfig}, w.store, w.view)
	if err != nil {
		t.Fatal(err)
	}
	w.replicas.Subscribe(func(e RoleEvent) { w.events = append(w.events, e) })
	return w
}

func (w *world) start() {
	w.t.Helper()
	ctx := context.Background()
	if err := errors.Join(w.store.Start(ctx), w.replicas.Start(ctx)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.replicas.Stop(ctx) })
}

// defaultTopic is Kafka's default configuration of a topic.
func defaultTopic() *config.Topic {
	s, _, err := config.Parse(map[string]string{"zookeeper.connect": "embedded"})
	if err != nil {
		panic(err)
	}
	return s.Topic(nil)
}

func (w *world) configure(topic string, change func(*config.Topic)) {
	w.mu.Lock()
	cfg := *defaultTopic()
	change(&cfg)
	w.topics[topic] = &cfg
	w.mu.Unlock()
	w.store.SetTopicConfig(topic, &cfg)
}

func (w *world) topicConfig(_ context.Context, topic string) (*config.Topic, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if cfg := w.topics[topic]; cfg != nil {
		return cfg, nil
	}
	return defaultTopic(), nil
}

// leads makes this broker leader of tp with the given ISR; the replicas are those
// of the ISR and this broker.
func (w *world) leads(tp protocol.TopicPartition, epoch int32, isr ...int32) *Partition {
	w.t.Helper()
	if isr == nil {
		isr = []int32{self}
	}
	w.apply(RoleChange{Partition: tp, TopicID: tID, Leader: self, LeaderEpoch: epoch, PartitionEpoch: epoch, Replicas: isr, ISR: isr, IsNew: true})
	p, err := w.replicas.Partition(tp)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// apply applies changes that must all succeed.
func (w *world) apply(changes ...RoleChange) {
	w.t.Helper()
	errs, err := w.replicas.ApplyRoles(w.t.Context(), 1, changes)
	if err := errors.Join(append(errs, err)...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) takeEvents() []RoleEvent {
	events := w.events
	w.events = nil
	return events
}

// batch is a batch of n records with timestamps ts, ts+1, ...
func batch(t testing.TB, ts int64, n int, set ...func(*record.Builder)) []byte {
	t.Helper()
	b := record.NewBuilder()
	for _, f := range set {
		f(b)
	}
	for i := range n {
		b.Append(ts+int64(i), []byte("k"), []byte("v"))
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func producer(id int64, epoch int16, seq int32) func(*record.Builder) {
	return func(b *record.Builder) { b.SetProducer(id, epoch, seq) }
}

func transactional(b *record.Builder) { b.SetTransactional(true) }

var produce = AppendRequest{Origin: record.Client, ProduceVersion: 11, Acks: AcksLeader}

func produceAll() AppendRequest {
	r := produce
	r.Acks = AcksAll
	return r
}

// must appends n records and returns the result.
func mustAppend(t testing.TB, p *Partition, req AppendRequest, records []byte) AppendResult {
	t.Helper()
	r, err := p.Append(records, req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bytesOf reads and releases a range.
func bytesOf(t testing.TB, r *commitlog.Range) []byte {
	t.Helper()
	defer r.Release()
	b, err := r.AppendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recorder is a Watcher that counts.
type recorder struct {
	mu    sync.Mutex
	moved map[uint32]int
	noted []uint32 // what it did not wait for
	goOn  func()   // what it returns
}

func (r *recorder) Moved(token uint32, awaited bool) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !awaited {
		r.noted = append(r.noted, token)
		return nil
	}
	if r.moved == nil {
		r.moved = map[uint32]int{}
	}
	r.moved[token]++
	return r.goOn
}

// take returns the tokens that were told since the last call, sorted.
func (r *recorder) take() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var tokens []uint32
	for t := range r.moved {
		tokens = append(tokens, t)
	}
	slices.Sort(tokens)
	r.moved = nil
	return tokens
}
