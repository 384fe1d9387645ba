package fetch

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// fetch answers a request, and waits for it if it has to.
func fetch(m *Manager, ctx context.Context, req *Request) Response {
	return fetchUntil(m, ctx, req, nil)
}

// fetchUntil ends the wait early.
func fetchUntil(m *Manager, ctx context.Context, req *Request, end <-chan struct{}) Response {
	got, wait := m.Fetch(ctx, req)
	if wait == nil {
		return got
	}
	answered := make(chan Response, 1)
	wait.Begin(func(r Response) { answered <- r }, nil)
	select {
	case got = <-answered:
		return got
	case <-end:
		wait.End(false)
	case <-ctx.Done():
		wait.End(true)
	}
	return <-answered
}

// waits runs a fetch in a bubble and returns when it was answered, counted from
// its start.
func waits(m *Manager, ctx context.Context, req *Request) func() (Response, time.Duration) {
	return waitsUntil(m, ctx, req, nil)
}

func waitsUntil(m *Manager, ctx context.Context, req *Request, end <-chan struct{}) func() (Response, time.Duration) {
	var got Response
	var took time.Duration
	begin := time.Now()
	done := make(chan struct{})
	go func() {
		got = fetchUntil(m, ctx, req, end)
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
					session = fetch(m, t.Context(), req).SessionID
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
				fetch(m, t.Context(), nextNow(next))
				draining := make(chan struct{})
				result = waitsUntil(m, t.Context(), next(), draining)
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
	id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 3, 0)...)).SessionID
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
		got := fetch(m, t.Context(), req)
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
	id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", n, 0)...)).SessionID
	reads := func() (sum int) {
		for _, p := range c.partitions["t"] {
			sum += p.reads
		}
		return sum
	}
	before := reads()
	fetch(m, t.Context(), request(id, 1))
	if d := reads() - before; d != 0 {
		t.Errorf("an idle fetch read %d partitions", d)
	}
	for i := range 10 {
		c.partitions["t"][i*997].append(1)
	}
	before = reads()
	got := fetch(m, t.Context(), request(id, 2))
	if d := reads() - before; len(got.Results) != 10 || d != 10 {
		t.Errorf("10 changes: %d results, %d reads", len(got.Results), d)
	}
}

// The session of a consumer that has gone away is told once and then left alone.
func TestSilentSessionIsNotTold(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	m := c.manager(t, 10)
	id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 1, 0)...)).SessionID
	p := c.partitions["t"][0]
	for range 3 {
		p.append(1)
	}
	if len(p.watches) != 0 {
		t.Error("an append still tells a session that has not fetched the one before")
	}
	expect(t, fetch(m, t.Context(), request(id, 1)), "t-0:3 ")
	expect(t, fetch(m, t.Context(), request(id, 2, all("t", 1, 3)...)), "")
	if len(p.watches) != 1 {
		t.Error("the session is back and does not watch")
	}
	p.append(2)
	expect(t, fetch(m, t.Context(), request(id, 3)), "t-0:2 ")
}

// Less than MinBytes is there when the wait begins: what comes to it ends the
// wait, also when it comes in several appends between two looks.
func TestRecordsToThoseAlreadyThere(t *testing.T) {
	for _, epoch := range []int32{InitialEpoch, FinalEpoch} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(map[string]int{"t": 1})
			p := c.partitions["t"][0]
			p.append(3)
			req := request(0, epoch, all("t", 1, 0)...)
			req.MaxWait, req.MinBytes = time.Hour, 12 // with the last of them
			result := waits(c.manager(t, 10), t.Context(), req)
			for _, n := range []int64{1, 1, 1} { // with or without a look in between
				synctest.Wait()
				time.Sleep(time.Millisecond)
				p.append(n)
				p.append(1)
				p.append(1)
			}
			got, took := result()
			expect(t, got, "t-0:12 ")
			if took != 3*time.Millisecond {
				t.Errorf("epoch %d: answered after %v", epoch, took)
			}
		})
	}
}

// What is there does not fit behind what was taken already, and is less than
// MinBytes without it: no wait would bring more into this response.
func TestDoesNotWaitForWhatDoesNotFit(t *testing.T) {
	for _, epoch := range []int32{InitialEpoch, FinalEpoch} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(map[string]int{"t": 2})
			c.partitions["t"][0].append(3)
			c.partitions["t"][1].batch = 50
			c.partitions["t"][1].append(50)
			req := request(0, epoch, all("t", 2, 0)...)
			req.MaxWait, req.MinBytes, req.MaxBytes = time.Hour, 10, 20
			got, took := waits(c.manager(t, 10), t.Context(), req)()
			expect(t, got, "t-0:3 t-1:0 ")
			if took != 0 {
				t.Errorf("epoch %d: answered after %v", epoch, took)
			}
		})
	}
}

// Before Fetch 3 not even the first batch may be larger than was asked for, and
// that it does not fit is an answer.
func TestHardLimits(t *testing.T) {
	for _, hard := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(map[string]int{"t": 1})
			c.partitions["t"][0].batch = 50
			c.partitions["t"][0].append(50)
			req := request(0, FinalEpoch, all("t", 1, 0)...)
			req.MaxWait, req.MinBytes, req.MaxBytes, req.HardLimits = time.Hour, 1, 20, hard
			got, took := waits(c.manager(t, 10), t.Context(), req)()
			expect(t, got, map[bool]string{false: "t-0:50 ", true: "t-0:0 "}[hard])
			if took != 0 {
				t.Errorf("hard=%v: answered after %v", hard, took)
			}
		})
	}
}

// An append that found the watch just before it ended tells the set while it
// watches anew: in the end there is one watch, and then none.
func TestToldWhileTheWatchBegins(t *testing.T) {
	p := &fakePartition{watches: map[watch]int{}}
	s := newSet(false, 1)
	s.put(&all("t", 1, 0)[0])
	s.entries[0].partition = p
	s.take(nil)
	p.onWatch = func() {
		s.Moved(0, true)
		s.Moved(0, true)
	}
	s.arm(0)
	s.arm(0)
	if n := p.watches[watch{s, 0}]; n != 1 {
		t.Errorf("%d watches", n)
	}
	s.close()
	if len(p.watches) != 0 {
		t.Errorf("%d watches of a set that is closed", len(p.watches))
	}
}

// TestNotedMovesWait: what a fetch does not wait for does not end it, is told with its
// response all the same, and does not keep it from hearing of what it waits for.
func TestNotedMovesWait(t *testing.T) {
	s := newSet(false, 1)
	s.put(&all("t", 1, 0)[0])
	p := &fakePartition{}
	s.entries[0].partition = p
	s.take(nil)
	s.arm(0)
	s.Moved(0, false)
	s.Moved(0, false)
	if s.news || len(p.watches) != 1 {
		t.Errorf("noted: news %v, %d watches", s.news, len(p.watches))
	}
	s.Moved(0, true)
	if !s.news || len(p.watches) != 1 {
		t.Errorf("awaited: news %v, %d watches", s.news, len(p.watches))
	}
	if queue := s.take(nil); len(queue) != 1 {
		t.Errorf("queue %v", queue)
	}
	s.Moved(0, false)
	if queue := s.take(nil); len(queue) != 1 || s.news {
		t.Errorf("noted after the awaited: queue %v, news %v", queue, s.news)
	}
}

// Who moves a partition answers the fetch that waits for it.
func TestAnsweredByWhoMoves(t *testing.T) {
	for _, epoch := range []int32{InitialEpoch, FinalEpoch} {
		c := newCluster(map[string]int{"t": 3})
		req := request(0, epoch, all("t", 3, 0)...)
		req.MaxWait, req.MinBytes = time.Hour, 4
		_, wait := c.manager(t, 10).Fetch(t.Context(), req)
		answered := 0
		var got Response
		wait.Begin(func(r Response) { answered++; got = r }, nil)
		c.partitions["t"][1].append(3)
		if answered != 0 {
			t.Fatalf("answered with too little: %s", show(got))
		}
		c.partitions["t"][2].append(1)
		if expect(t, got, "t-0:0 t-1:3 t-2:1 "); answered != 1 {
			t.Errorf("answered %d times", answered)
		}
		wait.End(false)
		c.partitions["t"][2].append(1)
		if answered != 1 {
			t.Errorf("answered %d times", answered)
		}
	}
}

// Where much is to be looked at, who moves a partition only has it done.
func TestMoverIsNotHeldUp(t *testing.T) {
	const n = fewPartitions + 1
	c := newCluster(map[string]int{"t": n})
	req := request(0, FinalEpoch, all("t", n, 0)...)
	req.MaxWait = time.Hour
	_, wait := c.manager(t, 10).Fetch(t.Context(), req)
	gate, answered := make(chan struct{}), make(chan Response)
	wait.Begin(func(r Response) { <-gate; answered <- r }, nil)
	c.partitions["t"][1].append(3)
	close(gate)
	if got := <-answered; len(got.Results) != n || got.Results[1].Range.Len != 3 {
		t.Errorf("answered: %s", show(got))
	}
}

func TestEndOfWait(t *testing.T) {
	for _, gone := range []bool{false, true} {
		for _, early := range []bool{false, true} {
			c := newCluster(map[string]int{"t": 1})
			m := c.manager(t, 10)
			id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 1, 0)...)).SessionID
			c.partitions["t"][0].append(2)
			req := request(id, 1)
			req.MaxWait, req.MinBytes = time.Hour, 100
			_, wait := m.Fetch(t.Context(), req)
			var answers []Response
			answer := func(r Response) { answers = append(answers, r) }
			if early {
				wait.End(gone)
				wait.Begin(answer, nil)
			} else {
				wait.Begin(answer, nil)
				wait.End(gone)
			}
			wait.End(gone)
			if len(answers) != 1 {
				t.Fatalf("%d answers", len(answers))
			}
			// Who is gone has read nothing: it is still to be told.
			want, next := "t-0:2 ", ""
			if gone {
				want, next = "", want
			}
			expect(t, answers[0], want)
			if !gone {
				next = "t-0:2 " // the client has not said that it has it
			}
			expect(t, fetch(m, t.Context(), request(id, 2)), next)
		}
	}
}

// What brings the answer at the same time brings one.
func TestOneAnswer(t *testing.T) {
	c := newCluster(map[string]int{"t": 2})
	m := c.manager(t, 10)
	id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 2, 0)...)).SessionID
	for epoch := int32(1); epoch < 3000; epoch++ {
		end := [2]int64{c.partitions["t"][0].hw, c.partitions["t"][1].hw}
		req := request(id, epoch, append(all("t", 1, end[0]), all("t", 2, end[1])[1])...)
		req.MaxWait, req.MinBytes = 20*time.Microsecond, 2
		_, wait := m.Fetch(t.Context(), req)
		if wait == nil {
			t.Fatalf("epoch %d: nothing to wait for?", epoch)
		}
		var all sync.WaitGroup
		all.Add(1)
		answers := atomic.Int32{}
		for i := range 2 {
			all.Go(func() { c.partitions["t"][i].append(1) })
		}
		all.Go(func() { wait.End(epoch%2 == 0) })
		wait.Begin(func(Response) { answers.Add(1); all.Done() }, nil)
		all.Wait()
		if n := answers.Load(); n != 1 {
			t.Fatalf("%d answers", n)
		}
	}
}
