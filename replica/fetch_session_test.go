package replica

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
)

// sessionOf is a session, and partitions of two topics to put into it.
func sessionOf(t *testing.T) (s fetchSession, copies []*copied) {
	w := newWorld(t)
	for i := range int32(4) {
		tp, id := protocol.TopicPartition{Topic: "t", Partition: i}, tID
		if i == 3 {
			tp.Topic = "u"
			id[0] = 9
		}
		w.apply(RoleChange{Partition: tp, TopicID: id, Leader: 2, Replicas: []int32{self, 2}, ISR: []int32{self, 2}, IsNew: true})
		p, err := w.replicas.Partition(tp)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, &copied{p: p, role: p.role.Load(), id: id, target: fetchTarget{topicKey{id: id}, i}})
	}
	return newFetchSession(), copies
}

// named lists what the next request names, and what it forgets.
func named(s *fetchSession) (named, forgotten []string) {
	req := s.request(self, 70, &config.Replication{})
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			named = append(named, protocol.TopicPartition{Topic: t.Topic, Partition: p.Partition}.String())
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			forgotten = append(forgotten, map[bool]string{true: "t", false: "u"}[t.TopicID == tID]+"-"+string('0'+rune(p)))
		}
	}
	slices.Sort(named)
	slices.Sort(forgotten)
	return named, forgotten
}

func expectNamed(t *testing.T, s *fetchSession, what string, wantNamed, wantForgotten []string) {
	t.Helper()
	got, forgotten := named(s)
	if !slices.Equal(got, wantNamed) || !slices.Equal(forgotten, wantForgotten) {
		t.Errorf("%s: names %v, forgets %v; want %v, %v", what, got, forgotten, wantNamed, wantForgotten)
	}
}

// A request names what the leader does not know yet, and nothing else.
func TestSessionNamesWhatIsNew(t *testing.T) {
	s, c := sessionOf(t)
	if !s.empty() {
		t.Error("a new session is not empty")
	}
	for _, c := range c {
		s.want(c)
		s.want(c)
	}
	expectNamed(t, &s, "first", []string{"t-0", "t-1", "t-2", "u-3"}, nil)
	s.answered(77)
	expectNamed(t, &s, "idle", nil, nil)
	s.answered(77)
	if s.empty() {
		t.Error("a session with four partitions is empty")
	}
	s.want(c[1])
	s.forget(c[2])
	s.forget(c[3])
	expectNamed(t, &s, "changed", []string{"t-1"}, []string{"t-2", "u-3"})
	s.answered(77)

	// Taken out and put back in between two requests.
	s.forget(c[0])
	s.want(c[0])
	expectNamed(t, &s, "back", []string{"t-0"}, nil)
	s.answered(77)
	s.want(c[2])
	s.forget(c[2])
	expectNamed(t, &s, "wanted and not", nil, nil)
	s.forget(c[0])
	s.forget(c[1])
	if !s.empty() {
		t.Error("a session without partitions is not empty")
	}
}

func TestSessionEpochs(t *testing.T) {
	s, c := sessionOf(t)
	s.want(c[0])
	expect := func(what string, id, epoch int32) {
		t.Helper()
		if req := s.request(self, 70, &config.Replication{}); req.SessionID != id || req.SessionEpoch != epoch {
			t.Errorf("%s: session %d, epoch %d; want %d, %d", what, req.SessionID, req.SessionEpoch, id, epoch)
		}
	}
	expect("first", 0, 0)
	s.answered(0) // the leader has no room
	s.reset(slices.Values(c))
	expect("again", 0, 0)
	s.answered(77)
	expect("second", 77, 1)
	s.answered(77)
	expect("third", 77, 2)
	s.epoch = math.MaxInt32
	s.answered(77)
	expect("after the last", 77, 1)
	s.reset(maps.Values(map[int]*copied{0: c[0], 1: c[1]}))
	expect("anew", 77, 0)
	s.answered(78)
	expect("the new one", 78, 1)
	if s.size != 2 {
		t.Errorf("%d partitions", s.size)
	}
}

// The request says where the follower stands, and who it is.
func TestSessionRequest(t *testing.T) {
	s, c := sessionOf(t)
	if err := c[0].p.applyFetched(c[0].role, 0, fetchedData{records: copiedBatch(t, 0, 0, 3), highWatermark: 3, logStart: 1}); err != nil {
		t.Fatal(err)
	}
	s.want(c[0])
	req := s.request(self, 70, &config.Replication{FetchMaxBytes: 5, FetchMinBytes: 6, ResponseMaxBytes: 7, FetchWait: 8e6})
	p := req.Topics[0].Partitions[0]
	if p.FetchOffset != 3 || p.LogStartOffset != 1 || p.CurrentLeaderEpoch != 0 || p.LastFetchedEpoch != 0 || p.PartitionMaxBytes != 5 {
		t.Errorf("partition %+v", p)
	}
	if req.Version != 17 || req.ReplicaState.ID != self || req.ReplicaState.Epoch != 70 || req.MinBytes != 6 || req.MaxBytes != 7 || req.MaxWaitMillis != 8 {
		t.Errorf("request %+v", req)
	}
	s.byName = true
	s.want(c[0])
	if req := s.request(self, 70, &config.Replication{}); req.Version != 12 || req.ReplicaID != self || req.Topics[0].Topic != "t" {
		t.Errorf("by name: %+v", req)
	}
}
