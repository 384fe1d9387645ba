package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/storage/vfs"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// host is a machine in memory: a disk and the store of its embedded ZooKeeper, on a
// network. Brokers run on it one after the other.
type host struct {
	*network
	disk  *vfs.Mem
	store *zkserver.MemStore

	onSync    atomic.Pointer[func(name string)]
	open      atomic.Int64 // files
	mostOpen  atomic.Int64
	badDisk   atomic.Pointer[string] // a log directory in which no file can be opened, written or synced
	storeFull atomic.Bool            // the embedded ZooKeeper's store has no room
}

// network connects hosts: whoever listens on an address is found there.
type network struct {
	mu        sync.Mutex
	listeners map[string]*inproc.Listener
}

func (n *network) listen(address string) *inproc.Listener {
	l := inproc.Listen(address)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[address] = l
	return l
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("nobody listens on %s", address)
	}
	return l.Dial(ctx)
}

const clientAddress = "127.0.0.1:9092"

func newHost() *host {
	return &host{disk: vfs.NewMem(), store: zkserver.NewMemStore(), network: &network{listeners: map[string]*inproc.Listener{}}}
}

// neighbour is another machine on the host's network.
func (h *host) neighbour() *host {
	n := newHost()
	n.network = h.network
	return n
}

func (h *host) env() Env {
	return Env{
		FS: watchedDisk{h.disk, h},
		Listen: func(_ context.Context, address string) (net.Listener, error) {
			return h.listen(address), nil
		},
		Dial:     h.dial,
		Hostname: func(context.Context) string { return "machine" },
		OpenZooKeeperStore: func(string) (zkserver.Store, error) {
			return fullStore{h.store, h}, nil
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// fullStore is the host's store, which may have no room.
type fullStore struct {
	*zkserver.MemStore
	host *host
}

func (s fullStore) Commit(changes []zkserver.Change) error {
	if s.host.storeFull.Load() {
		return fmt.Errorf("%w: %w", zkserver.ErrNoRoom, vfs.ErrNoSpace)
	}
	return s.MemStore.Commit(changes)
}

func (s fullStore) HasRoom() bool { return !s.host.storeFull.Load() }

// watchedDisk calls the host's onSync before a file is made durable.
type watchedDisk struct {
	vfs.FS
	host *host
}

func (h *host) broken(name string) error {
	if bad := h.badDisk.Load(); bad != nil && strings.HasPrefix(name, *bad+"/") {
		return &fs.PathError{Op: "access", Path: name, Err: syscall.EIO}
	}
	return nil
}

func (d watchedDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if err := d.host.broken(name); err != nil {
		return nil, err
	}
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if n := d.host.open.Add(1); n > d.host.mostOpen.Load() {
		d.host.mostOpen.Store(n) // racing stores may lose one, which the tests can bear
	}
	return watchedFile{f, d.host}, nil
}

func (f watchedFile) Close() error {
	f.host.open.Add(-1)
	return f.File.Close()
}

type watchedFile struct {
	vfs.File
	host *host
}

func (f watchedFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.host.broken(f.Name()); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

func (f watchedFile) Sync() error {
	if err := f.host.broken(f.Name()); err != nil {
		return err
	}
	if on := f.host.onSync.Load(); on != nil {
		(*on)(f.Name())
	}
	return f.File.Sync()
}

// kill returns the machine as it is when the broker's process is killed now.
func (h *host) kill(t *testing.T) *host {
	t.Helper()
	return h.copy(t, h.disk.Kill())
}

// powerLoss returns the machine as it could come up if the power failed now. The
// embedded ZooKeeper's store loses nothing: it answers only what is durable.
func (h *host) powerLoss(t *testing.T, rng *rand.Rand) *host {
	t.Helper()
	return h.copy(t, h.disk.Crash(rng))
}

func (h *host) copy(t *testing.T, disk *vfs.Mem) *host {
	t.Helper()
	after := h.neighbour()
	after.disk = disk
	var entries []zkserver.Change
	if err := h.store.Load(func(e zkserver.Entry) error {
		e.Value = slices.Clone(e.Value)
		entries = append(entries, e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := after.store.Commit(entries); err != nil {
		t.Fatal(err)
	}
	return after
}

// start runs a broker with these properties on top of the usual ones.
func (h *host) start(t *testing.T, properties map[string]string) *Broker {
	t.Helper()
	all := map[string]string{
		"broker.id":         "1",
		"listeners":         "PLAINTEXT://" + clientAddress,
		"log.dirs":          "/a,/b",
		"zookeeper.connect": "embedded",
	}
	for name, value := range properties {
		all[name] = value
	}
	settings, _, err := config.Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(settings, h.env())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func stop(t *testing.T, b *Broker) {
	t.Helper()
	if err := b.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-b.Failed():
		t.Errorf("a broker that was stopped has failed: %v", err)
	default:
	}
}

// client is a real client, franz-go, on the host's network.
func (h *host) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(clientAddress),
		kgo.Dialer(func(ctx context.Context, _, address string) (net.Conn, error) { return h.dial(ctx, address) }),
		kgo.DisableClientMetrics(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func createTopic(t *testing.T, c *kgo.Client, name string, partitions int32, configs map[string]string) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for k, v := range configs {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}

// produce writes n records to each of the partitions and fails the test unless
// all are acknowledged, at ascending offsets.
func produce(t *testing.T, c *kgo.Client, topic string, partitions int32, values ...string) {
	t.Helper()
	for p := range partitions {
		for _, v := range values {
			r := &kgo.Record{Topic: topic, Partition: p, Value: []byte(v)}
			if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatalf("produce to %s-%d: %v", topic, p, err)
			}
		}
	}
}

// consume reads a partition from its start until it has n records.
func consume(t *testing.T, h *host, topic string, partition int32, n int) []string {
	t.Helper()
	c := h.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	var values []string
	for len(values) < n {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatalf("consume %s-%d: %v", topic, partition, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != int64(len(values)) {
				t.Fatalf("%s-%d: record at offset %d, want %d", topic, partition, r.Offset, len(values))
			}
			values = append(values, string(r.Value))
		})
	}
	return values
}

// A broker with its ZooKeeper, its disk and a client, all in one bubble: nothing
// of it may touch a real clock, socket or file, and nothing may be left behind.
func TestBrokerInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost()
		want := []string{"one", "two", "three"}
		for round := range 3 {
			b := h.start(t, nil)
			c := h.client(t)
			if round == 0 {
				createTopic(t, c, "t", 3, nil)
				produce(t, c, "t", 3, want...)
			}
			for p := range int32(3) {
				if got := consume(t, h, "t", p, len(want)); !slices.Equal(got, want) {
					t.Errorf("round %d, t-%d: %q, want %q", round, p, got, want)
				}
			}
			c.Close()
			stop(t, b)
		}
	})
}

// With flush.messages=1 everything acknowledged outlives a power loss; without,
// what comes back is a prefix.
func TestPowerLossInBubble(t *testing.T) {
	for _, flush := range []string{"1", "9223372036854775807"} {
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("flush.messages=%s/%d", flush, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { powerLoss(t, seed, flush == "1", map[string]string{"flush.messages": flush}) })
			})
		}
	}
}

func powerLoss(t *testing.T, seed uint64, durable bool, configs map[string]string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	h := newHost()
	b := h.start(t, nil)
	c := h.client(t)
	createTopic(t, c, "t", 2, configs)

	// The power fails right before one of the syncs, after whoever did not wait
	// for it has had time to go on; or, if there are fewer, at the end.
	var (
		mu    sync.Mutex
		want  [2][]string // acknowledged
		after *host
		acked [2][]string // when the power failed
		syncs = rng.IntN(40)
	)
	fail := func() {
		after = h.powerLoss(t, rng)
		acked = [2][]string{slices.Clone(want[0]), slices.Clone(want[1])}
	}
	onSync := func(name string) {
		if !strings.HasSuffix(name, ".log") {
			return
		}
		for range 20_000 {
			runtime.Gosched()
		}
		mu.Lock()
		defer mu.Unlock()
		if syncs--; syncs == -1 {
			fail()
		}
	}
	h.onSync.Store(&onSync)
	for i := range 1 + rng.IntN(30) {
		for p := range int32(2) {
			v := fmt.Sprintf("record %d of seed %d", i, seed)
			if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			want[p] = append(want[p], v)
			mu.Unlock()
		}
		if rng.IntN(8) == 0 {
			time.Sleep(time.Duration(rng.IntN(90)) * time.Second) // checkpoints are written meanwhile
		}
	}
	mu.Lock()
	if after == nil {
		fail()
	}
	mu.Unlock()
	h.onSync.Store(nil)
	c.Close()
	stop(t, b)

	b = after.start(t, nil)
	defer stop(t, b)
	for p := range int32(2) {
		n := int(endOffset(t, after, "t", p))
		if durable && n < len(acked[p]) {
			t.Errorf("t-%d ends at %d after the power loss; %d records had been acknowledged", p, n, len(acked[p]))
		}
		// One more may be there than was acknowledged.
		if got := consume(t, after, "t", p, n); n > len(want[p]) || !slices.Equal(got, want[p][:n]) {
			t.Errorf("t-%d after the power loss: %q, want a prefix of %q", p, got, want[p])
		}
	}
}

func endOffset(t *testing.T, h *host, topic string, partition int32) int64 {
	t.Helper()
	c := h.client(t)
	defer c.Close()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, -1
	asked.Partitions = append(asked.Partitions, p)
	req.Topics = append(req.Topics, asked)
	// A leader that has just been elected may not know its high watermark yet,
	// and says so; clients ask again, but not for ever.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := req.RequestWith(t.Context(), c)
		if err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		}
		if err == nil {
			return resp.Topics[0].Partitions[0].Offset
		}
		if !errors.Is(err, kerr.OffsetNotAvailable) || time.Now().After(deadline) {
			t.Fatalf("end of %s-%d: %v", topic, partition, err)
		}
	}
}
