package fetch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]int{"t": 10})
		m := c.manager(t, 2)
		open := func(partitions int, follower bool) int32 {
			req := request(0, InitialEpoch, all("t", partitions, 0)...)
			if follower {
				req.Reader.ReplicaID = 2
			}
			return fetch(m, t.Context(), req).SessionID
		}
		alive := func(id, epoch int32) bool { return fetch(m, t.Context(), request(id, epoch)).Err == nil }

		small, large := open(1, false), open(5, false)
		if small == 0 || large == 0 {
			t.Fatal("no session although there is room")
		}
		if id := open(10, false); id != 0 {
			t.Error("a consumer has evicted a young session")
		}
		follower := open(1, true)
		if follower == 0 {
			t.Fatal("a follower has not evicted a young consumer")
		}
		if alive(small, 1) || !alive(large, 1) {
			t.Error("not the smallest consumer had to go")
		}
		// Old enough and in use: now a larger consumer may take the place, a smaller
		// one or one of the same size may not, and the follower is safe.
		time.Sleep(evictAfter + time.Second)
		if !alive(large, 2) || !alive(follower, 1) {
			t.Fatal("a session is gone without need")
		}
		if open(4, false) != 0 || open(5, false) != 0 {
			t.Error("a session of the same size or less took a place")
		}
		third := open(6, false)
		if third == 0 || alive(large, 3) || !alive(follower, 2) {
			t.Error("the larger consumer did not get the smaller one's place")
		}
		// Idle for long: anybody gets the place.
		time.Sleep(evictAfter + time.Second)
		if !alive(follower, 3) {
			t.Fatal("the follower is gone")
		}
		if open(1, false) == 0 || alive(third, 1) {
			t.Error("the idle session was not evicted")
		}
	})
}

// A session ends with the connection that it was used on last, and its watches with it.
func TestSessionEndsWithConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]int{"t": 3})
		m := c.manager(t, 10)
		first, endFirst := context.WithCancel(t.Context())
		second, endSecond := context.WithCancel(t.Context())
		moved := fetch(m, first, request(0, InitialEpoch, all("t", 2, 0)...)).SessionID
		stayed := fetch(m, first, request(0, InitialEpoch, all("t", 3, 0)...)).SessionID
		expect(t, fetch(m, second, request(moved, 1)), "")
		if sessions, partitions := m.Count(); sessions != 2 || partitions != 5 {
			t.Fatalf("%d sessions of %d partitions", sessions, partitions)
		}
		endFirst()
		synctest.Wait()
		if sessions, partitions := m.Count(); sessions != 1 || partitions != 2 {
			t.Errorf("%d sessions of %d partitions when one connection has ended", sessions, partitions)
		}
		expect(t, fetch(m, second, request(stayed, 1)), "FETCH_SESSION_ID_NOT_FOUND")
		expect(t, fetch(m, second, request(moved, 2)), "")

		// One that ends while a request waits in it.
		req := request(moved, 3)
		req.MaxWait = time.Minute
		result := waits(m, second, req)
		synctest.Wait()
		endSecond()
		if _, took := result(); took != 0 {
			t.Errorf("answered after %v", took)
		}
		synctest.Wait()
		if sessions, partitions := m.Count(); sessions != 0 || partitions != 0 || m.partitions != 0 {
			t.Errorf("%d sessions of %d partitions are left", sessions, partitions)
		}
		for i, p := range c.partitions["t"] {
			if len(p.watches) != 0 {
				t.Errorf("partition %d is still watched", i)
			}
		}
	})
}

// A session that is dropped while a request waits in it: the request is answered
// and the session's watches end.
func TestDropWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]int{"t": 2})
		m := c.manager(t, 10)
		id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 2, 0)...)).SessionID
		req := request(id, 1)
		req.MaxWait = time.Second
		result := waits(m, t.Context(), req)
		synctest.Wait()
		expect(t, fetch(m, t.Context(), request(id, 2)), "INVALID_FETCH_SESSION_EPOCH") // one request at a time
		expect(t, fetch(m, t.Context(), request(id, FinalEpoch, all("t", 1, 0)...)), "t-0:0 ")
		if _, took := result(); took != time.Second {
			t.Errorf("answered after %v", took)
		}
		for i, p := range c.partitions["t"] {
			if len(p.watches) != 0 {
				t.Errorf("partition %d is still watched", i)
			}
		}
		if n, _ := m.Count(); n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestNoSlots(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	m := c.manager(t, 0)
	if got := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 1, 0)...)); got.SessionID != 0 || len(got.Results) != 1 {
		t.Errorf("%+v", got)
	}
	if _, err := New(-1, c.lookup); err == nil {
		t.Error("a negative number of slots was accepted")
	}
}

func BenchmarkFetchSession10k(b *testing.B) {
	for _, changed := range []int{0, 10} {
		b.Run(map[int]string{0: "0changed", 10: "10changed"}[changed], func(b *testing.B) {
			const n = 10000
			c := newCluster(map[string]int{"t": n})
			m := c.manager(b, 10)
			id := fetch(m, b.Context(), request(0, InitialEpoch, all("t", n, 0)...)).SessionID
			var moved []PartitionRequest
			b.ReportAllocs()
			epoch := int32(1)
			for b.Loop() {
				for i := range changed {
					c.partitions["t"][i*997].append(1)
				}
				got := fetch(m, b.Context(), request(id, epoch, moved...))
				moved = moved[:0]
				for _, r := range got.Results {
					moved = append(moved, PartitionRequest{r.Key, Want{Offset: r.HighWatermark, MaxBytes: 1 << 20}})
				}
				epoch++
			}
		})
	}
}

// However many partitions clients name, those that exist not at all included, the
// sessions keep no more than so many.
func TestPartitionsOfAllSessionsAreBounded(t *testing.T) {
	m := newCluster(nil).manager(t, 10)
	const half = 501
	m.most = 1000
	first := fetch(m, t.Context(), request(0, InitialEpoch, all("a", half, 0)...)).SessionID
	if first == 0 {
		t.Fatal("no session although there is room")
	}
	if id := fetch(m, t.Context(), request(0, InitialEpoch, all("b", half, 0)...)).SessionID; id != 0 {
		t.Error("a session although its partitions are too many with those of the other")
	}
	small := fetch(m, t.Context(), request(0, InitialEpoch, all("b", 1, 0)...)).SessionID
	if small == 0 {
		t.Error("no session although there is room")
	}
	// Nor does one grow beyond.
	expect(t, fetch(m, t.Context(), request(small, 1, all("b", half, 0)...)), "FETCH_SESSION_ID_NOT_FOUND")
	// What a session has let go of is free again.
	fetch(m, t.Context(), request(first, FinalEpoch))
	if id := fetch(m, t.Context(), request(0, InitialEpoch, all("b", half, 0)...)).SessionID; id == 0 {
		t.Error("no session although there is room again")
	}
	if _, n := m.Count(); n != half || m.partitions != half {
		t.Errorf("%d partitions are counted, of %d", m.partitions, n)
	}
}
