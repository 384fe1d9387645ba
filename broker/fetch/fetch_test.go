package fetch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

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
	if n <= 0 && r.MinOne && res.End > r.Offset {
		n = 1
	}
	res.Range.Len = max(n, 0)
	return res, nil
}

func (p *fakePartition) Watch(w Watcher, token uint32) {
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
		k.w.Moved(k.token)
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

func TestSessionlessNamesAll(t *testing.T) {
	c := newCluster(map[string]int{"t": 3})
	c.partitions["t"][1].append(5)
	m := c.manager(t, 10)
	for range 2 {
		got := m.Fetch(t.Context(), request(0, FinalEpoch, append(all("t", 3, 0), all("no", 1, 0)...)...))
		if got.SessionID != 0 {
			t.Errorf("session %d", got.SessionID)
		}
		expect(t, got, "t-0:0 t-1:5 t-2:0 no-0:0!UNKNOWN_TOPIC_OR_PARTITION ")
	}
	for i, p := range c.partitions["t"] {
		if len(p.watches) != 0 {
			t.Errorf("partition %d is still watched", i)
		}
	}
}

func TestIncrementalTellsChangesOnly(t *testing.T) {
	c := newCluster(map[string]int{"t": 4})
	c.partitions["t"][1].append(5)
	m := c.manager(t, 10)
	got := m.Fetch(t.Context(), request(0, InitialEpoch, all("t", 4, 0)...))
	id := got.SessionID
	if id <= 0 {
		t.Fatalf("session id %d", id)
	}
	expect(t, got, "t-0:0 t-1:5 t-2:0 t-3:0 ")

	// The client has not moved: the records are sent again.
	expect(t, m.Fetch(t.Context(), request(id, 1)), "t-1:5 ")
	// It moves to the end: nothing changed since.
	at5 := all("t", 2, 5)[1:]
	req := request(id, 2, at5...)
	expect(t, m.Fetch(t.Context(), req), "")
	expect(t, m.Fetch(t.Context(), request(id, 3)), "")
	// Data elsewhere, and a high watermark that moved without bytes for us.
	c.partitions["t"][3].append(2)
	c.partitions["t"][2].change(func() { c.partitions["t"][2].logStart = 1 })
	expect(t, m.Fetch(t.Context(), request(id, 4)), "t-3:2 t-2:0 ")
	// Forgotten ones are gone, new ones come in.
	c.partitions["new"] = []*fakePartition{{hw: 1, lso: 1}}
	req = request(id, 5, all("new", 1, 0)...)
	req.Forgotten = []Key{{Topic: "t", Partition: 3}, {Topic: "never", Partition: 9}}
	expect(t, m.Fetch(t.Context(), req), "new-0:1 ")
	c.partitions["t"][3].append(1)
	expect(t, m.Fetch(t.Context(), request(id, 6)), "new-0:1 ")
	// Letting go of everything ends the session.
	req = request(id, 7)
	for i := range 3 {
		req.Forgotten = append(req.Forgotten, Key{Topic: "t", Partition: int32(i)})
	}
	req.Forgotten = append(req.Forgotten, Key{Topic: "new"})
	got = m.Fetch(t.Context(), req)
	if got.SessionID != 0 || len(got.Results) != 0 {
		t.Errorf("%+v", got)
	}
	expect(t, m.Fetch(t.Context(), request(id, 8)), "FETCH_SESSION_ID_NOT_FOUND")
	for name, ps := range c.partitions {
		for i, p := range ps {
			if len(p.watches) != 0 {
				t.Errorf("%s-%d is still watched", name, i)
			}
		}
	}
}

func TestSessionErrors(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	m := c.manager(t, 10)
	expect(t, m.Fetch(t.Context(), request(77, 1)), "FETCH_SESSION_ID_NOT_FOUND")
	id := m.Fetch(t.Context(), request(0, InitialEpoch, all("t", 1, 0)...)).SessionID
	expect(t, m.Fetch(t.Context(), request(id, 2)), "INVALID_FETCH_SESSION_EPOCH")
	byID := request(id, 1)
	byID.ByID = true
	expect(t, m.Fetch(t.Context(), byID), "FETCH_SESSION_TOPIC_ID_ERROR")
	expect(t, m.Fetch(t.Context(), request(id, 1)), "") // it has survived all that

	// Epoch 0 with an id replaces the session, epoch −1 ends it.
	second := m.Fetch(t.Context(), request(id, InitialEpoch, all("t", 1, 0)...)).SessionID
	expect(t, m.Fetch(t.Context(), request(id, 2)), "FETCH_SESSION_ID_NOT_FOUND")
	if got := m.Fetch(t.Context(), request(second, FinalEpoch, all("t", 1, 0)...)); got.SessionID != 0 {
		t.Errorf("final fetch has session %d", got.SessionID)
	}
	if n, _ := m.Count(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestEpochWraps(t *testing.T) {
	if nextEpoch(1<<31-1) != 1 || nextEpoch(1) != 2 {
		t.Error("epochs do not wrap to 1")
	}
}

func TestErrorsAreToldAgain(t *testing.T) {
	c := newCluster(map[string]int{"t": 2})
	m := c.manager(t, 10)
	id := m.Fetch(t.Context(), request(0, InitialEpoch, all("t", 2, 0)...)).SessionID
	p := c.partitions["t"][0]
	p.change(func() { p.err = kerr.NotLeaderForPartition })
	expect(t, m.Fetch(t.Context(), request(id, 1)), "t-0:0!NOT_LEADER_FOR_PARTITION ")
	expect(t, m.Fetch(t.Context(), request(id, 2)), "t-0:0!NOT_LEADER_FOR_PARTITION ")
	p.change(func() { p.err = nil })
	expect(t, m.Fetch(t.Context(), request(id, 3)), "t-0:0 ") // well again: that too is news
	expect(t, m.Fetch(t.Context(), request(id, 4)), "")
	// The partition object is replaced: the old one tells and fails.
	c.partitions["t"][0] = &fakePartition{hw: 3, lso: 3}
	p.change(func() { p.err = kerr.UnknownTopicOrPartition })
	expect(t, m.Fetch(t.Context(), request(id, 5)), "t-0:3 ")
}

func TestTopicIDs(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	c.partitions["t"][0].append(1)
	m := c.manager(t, 10)
	list := all("", 1, 0)
	list[0].ID = topicID("t")
	unknown := all("", 1, 0)
	unknown[0].ID = topicID("later")
	req := request(0, InitialEpoch, append(list, unknown...)...)
	req.ByID = true
	got := m.Fetch(t.Context(), req)
	expect(t, got, "t-0:1 -0:0!UNKNOWN_TOPIC_ID ")
	c.ids[topicID("later")] = "later"
	c.partitions["later"] = []*fakePartition{{hw: 2, lso: 2}}
	req = request(got.SessionID, 1)
	req.ByID = true
	expect(t, m.Fetch(t.Context(), req), "t-0:1 later-0:2 ")
	// The topic is deleted and made anew: its old id is not known any more.
	delete(c.ids, topicID("t"))
	old := c.partitions["t"][0]
	old.change(func() { old.err = kerr.UnknownTopicOrPartition })
	req = request(got.SessionID, 2)
	req.ByID = true
	expect(t, m.Fetch(t.Context(), req), "t-0:0!UNKNOWN_TOPIC_ID later-0:2 ")
}

func TestByteLimits(t *testing.T) {
	c := newCluster(map[string]int{"t": 4})
	for _, p := range c.partitions["t"] {
		p.append(100)
	}
	m := c.manager(t, 10)
	list := all("t", 4, 0)
	for i := range list {
		list[i].MaxBytes = 60
	}
	req := request(0, InitialEpoch, list...)
	req.MaxBytes = 100
	got := m.Fetch(t.Context(), req)
	expect(t, got, "t-0:60 t-1:40 t-2:0 t-3:0 ")
	// Those that got nothing are first now, those that were served are last.
	next := func(epoch int32, max int32) Response {
		req := request(got.SessionID, epoch)
		req.MaxBytes = max
		return m.Fetch(t.Context(), req)
	}
	expect(t, next(1, 100), "t-0:60 t-1:40 ") // the order of the full response
	expect(t, next(2, 100), "t-2:60 t-3:40 ")
	expect(t, next(3, 100), "t-0:60 t-1:40 ")
	// The first record comes although it is larger than both limits.
	expect(t, next(4, 0), "t-2:1 ")
}

func TestReadCommitted(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	p := c.partitions["t"][0]
	p.hw, p.lso = 10, 4
	m := c.manager(t, 10)
	req := request(0, FinalEpoch, all("t", 1, 0)...)
	req.Reader.ReadCommitted = true
	got := m.Fetch(t.Context(), req)
	expect(t, got, "t-0:4 ")
	if got.Results[0].Aborted == nil {
		t.Error("the list of aborted transactions is null")
	}
}

func TestDivergenceIsAnsweredAtOnce(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	c.partitions["t"][0].diverge = true
	req := request(0, InitialEpoch, all("t", 1, 0)...)
	req.MaxWait = time.Hour
	got := c.manager(t, 10).Fetch(t.Context(), req)
	if len(got.Results) != 1 || got.Results[0].DivergingEnd != 7 {
		t.Errorf("%+v", got)
	}
}

// waits runs a fetch in a bubble and returns when it was answered, counted from
// its start.
func waits(m *Manager, ctx context.Context, req *Request) func() (Response, time.Duration) {
	var got Response
	var took time.Duration
	begin := time.Now()
	done := make(chan struct{})
	go func() {
		got = m.Fetch(ctx, req)
		took = time.Since(begin)
		close(done)
	}()
	return func() (Response, time.Duration) { <-done; return got, took }
}

func TestWaiting(t *testing.T) {
	for _, mode := range []string{"sessionless", "session"} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(map[string]int{"t": 5, "other": 1})
				m := c.manager(t, 10)
				epoch := int32(0)
				session := int32(0)
				if mode == "session" {
					req := request(0, InitialEpoch, all("t", 5, 0)...)
					session = m.Fetch(t.Context(), req).SessionID
				}
				next := func() *Request {
					req := request(0, FinalEpoch, all("t", 5, 0)...)
					if mode == "session" {
						epoch++
						req = request(session, epoch)
					}
					req.MaxWait = 500 * time.Millisecond
					return req
				}
				// Nothing happens: the answer comes with the timeout.
				got, took := waits(m, t.Context(), next())()
				if took != 500*time.Millisecond {
					t.Errorf("an empty fetch took %v", took)
				}
				if mode == "session" {
					expect(t, got, "")
				} else {
					expect(t, got, "t-0:0 t-1:0 t-2:0 t-3:0 t-4:0 ")
				}
				// Records end the wait.
				result := waits(m, t.Context(), next())
				time.Sleep(100 * time.Millisecond)
				c.partitions["other"][0].append(1) // not ours
				time.Sleep(100 * time.Millisecond)
				c.partitions["t"][3].append(9)
				got, took = result()
				if took != 200*time.Millisecond || !slices.ContainsFunc(got.Results, func(r Result) bool { return r.Partition == 3 && r.Range.Len == 9 }) {
					t.Errorf("after %v: %s", took, show(got))
				}
				// More bytes are asked for than one append brings.
				c.partitions["t"][3].change(func() { c.partitions["t"][3].hw, c.partitions["t"][3].lso = 0, 0 })
				req := next()
				req.MinBytes = 10
				result = waits(m, t.Context(), req)
				for i := range 4 {
					time.Sleep(50 * time.Millisecond)
					c.partitions["t"][i].append(3)
				}
				got, took = result()
				sum := 0
				for _, r := range got.Results {
					sum += r.Range.Len
				}
				if took != 200*time.Millisecond || sum != 12 {
					t.Errorf("after %v %d bytes: %s", took, sum, show(got))
				}
				for i := range 4 {
					c.partitions["t"][i].change(func() { c.partitions["t"][i].hw, c.partitions["t"][i].lso = 0, 0 })
				}
				// Too little by the end is still told.
				req = next()
				req.MinBytes = 10
				result = waits(m, t.Context(), req)
				time.Sleep(time.Millisecond)
				c.partitions["t"][0].append(3)
				got, took = result()
				if took != 500*time.Millisecond || !slices.ContainsFunc(got.Results, func(r Result) bool { return r.Partition == 0 && r.Range.Len == 3 }) {
					t.Errorf("after %v: %s", took, show(got))
				}
				c.partitions["t"][0].change(func() { c.partitions["t"][0].hw, c.partitions["t"][0].lso = 0, 0 })
				// An error is told at once.
				result = waits(m, t.Context(), next())
				time.Sleep(time.Millisecond)
				c.partitions["t"][2].change(func() { c.partitions["t"][2].err = kerr.KafkaStorageError })
				if got, took = result(); took != time.Millisecond {
					t.Errorf("an error was told after %v: %s", took, show(got))
				}
				c.partitions["t"][2].change(func() { c.partitions["t"][2].err = nil })
				// The broker drains.
				m.Fetch(t.Context(), nextNow(next))
				draining := make(chan struct{})
				req = next()
				req.Draining = draining
				result = waits(m, t.Context(), req)
				time.Sleep(time.Millisecond)
				close(draining)
				if _, took = result(); took != time.Millisecond {
					t.Errorf("a drained fetch took %v", took)
				}
				// The client goes away.
				ctx, cancel := context.WithCancel(t.Context())
				result = waits(m, ctx, next())
				time.Sleep(time.Millisecond)
				cancel()
				if got, took = result(); took != time.Millisecond || len(got.Results) != 0 {
					t.Errorf("after %v: %s", took, show(got))
				}
			})
		})
	}
}

func nextNow(next func() *Request) *Request {
	r := next()
	r.MaxWait = 0
	return r
}

// Records that come between the look and the wait must not be missed: appends
// race with a fetch that waits, many times.
func TestNoLostWakeups(t *testing.T) {
	c := newCluster(map[string]int{"t": 3})
	m := c.manager(t, 10)
	id := m.Fetch(t.Context(), request(0, InitialEpoch, all("t", 3, 0)...)).SessionID
	go func() {
		for i := range 3000 {
			c.partitions["t"][i%3].append(1)
		}
	}()
	offsets := [3]int64{}
	var moved []PartitionRequest
	for epoch := int32(1); offsets[0]+offsets[1]+offsets[2] < 3000; epoch++ {
		req := request(id, epoch, moved...)
		req.MaxWait = time.Minute
		got := m.Fetch(t.Context(), req)
		moved = moved[:0]
		for _, r := range got.Results {
			offsets[r.Partition] += int64(r.Range.Len)
			moved = append(moved, all("t", 3, offsets[r.Partition])[r.Partition])
		}
	}
}

// Records that come after the look and before the watch.
func TestMovedBeforeTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, epoch := range []int32{InitialEpoch, FinalEpoch} {
			c := newCluster(map[string]int{"t": 1})
			p := c.partitions["t"][0]
			p.onWatch = func() { p.append(2) }
			req := request(0, epoch, all("t", 1, 0)...)
			req.MaxWait = time.Hour
			got, took := waits(c.manager(t, 10), t.Context(), req)()
			expect(t, got, "t-0:2 ")
			if took != 0 {
				t.Errorf("epoch %d: answered after %v", epoch, took)
			}
		}
	})
}

// What an idle session costs does not depend on its size.
func TestWorkIsProportionalToChange(t *testing.T) {
	const n = 10000
	c := newCluster(map[string]int{"t": n})
	m := c.manager(t, 10)
	id := m.Fetch(t.Context(), request(0, InitialEpoch, all("t", n, 0)...)).SessionID
	reads := func() (sum int) {
		for _, p := range c.partitions["t"] {
			sum += p.reads
		}
		return sum
	}
	before := reads()
	m.Fetch(t.Context(), request(id, 1))
	if d := reads() - before; d != 0 {
		t.Errorf("an idle fetch read %d partitions", d)
	}
	for i := range 10 {
		c.partitions["t"][i*997].append(1)
	}
	before = reads()
	got := m.Fetch(t.Context(), request(id, 2))
	if d := reads() - before; len(got.Results) != 10 || d != 10 {
		t.Errorf("10 changes: %d results, %d reads", len(got.Results), d)
	}
}

// The session of a consumer that has gone away is told once and then left alone.
func TestSilentSessionIsNotTold(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	m := c.manager(t, 10)
	id := m.Fetch(t.Context(), request(0, InitialEpoch, all("t", 1, 0)...)).SessionID
	p := c.partitions["t"][0]
	for range 3 {
		p.append(1)
	}
	if len(p.watches) != 0 {
		t.Error("an append still tells a session that has not fetched the one before")
	}
	expect(t, m.Fetch(t.Context(), request(id, 1)), "t-0:3 ")
	expect(t, m.Fetch(t.Context(), request(id, 2, all("t", 1, 3)...)), "")
	if len(p.watches) != 1 {
		t.Error("the session is back and does not watch")
	}
	p.append(2)
	expect(t, m.Fetch(t.Context(), request(id, 3)), "t-0:2 ")
}
