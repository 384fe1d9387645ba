package txn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/statelog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brokers are the cluster that markers are sent to: they write them down.
type brokers struct {
	view *cluster.View

	mu       sync.Mutex
	leaders  map[protocol.TopicPartition]int32
	markers  map[protocol.TopicPartition][]string
	fenced   map[protocol.TopicPartition]int32 // the highest coordinator epoch
	refuse   map[protocol.TopicPartition]error // once
	down     map[int32]bool
	hung     map[int32]chan struct{} // answers when it is closed
	requests map[int32]int
	inFlight map[int32]int
	// written is asked whether a marker may be written: a broker that is not to write it
	// never answers.
	written func(tp protocol.TopicPartition, marker string) bool
}

func newBrokers() *brokers {
	return &brokers{
		view:    cluster.NewView(),
		leaders: map[protocol.TopicPartition]int32{}, markers: map[protocol.TopicPartition][]string{},
		fenced: map[protocol.TopicPartition]int32{}, refuse: map[protocol.TopicPartition]error{},
		down: map[int32]bool{}, hung: map[int32]chan struct{}{}, requests: map[int32]int{}, inFlight: map[int32]int{},
	}
}

func partitionsNamed(names ...string) (list []protocol.TopicPartition) {
	for _, n := range names {
		tp, ok := protocol.ParseTopicPartitionDir(n)
		if !ok {
			panic(n)
		}
		list = append(list, tp)
	}
	return list
}

// leads has a broker lead partitions, and the view know.
func (b *brokers) leads(broker int32, names ...string) {
	for _, tp := range partitionsNamed(names...) {
		b.mu.Lock()
		b.leaders[tp] = broker
		b.mu.Unlock()
		b.tell(tp, broker)
	}
}

// deleted has partitions not be there any more.
func (b *brokers) deleted(names ...string) {
	for _, tp := range partitionsNamed(names...) {
		b.mu.Lock()
		delete(b.leaders, tp)
		b.mu.Unlock()
		b.tell(tp, cluster.LeaderDeleting)
	}
}

// tell has only the view know.
func (b *brokers) tell(tp protocol.TopicPartition, leader int32) {
	b.view.Apply(cluster.Update{Topics: []cluster.TopicUpdate{{Name: tp.Topic, Partitions: []cluster.Partition{{ID: tp.Partition, Leader: leader}}}}})
}

// partitionsOf is what ZooKeeper says.
func (b *brokers) partitionsOf(_ context.Context, topic string) (n int32, err error) {
	if topic == protocol.TransactionStateTopic {
		return 2, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for tp := range b.leaders {
		if tp.Topic == topic {
			n = max(n, tp.Partition+1)
		}
	}
	return n, nil
}

var errDown = errors.New("connection refused")

func (b *brokers) Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error) {
	b.mu.Lock()
	if b.down[to.Broker] {
		b.mu.Unlock()
		return nil, errDown
	}
	hung := b.hung[to.Broker]
	b.requests[to.Broker]++
	b.inFlight[to.Broker]++
	if b.inFlight[to.Broker] > 1 {
		panic("two requests are on their way to a broker")
	}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.inFlight[to.Broker]--
		b.mu.Unlock()
	}()
	if hung != nil {
		select {
		case <-hung:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	resp, ok := b.write(to.Broker, req.(*kmsg.WriteTxnMarkersRequest))
	if !ok {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return resp, nil
}

func (b *brokers) write(broker int32, req *kmsg.WriteTxnMarkersRequest) (*kmsg.WriteTxnMarkersResponse, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	ok := true
	for _, m := range req.Markers {
		of := kmsg.NewWriteTxnMarkersResponseMarker()
		of.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			topic := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			topic.Topic = t.Topic
			for _, n := range t.Partitions {
				p := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				p.Partition = n
				err, written := b.writeOne(broker, protocol.TopicPartition{Topic: t.Topic, Partition: n}, &m)
				ok = ok && written
				p.ErrorCode = codeOf(err)
				topic.Partitions = append(topic.Partitions, p)
			}
			of.Topics = append(of.Topics, topic)
		}
		resp.Markers = append(resp.Markers, of)
	}
	return resp, ok
}

func (b *brokers) writeOne(broker int32, tp protocol.TopicPartition, m *kmsg.WriteTxnMarkersRequestMarker) (err error, written bool) {
	leader, there := b.leaders[tp]
	refuse := b.refuse[tp]
	switch {
	case refuse != nil:
		delete(b.refuse, tp)
		return refuse, true
	case !there:
		return kerr.UnknownTopicOrPartition, true
	case leader != broker:
		return kerr.NotLeaderForPartition, true
	case m.CoordinatorEpoch < b.fenced[tp]:
		return kerr.TransactionCoordinatorFenced, true
	}
	what := "abort"
	if m.Committed {
		what = "commit"
	}
	marker := fmt.Sprintf("%s %d/%d", what, m.ProducerID, m.ProducerEpoch)
	if b.written != nil && !b.written(tp, marker) {
		return nil, false
	}
	b.fenced[tp] = m.CoordinatorEpoch
	b.markers[tp] = append(b.markers[tp], marker)
	return nil, true
}

func codeOf(err error) int16 {
	var k *kerr.Error
	if errors.As(err, &k) {
		return k.Code
	}
	return 0
}

// in returns the markers that a partition has.
func (b *brokers) in(partition string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.markers[partitionsNamed(partition)[0]], ", ")
}

func (b *brokers) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// lab is one coordinator of __transaction_state with two partitions, of which it leads
// none at first.
type lab struct {
	t       testing.TB
	log     *memlog.Log
	brokers *brokers
	c       *Coordinator
	nextID  atomic.Int64
}

func settingsForTests() Settings {
	return Settings{
		Limits:        Limits{MaxTimeout: 15 * time.Minute, Expiration: 7 * 24 * time.Hour},
		AbortInterval: 10 * time.Second, ExpirationInterval: time.Hour, RequestTimeout: 30 * time.Second,
		LoadBufferBytes: 5 << 20, MemoryBytes: 1 << 30,
	}
}

func newLab(t testing.TB, log *memlog.Log, b *brokers, change ...func(*Config)) *lab {
	t.Helper()
	l := &lab{t: t, log: log, brokers: b}
	l.nextID.Store(1000)
	cfg := Config{
		Settings: settingsForTests(), PartitionsOf: b.partitionsOf,
		NextProducerID: func(context.Context) (int64, error) { return l.nextID.Add(1) - 1, nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg, log, b.view, b)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.c = c
	return l
}

func (l *lab) stop() {
	if err := l.c.Stop(context.Background()); err != nil {
		l.t.Error(err)
	}
	if used, waiting := l.c.budget.used.Load(), l.c.budget.waiting.Load(); used != 0 || waiting != 0 {
		l.t.Errorf("%d bytes and %d requests are left", used, waiting)
	}
}

func role(n int32, r replica.Role, epoch int32, cause replica.Cause) replica.RoleEvent {
	return replica.RoleEvent{Partition: protocol.TopicPartition{Topic: protocol.TransactionStateTopic, Partition: n}, Role: r, Epoch: epoch, Cause: cause}
}

// leads has the coordinator lead a partition.
func (l *lab) leads(n, epoch int32) {
	l.log.Lead(n, epoch)
	l.c.RoleChanged(role(n, replica.Leader, epoch, replica.LeaderAndISR))
}

func (l *lab) follows(n, epoch int32) {
	l.log.Lead(n, -1)
	l.c.RoleChanged(role(n, replica.Follower, epoch, replica.LeaderAndISR))
}

// newLeader is newLab in a cluster of two brokers, with an id whose partition it leads,
// in epoch 5, and has loaded. Broker 1 leads t-0 and u-0, 2 leads t-1. The caller stops
// the lab.
func newLeader(t testing.TB, change ...func(*Config)) (*lab, string) {
	t.Helper()
	b := newBrokers()
	b.leads(1, "t-0", "u-0")
	b.leads(2, "t-1")
	l := newLab(t, memlog.New(), b, change...)
	l.leads(1, 5)
	synctest.Wait()
	return l, idIn(1)
}

// idIn is the name of an id that belongs to a partition.
func idIn(n int32) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("x%d", i); statelog.PartitionFor(name, 2) == n {
			return name
		}
	}
}

func fromNothing(id string) InitRequest {
	return InitRequest{ID: id, TimeoutMS: 60000, ProducerID: NoProducerID, Epoch: NoEpoch}
}

func (l *lab) init(q InitRequest) <-chan InitResult {
	c := make(chan InitResult, 1)
	l.c.InitProducerID(q, func(r InitResult) { c <- r })
	return c
}

func (l *lab) add(id string, pid int64, epoch int16, partitions ...string) <-chan error {
	c := make(chan error, 1)
	l.c.AddPartitions(id, pid, epoch, partitionsNamed(partitions...), func(err error) { c <- err })
	return c
}

func (l *lab) end(id string, pid int64, epoch int16, commit bool) <-chan error {
	c := make(chan error, 1)
	l.c.End(id, pid, epoch, commit, func(err error) { c <- err })
	return c
}

func (l *lab) verify(id string, pid int64, epoch int16, partition string) error {
	list := []Verified{{TopicPartition: partitionsNamed(partition)[0]}}
	if err := l.c.Verify(id, pid, epoch, list); err != nil {
		return err
	}
	return list[0].Err
}

// producer gives an id a producer.
func (l *lab) producer(id string) (int64, int16) {
	l.t.Helper()
	r := <-l.init(fromNothing(id))
	if r.Err != nil {
		l.t.Fatal(r.Err)
	}
	return r.ProducerID, r.Epoch
}

// state is that of an id in words.
func (l *lab) state(id string) string {
	d, err := l.c.Describe(id)
	if err != nil {
		return name(err)
	}
	text := fmt.Sprintf("%v %d/%d", d.State, d.ProducerID, d.Epoch)
	if len(d.Partitions) > 0 {
		text += fmt.Sprint(" ", d.Partitions)
	}
	return text
}

func (l *lab) expect(id, want string) {
	l.t.Helper()
	if got := l.state(id); got != want {
		l.t.Errorf("%s is %s, want %s", id, got, want)
	}
}

func (l *lab) expectIn(partition, want string) {
	l.t.Helper()
	if got := l.brokers.in(partition); got != want {
		l.t.Errorf("%s has the markers %q, want %q", partition, got, want)
	}
}

func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
