package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

const (
	walkLongestRebalance = 30 * time.Second
	walkPartitions       = 6
)

// TestWalk has clients of all kinds do what they may do, in any order, while time
// passes, writes end early, late or never well, and the coordinator moves. After each
// step it is checked that
//
//   - a request is answered once, and no later than the longest rebalance timeout and
//     five seconds;
//   - in a generation one member is told that it leads, and no partition is given to
//     two;
//   - the generation does not go back as long as a coordinator lives;
//   - an offset that was acknowledged is there, or a later one;
//   - the state machine's own bookkeeping is right.
func TestWalk(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 30
	}
	seeds /= uint64(race.Every(t))
	for seed := range seeds {
		w := newWalk(t, seed)
		for range 400 {
			w.step()
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, strings.Join(w.story[max(0, len(w.story)-40):], "\n"))
			}
		}
		w.settleDown()
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.story[max(0, len(w.story)-40):], "\n"))
		}
	}
}

type walk struct {
	t      *testing.T
	r      *rand.Rand
	g      *classicGroup
	limits Limits
	now    time.Time
	ids    int
	story  []string

	clients []*walkClient
	parked  map[*walkRequest]bool
	writes  []*walkWrite
	base    int64
	batches []record.Batch

	generation   int32
	leaders      map[int32]string           // who was told that it leads, by generation
	owners       map[int32]map[int32]string // who was given a partition, by generation
	acknowledged int64                      // the last offset that was
	offset       int64
}

// walkClient is a consumer; one without instance id is dynamic.
type walkClient struct {
	name     string
	instance *string
	twoSteps bool
	id       string
	gen      int32
	assign   []JoinedMember // it leads and has not synced yet
	joining  *walkRequest
	syncing  *walkRequest
}

type walkRequest struct {
	what string
	at   time.Time
}

type walkWrite struct {
	write
	base  int64
	until time.Time
}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), now: epoch, parked: map[*walkRequest]bool{},
		limits:  Limits{InitialRebalanceDelay: 3 * time.Second, MaxSize: 5, OffsetMetadataMaxBytes: 10, OffsetsRetention: time.Hour},
		leaders: map[int32]string{}, owners: map[int32]map[int32]string{},
	}
	w.g = newClassicGroup("g", &w.limits, w.now)
	for i := range 7 {
		c := &walkClient{name: fmt.Sprint("c", i), gen: NoGeneration, twoSteps: i%3 != 0}
		if i >= 5 {
			c.instance = pointer(fmt.Sprint("i", i%5/2)) // two clients quarrel about one
		}
		w.clients = append(w.clients, c)
	}
	return w
}

func (w *walk) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%v ", w.now.Sub(epoch))+fmt.Sprintf(format, args...))
}

func (w *walk) step() {
	c := w.clients[w.r.IntN(len(w.clients))]
	switch n := w.r.IntN(100); {
	case n < 30:
		w.join(c)
	case n < 50:
		w.sync(c)
	case n < 65:
		w.heartbeat(c)
	case n < 72:
		w.commit(c)
	case n < 75:
		w.leave(c)
	case n < 77: // it is killed, and forgets all
		w.tell("%s dies", c.name)
		c.id, c.gen, c.assign = "", NoGeneration, nil
	case n < 78:
		w.failOver()
	default:
		w.pass(time.Duration(w.r.Int64N(int64([]time.Duration{time.Second, 5 * time.Second, 20 * time.Second}[w.r.IntN(3)]))))
	}
	w.check()
}

func (w *walk) park(what string) *walkRequest {
	r := &walkRequest{what, w.now}
	w.parked[r] = true
	return r
}

func (w *walk) answered(r *walkRequest) {
	if !w.parked[r] {
		w.t.Errorf("%s is answered twice", r.what)
	}
	delete(w.parked, r)
}

func (w *walk) join(c *walkClient) {
	if c.joining != nil && w.r.IntN(10) > 0 {
		return // clients seldom ask twice
	}
	w.ids++
	r := &JoinRequest{
		MemberID: c.id, InstanceID: c.instance, ClientID: c.name, TwoSteps: c.twoSteps, CanSkipAssignment: w.r.IntN(2) == 0,
		SessionTimeout:   time.Duration(6+w.r.IntN(10)) * time.Second,
		RebalanceTimeout: time.Duration(w.r.Int64N(int64(walkLongestRebalance) + 1)),
		ProtocolType:     "consumer", Protocols: []Protocol{{"range", subscription("t")}, {"sticky", subscription("t")}},
	}
	if w.r.IntN(4) == 0 {
		slices.Reverse(r.Protocols)
	}
	if w.r.IntN(20) == 0 {
		r.Protocols = append(r.Protocols[:1], Protocol{r.Protocols[0].Name, []byte("?")})
	}
	request := w.park("join of " + c.name)
	c.joining = request
	w.tell("%s joins as %q", c.name, c.id)
	var fx effects
	w.g.join(w.now, r, fmt.Sprintf("%s-%d", c.name, w.ids), func(j JoinResult) {
		w.answered(request)
		w.tell("  %s: %s", c.name, describeJoin(j))
		if c.joining == request {
			c.joining = nil
			w.joined(c, j)
		}
		if j.Err == nil && j.Members != nil && !j.SkipAssignment {
			if other := w.leaders[j.Generation]; other != "" && other != j.MemberID {
				w.t.Errorf("%s and %s lead generation %d", other, j.MemberID, j.Generation)
			}
			w.leaders[j.Generation] = j.MemberID
		}
	}, &fx)
	w.effects(&fx)
}

func (w *walk) joined(c *walkClient, j JoinResult) {
	c.assign = nil
	switch j.Err {
	case nil:
		c.id, c.gen = j.MemberID, j.Generation
		if j.Members != nil && !j.SkipAssignment {
			c.assign = j.Members
		}
	case kerr.MemberIDRequired:
		c.id = j.MemberID
	default:
		c.id, c.gen = "", NoGeneration
	}
}

func (w *walk) sync(c *walkClient) {
	if c.id == "" || c.joining != nil || c.syncing != nil && w.r.IntN(10) > 0 {
		return
	}
	r := &SyncRequest{MemberID: c.id, InstanceID: c.instance, Generation: c.gen}
	for p := range walkPartitions {
		if len(c.assign) > 0 {
			m := c.assign[w.r.IntN(len(c.assign))].ID
			i := slices.IndexFunc(r.Assignments, func(a Assignment) bool { return a.MemberID == m })
			if i < 0 {
				i = len(r.Assignments)
				r.Assignments = append(r.Assignments, Assignment{MemberID: m})
			}
			r.Assignments[i].Assignment = append(r.Assignments[i].Assignment, byte(p))
		}
	}
	request, gen, owner := w.park("sync of "+c.name), c.gen, c.id
	if c.instance != nil {
		owner = *c.instance
	}
	c.syncing = request
	w.tell("%s syncs as %q", c.name, c.id)
	var fx effects
	w.g.sync(w.now, r, func(s SyncResult) {
		w.answered(request)
		w.tell("  %s: %v %v", c.name, s.Err, s.Assignment)
		if c.syncing == request {
			c.syncing = nil
		}
		for _, p := range s.Assignment {
			if w.owners[gen] == nil {
				w.owners[gen] = map[int32]string{}
			}
			if other := w.owners[gen][int32(p)]; other != "" && other != owner {
				w.t.Errorf("partition %d of generation %d is given to %s and %s", p, gen, other, owner)
			}
			w.owners[gen][int32(p)] = owner
		}
	}, &fx)
	w.effects(&fx)
}

func (w *walk) heartbeat(c *walkClient) {
	if c.id == "" {
		return
	}
	err := w.g.heartbeat(w.now, &HeartbeatRequest{MemberID: c.id, InstanceID: c.instance, Generation: c.gen})
	w.tell("%s beats: %v", c.name, err)
}

func (w *walk) commit(c *walkClient) {
	w.offset++
	offset := w.offset
	r := &Commit{MemberID: c.id, InstanceID: c.instance, Generation: c.gen, Offsets: []CommitOffset{{Topic: "t", Offset: offset, LeaderEpoch: -1, CommitMS: NoTime, ExpireMS: NoExpiry}}}
	request := w.park("commit of " + c.name)
	r.done = func() {
		w.answered(request)
		w.tell("  commit of %d: %v", offset, r.Offsets[0].Err)
		if r.Offsets[0].Err == nil {
			w.acknowledged = max(w.acknowledged, offset)
		}
	}
	var fx effects
	w.g.commit(w.now, r, &fx)
	w.effects(&fx)
}

func (w *walk) leave(c *walkClient) {
	if c.id == "" {
		return
	}
	leaving := []Leaving{{MemberID: c.id, InstanceID: c.instance}}
	var fx effects
	err := w.g.leave(w.now, leaving, &fx)
	w.tell("%s leaves: %v %v", c.name, err, leaving[0].Err)
	w.effects(&fx)
}

// effects has what was written in the log at once. When it is acknowledged is another
// matter.
func (w *walk) effects(fx *effects) {
	for _, wr := range fx.writes {
		for _, b := range encodeWrite(&wr, w.base) {
			w.batches = append(w.batches, b)
			w.writes = append(w.writes, &walkWrite{wr, w.base, w.now.Add(time.Duration(w.r.Int64N(int64(5 * time.Second))))})
			w.base = b.NextOffset()
		}
		w.tell("  write %s", describeWrite(&wr))
	}
	fx.answer()
}

// pass lets time pass, with all that is due.
func (w *walk) pass(d time.Duration) {
	until := w.now.Add(d)
	for {
		next, due := until, func() {}
		if !w.g.wake.IsZero() && w.g.wake.Before(next) {
			next = w.g.wake
			due = func() {
				var fx effects
				w.g.tick(w.now, &fx)
				w.effects(&fx)
			}
		}
		for i, wr := range w.writes {
			if wr.until.Before(next) {
				next = wr.until
				due = func() {
					w.writes = slices.Delete(w.writes, i, i+1)
					w.written(wr)
				}
			}
		}
		if next == until {
			break
		}
		if next.After(w.now) {
			w.now = next
		}
		due()
		w.check()
	}
	w.now = until
	w.tell("wait for %v", d)
}

func (w *walk) written(wr *walkWrite) {
	var err error
	if w.r.IntN(20) == 0 {
		err = kerr.RequestTimedOut // and is in the log all the same
	}
	w.tell("written %s: %v", describeWrite(&wr.write), err)
	var fx effects
	switch {
	case wr.commit != nil:
		w.g.committed(&wr.write, wr.base, err, &fx)
	case wr.metadata != nil:
		if err != nil {
			err = metadataError(err)
		}
		w.g.groupStored(w.now, wr.metadata, err, &fx)
	}
	w.effects(&fx)
}

func (w *walk) failOver() {
	w.tell("fail-over")
	var fx effects
	w.g.resign(w.now, &fx)
	w.effects(&fx)
	for _, wr := range w.writes {
		if wr.commit != nil {
			wr.commit.fail(errNotCoordinator)
			wr.commit.done()
		}
	}
	w.writes = nil
	if len(w.parked) > 0 {
		for r := range w.parked {
			w.t.Errorf("%s of %v is not answered by a coordinator that resigns", r.what, r.at.Sub(epoch))
		}
	}
	l := newLoader()
	for _, b := range w.batches {
		if err := l.add(b); err != nil {
			w.t.Fatal(err)
		}
	}
	loaded := l.groups["g"]
	if loaded == nil {
		loaded = &loadedGroup{}
	}
	fx = effects{}
	w.g = loadedClassicGroup("g", &w.limits, loaded, w.now, &fx)
	w.effects(&fx)
	w.generation = w.g.generation
	// Generations that were not stored come again.
	w.leaders, w.owners = map[int32]string{}, map[int32]map[int32]string{}
	if got, _ := w.g.offsets.get(protocol.TopicPartition{Topic: "t"}); got.Offset < w.acknowledged {
		w.t.Errorf("offset %d is loaded, %d was acknowledged", got.Offset, w.acknowledged)
	}
}
