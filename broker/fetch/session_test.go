package fetch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestSessionlessNamesAll(t *testing.T) {
	c := newCluster(map[string]int{"t": 3})
	c.partitions["t"][1].append(5)
	m := c.manager(t, 10)
	for range 2 {
		got := fetch(m, t.Context(), request(0, FinalEpoch, append(all("t", 3, 0), all("no", 1, 0)...)...))
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
	got := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 4, 0)...))
	id := got.SessionID
	if id <= 0 {
		t.Fatalf("session id %d", id)
	}
	expect(t, got, "t-0:0 t-1:5 t-2:0 t-3:0 ")

	// The client has not moved: the records are sent again.
	expect(t, fetch(m, t.Context(), request(id, 1)), "t-1:5 ")
	// It moves to the end: nothing changed since.
	at5 := all("t", 2, 5)[1:]
	req := request(id, 2, at5...)
	expect(t, fetch(m, t.Context(), req), "")
	expect(t, fetch(m, t.Context(), request(id, 3)), "")
	// Data elsewhere, and a high watermark that moved without bytes for us.
	c.partitions["t"][3].append(2)
	c.partitions["t"][2].change(func() { c.partitions["t"][2].logStart = 1 })
	expect(t, fetch(m, t.Context(), request(id, 4)), "t-3:2 t-2:0 ")
	// Forgotten ones are gone, new ones come in.
	c.partitions["new"] = []*fakePartition{{hw: 1, lso: 1}}
	req = request(id, 5, all("new", 1, 0)...)
	req.Forgotten = []Key{{Topic: "t", Partition: 3}, {Topic: "never", Partition: 9}}
	expect(t, fetch(m, t.Context(), req), "new-0:1 ")
	c.partitions["t"][3].append(1)
	expect(t, fetch(m, t.Context(), request(id, 6)), "new-0:1 ")
	// Letting go of everything ends the session.
	req = request(id, 7)
	for i := range 3 {
		req.Forgotten = append(req.Forgotten, Key{Topic: "t", Partition: int32(i)})
	}
	req.Forgotten = append(req.Forgotten, Key{Topic: "new"})
	got = fetch(m, t.Context(), req)
	if got.SessionID != 0 || len(got.Results) != 0 {
		t.Errorf("%+v", got)
	}
	expect(t, fetch(m, t.Context(), request(id, 8)), "FETCH_SESSION_ID_NOT_FOUND")
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
	expect(t, fetch(m, t.Context(), request(77, 1)), "FETCH_SESSION_ID_NOT_FOUND")
	id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 1, 0)...)).SessionID
	expect(t, fetch(m, t.Context(), request(id, 2)), "INVALID_FETCH_SESSION_EPOCH")
	byID := request(id, 1)
	byID.ByID = true
	expect(t, fetch(m, t.Context(), byID), "FETCH_SESSION_TOPIC_ID_ERROR")
	expect(t, fetch(m, t.Context(), request(id, 1)), "") // it has survived all that

	// Epoch 0 with an id replaces the session, epoch −1 ends it.
	second := fetch(m, t.Context(), request(id, InitialEpoch, all("t", 1, 0)...)).SessionID
	expect(t, fetch(m, t.Context(), request(id, 2)), "FETCH_SESSION_ID_NOT_FOUND")
	if got := fetch(m, t.Context(), request(second, FinalEpoch, all("t", 1, 0)...)); got.SessionID != 0 {
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
	id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 2, 0)...)).SessionID
	p := c.partitions["t"][0]
	p.change(func() { p.err = kerr.NotLeaderForPartition })
	expect(t, fetch(m, t.Context(), request(id, 1)), "t-0:0!NOT_LEADER_FOR_PARTITION ")
	expect(t, fetch(m, t.Context(), request(id, 2)), "t-0:0!NOT_LEADER_FOR_PARTITION ")
	p.change(func() { p.err = nil })
	expect(t, fetch(m, t.Context(), request(id, 3)), "t-0:0 ") // well again: that too is news
	expect(t, fetch(m, t.Context(), request(id, 4)), "")
	// The partition object is replaced: the old one tells and fails.
	c.partitions["t"][0] = &fakePartition{hw: 3, lso: 3}
	p.change(func() { p.err = kerr.UnknownTopicOrPartition })
	expect(t, fetch(m, t.Context(), request(id, 5)), "t-0:3 ")
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
	got := fetch(m, t.Context(), req)
	expect(t, got, "t-0:1 -0:0!UNKNOWN_TOPIC_ID ")
	c.ids[topicID("later")] = "later"
	c.partitions["later"] = []*fakePartition{{hw: 2, lso: 2}}
	req = request(got.SessionID, 1)
	req.ByID = true
	expect(t, fetch(m, t.Context(), req), "t-0:1 later-0:2 ")
	// The topic is deleted and made anew: its old id is not known any more.
	delete(c.ids, topicID("t"))
	old := c.partitions["t"][0]
	old.change(func() { old.err = kerr.UnknownTopicOrPartition })
	req = request(got.SessionID, 2)
	req.ByID = true
	expect(t, fetch(m, t.Context(), req), "t-0:0!UNKNOWN_TOPIC_ID later-0:2 ")
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
	got := fetch(m, t.Context(), req)
	expect(t, got, "t-0:60 t-1:40 t-2:0 t-3:0 ")
	// Those that got nothing are first now, those that were served are last.
	next := func(epoch int32, max int32) Response {
		req := request(got.SessionID, epoch)
		req.MaxBytes = max
		return fetch(m, t.Context(), req)
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
	got := fetch(m, t.Context(), req)
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
	got := fetch(c.manager(t, 10), t.Context(), req)
	if len(got.Results) != 1 || got.Results[0].DivergingEnd != 7 {
		t.Errorf("%+v", got)
	}
}

// A reader that has no right to be a follower learns nothing, at once, with and
// without a session, and takes no slot from those who have.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(map[string]int{"t": 2})
		c.partitions["t"][0].append(3)
		m := c.manager(t, 1)
		refused := func(session, epoch int32, list ...PartitionRequest) Response {
			req := request(session, epoch, list...)
			req.Reader.ReplicaID, req.Refuse = 2, kerr.TopicAuthorizationFailed
			req.MaxWait = time.Hour
			return fetch(m, t.Context(), req)
		}
		const both = "t-0:0!TOPIC_AUTHORIZATION_FAILED t-1:0!TOPIC_AUTHORIZATION_FAILED "
		begin := time.Now()
		expect(t, refused(0, FinalEpoch, all("t", 2, 0)...), both)
		got := refused(0, InitialEpoch, all("t", 2, 0)...)
		expect(t, got, both)
		id := got.SessionID
		expect(t, refused(id, 1), both)
		if reads := c.partitions["t"][0].reads; reads != 0 || c.lookups != 0 || time.Since(begin) != 0 {
			t.Errorf("%d reads, %d lookups, after %v", reads, c.lookups, time.Since(begin))
		}
		for _, r := range got.Results {
			if r.HighWatermark != -1 || r.LogStart != -1 || r.LastStable != -1 {
				t.Errorf("%+v", r)
			}
		}
		// The same session in better hands, and in worse ones again.
		expect(t, fetch(m, t.Context(), request(id, 2)), "t-0:3 t-1:0 ")
		expect(t, refused(id, 3), both)
		expect(t, fetch(m, t.Context(), request(id, 4)), "t-0:3 t-1:0 ")
		// A follower's session would not have given way.
		time.Sleep(time.Minute)
		follower := request(0, InitialEpoch, all("t", 2, 0)...)
		follower.Reader.ReplicaID = 3
		if fetch(m, t.Context(), follower).SessionID == 0 {
			t.Error("no room for a follower")
		}
	})
}

// Where a follower is, it says with a request; looking again while the request
// waits, or in the next one that does not name the partition, is no news. What
// could not be read is news until it can.
func TestNewsIsToldOnce(t *testing.T) {
	c := newCluster(map[string]int{"t": 1})
	m := c.manager(t, 10)
	p := c.partitions["t"][0]
	expectNews := func(what string, want int) {
		t.Helper()
		if p.news != want {
			t.Errorf("%s: %d times, want %d", what, p.news, want)
		}
		p.news = 0
	}
	id := fetch(m, t.Context(), request(0, InitialEpoch, all("t", 1, 0)...)).SessionID
	expectNews("first request", 1)
	p.append(3)
	fetch(m, t.Context(), request(id, 1))
	expectNews("a request that does not name it", 0)
	fetch(m, t.Context(), request(id, 2, all("t", 1, 3)...))
	expectNews("a request that names it", 1)
	p.err = kerr.UnknownLeaderEpoch
	fetch(m, t.Context(), request(id, 3, all("t", 1, 3)...))
	p.err, p.news = nil, 0
	fetch(m, t.Context(), request(id, 4))
	expectNews("after an error", 1)
}
