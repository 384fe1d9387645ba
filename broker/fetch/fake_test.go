package fetch

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePartition has records of one byte each: offset n is readable when the high
// watermark is above n.
type fakePartition struct {
	mu       sync.Mutex
	hw       int64
	lso      int64
	logStart int64
	err      error
	diverge  bool
	watches  map[watch]int
	reads    int
	news     int    // reads that said something new
	batch    int    // records come only in so many at a time; 0 as 1
	onWatch  func() // runs before a watch begins
}

type watch struct {
	w     Watcher
	token uint32
}

func (p *fakePartition) Read(r ReadRequest) (ReadResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	if r.New {
		p.news++
	}
	if p.err != nil {
		return ReadResult{}, p.err
	}
	res := ReadResult{HighWatermark: p.hw, LastStable: p.lso, LogStart: p.logStart, End: p.hw, DivergingEpoch: -1, PreferredReplica: -1}
	if r.Reader.ReadCommitted {
		res.End = p.lso
		res.Aborted = []commitlog.AbortedTxn{}
	}
	if p.diverge {
		res.DivergingEpoch, res.DivergingEnd = 1, 7
		return res, nil
	}
	n := int(min(res.End-r.Offset, int64(r.Limit)))
	if n < max(p.batch, 1) && res.End > r.Offset {
		n = 0
		if r.MinOne {
			n = max(p.batch, 1)
		}
	}
	res.Range.Len = max(n, 0)
	return res, nil
}

func (p *fakePartition) Continues(commitlog.Range, int64) bool { return false }

func (p *fakePartition) Watch(w Watcher, token uint32, _ bool) {
	if f := p.onWatch; f != nil {
		p.onWatch = nil
		f()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k := watch{w, token}
	if p.watches == nil {
		p.watches = map[watch]int{}
	}
	p.watches[k]++
}

func (p *fakePartition) Unwatch(w Watcher, token uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := watch{w, token}
	if p.watches[k]--; p.watches[k] <= 0 {
		delete(p.watches, k)
	}
}

func (p *fakePartition) change(f func()) {
	p.mu.Lock()
	f()
	told := maps.Clone(p.watches)
	p.mu.Unlock()
	for k := range told {
		if goOn := k.w.Moved(k.token, true); goOn != nil {
			goOn()
		}
	}
}

func (p *fakePartition) append(n int64) {
	p.change(func() { p.hw += n; p.lso += n })
}

// cluster is a few fake partitions.
type fakeCluster struct {
	partitions map[string][]*fakePartition
	ids        map[protocol.TopicID]string
	lookups    int
}

func newCluster(topics map[string]int) *fakeCluster {
	c := &fakeCluster{partitions: map[string][]*fakePartition{}, ids: map[protocol.TopicID]string{}}
	for name, n := range topics {
		for range n {
			c.partitions[name] = append(c.partitions[name], &fakePartition{})
		}
		c.ids[topicID(name)] = name
	}
	return c
}

func topicID(name string) (id protocol.TopicID) {
	copy(id[:], name)
	return id
}

func (c *fakeCluster) lookup(k Key, byID bool) (string, Partition, error) {
	c.lookups++
	name := k.Topic
	if byID {
		var ok bool
		if name, ok = c.ids[k.ID]; !ok {
			return "", nil, kerr.UnknownTopicID
		}
	}
	ps := c.partitions[name]
	if int(k.Partition) >= len(ps) {
		return name, nil, kerr.UnknownTopicOrPartition
	}
	return name, ps[k.Partition], nil
}

func (c *fakeCluster) manager(t testing.TB, slots int) *Manager {
	m, err := New(slots, c.lookup)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// all returns an entry for each partition of a topic, at an offset.
func all(topic string, n int, offset int64) (list []PartitionRequest) {
	for i := range n {
		list = append(list, PartitionRequest{Key{Topic: topic, Partition: int32(i)}, Want{Offset: offset, LogStart: -1, MaxBytes: 1 << 20, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}})
	}
	return list
}

func request(session, epoch int32, list ...PartitionRequest) *Request {
	return &Request{SessionID: session, SessionEpoch: epoch, Partitions: list, MinBytes: 1, MaxBytes: 1 << 20, Reader: Reader{ReplicaID: -1}}
}

// show is what a response tells, in short.
func show(r Response) string {
	if r.Err != nil {
		return r.Err.(*kerr.Error).Message
	}
	s := ""
	for _, p := range r.Results {
		s += fmt.Sprintf("%s-%d:%d", p.Topic, p.Partition, p.Range.Len)
		var known *kerr.Error
		if errors.As(p.Err, &known) {
			s += "!" + known.Message
		}
		s += " "
	}
	return s
}

func expect(t *testing.T, got Response, want string) {
	t.Helper()
	if s := show(got); s != want {
		t.Fatalf("got %q, want %q", s, want)
	}
}
