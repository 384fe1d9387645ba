package txn

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

// TestWalk has two producers of one id and a newcomer do what they may do, in any order,
// while time passes, appends end late, badly or never, markers arrive when they like, and
// the coordinator moves. After each step it is checked that
//
//   - a request is answered once, with success only when a record that says so is durable,
//     and no later than the longest append and wait;
//   - a transaction ends in every partition with the same result, which is the one that
//     its producer was promised; one that was decided never ends otherwise;
//   - the epochs of a producer never go back, in the log, in markers, and in answers, and
//     no two answers give the same;
//   - a producer is told that it may write to a partition only while its transaction is
//     open and in that partition.
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
				t.Fatalf("seed %d:\n%s", seed, strings.Join(w.story[max(0, len(w.story)-60):], "\n"))
			}
		}
		w.settleDown()
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(w.story[max(0, len(w.story)-60):], "\n"))
		}
	}
}

type walk struct {
	t      *testing.T
	r      *rand.Rand
	x      *transaction
	limits Limits
	now    time.Time
	story  []string
	nextID int64

	clients []*walkClient
	parked  map[*walkRequest]bool
	writes  []*walkWrite // on their way, in the order of the log
	batches []record.Batch
	records []value  // of batches; the zero value is a tombstone
	durable int      // how many of batches are
	marking *marking // the partitions that are still to be marked

	ended   map[producer]map[protocol.TopicPartition]bool // committed or not
	told    map[producer]bool                             // what producers were promised, by epoch
	given   map[producer]bool                             // answers of InitProducerId
	highest map[int64]int16                               // epochs of answers
}

type producer struct {
	id    int64
	epoch int16
	n     int64 // which of its transactions: the time when it began
}

type walkClient struct {
	name  string
	id    int64
	epoch int16
}

type walkRequest struct {
	what string
	at   time.Time
}

type walkWrite struct {
	*change
	record int // its place in the log, −1 if it is refused
	until  time.Time
}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), now: epoch0, nextID: 1000,
		limits: Limits{Expiration: 10 * time.Minute}, parked: map[*walkRequest]bool{},
		ended: map[producer]map[protocol.TopicPartition]bool{}, told: map[producer]bool{},
		given: map[producer]bool{}, highest: map[int64]int16{},
	}
	w.x = newTransaction("x", &w.limits)
	for i := range 3 {
		w.clients = append(w.clients, &walkClient{name: fmt.Sprint("c", i), id: NoProducerID, epoch: NoEpoch})
	}
	if seed%3 == 0 { // the epochs are soon used up
		v := value{producerID: 999, epoch: lastEpoch - 3, timeoutMS: 1000, startMS: -1, updateMS: epoch0.UnixMilli()}
		w.log(&change{id: "x", to: v}, true)
		w.durable = 1
		var fx effects
		w.x = loadedTransaction("x", &w.limits, v, &fx)
	}
	return w
}

func (w *walk) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%v ", w.now.Sub(epoch0))+fmt.Sprintf(format, args...))
}

func (w *walk) step() {
	c := w.clients[w.r.IntN(len(w.clients))]
	switch n := w.r.IntN(100); {
	case n < 8:
		w.init(c)
	case n < 30:
		w.add(c)
	case n < 36:
		w.verify(c)
	case n < 48:
		w.end(c)
	case n < 62:
		w.mark()
	case n < 64:
		var fx effects
		if w.x.timeOut(w.now, &fx) {
			w.tell("it takes too long")
		}
		w.effects(&fx)
	case n < 65:
		var fx effects
		if w.x.expire(w.now, &fx) {
			w.tell("it expires")
		}
		w.effects(&fx)
	case n < 68:
		w.failOver()
	default:
		w.pass(time.Duration(w.r.Int64N(int64([]time.Duration{10 * time.Millisecond, time.Second, 20 * time.Second}[w.r.IntN(3)]))))
	}
	w.check()
}

func (w *walk) handle(c *walkClient, r *request, what string, answered func(InitResult)) {
	request := &walkRequest{c.name + " " + what, w.now}
	w.parked[request] = true
	w.tell("%s as %d/%d", request.what, c.id, c.epoch)
	r.id = "x"
	r.reply = func(res InitResult) {
		if !w.parked[request] {
			w.t.Errorf("%s is answered twice", request.what)
		}
		delete(w.parked, request)
		w.tell("  %s: %s", request.what, describeResult(res))
		answered(res)
	}
	w.dispatch(r)
}

// dispatch is what the coordinator does with a request.
func (w *walk) dispatch(r *request) {
	if w.x.state == Dead {
		w.x = newTransaction("x", &w.limits)
	}
	var fx effects
	w.x.handle(w.now, r, &fx)
	w.effects(&fx)
}

func (w *walk) init(c *walkClient) {
	r := &request{op: opInit, producerID: NoProducerID, epoch: NoEpoch, timeoutMS: 30000, fresh: NoProducerID}
	if w.r.IntN(2) == 0 {
		r.producerID, r.epoch = c.id, c.epoch
	}
	before := r.epoch
	w.handle(c, r, fmt.Sprintf("init %d/%d", r.producerID, r.epoch), func(res InitResult) {
		if res.Err != nil {
			return
		}
		w.promisedRecord(func(v value) bool {
			return v.state == Empty && v.producerID == res.ProducerID && v.epoch == res.Epoch
		}, "it was given an epoch")
		p := producer{id: res.ProducerID, epoch: res.Epoch}
		if w.given[p] && before == NoEpoch {
			w.t.Errorf("%d/%d is given twice", p.id, p.epoch)
		}
		w.given[p] = true
		if highest, known := w.highest[p.id]; known && p.epoch < highest {
			w.t.Errorf("epoch %d of %d after %d", p.epoch, p.id, highest)
		}
		w.highest[p.id] = p.epoch
		c.id, c.epoch = res.ProducerID, res.Epoch
	})
}

// promisedRecord fails unless there is a durable record that says so, after which nothing
// durable says otherwise.
func (w *walk) promisedRecord(says func(value) bool, what string) {
	if !slices.ContainsFunc(w.records[:w.durable], says) {
		w.t.Errorf("%s, and no durable record says so", what)
	}
}

func (w *walk) add(c *walkClient) {
	partitions := sorted([]protocol.TopicPartition{{Topic: "t", Partition: w.r.Int32N(3)}, {Topic: "u", Partition: w.r.Int32N(2)}})
	pid, epoch := c.id, c.epoch
	w.handle(c, &request{op: opAdd, producerID: pid, epoch: epoch, partitions: partitions}, fmt.Sprint("add ", partitions), func(res InitResult) {
		if res.Err != nil {
			return
		}
		v := w.records[w.durable-1]
		if v.state != Ongoing || v.producerID != pid || v.epoch != epoch {
			w.t.Errorf("%s may write, and the log says %s", c.name, describeValue(&v))
		}
		for _, tp := range partitions {
			if !slices.Contains(v.partitions, tp) {
				w.t.Errorf("%s may write to %v, and the log says %s", c.name, tp, describeValue(&v))
			}
		}
	})
}

func (w *walk) verify(c *walkClient) {
	list := []Verified{{TopicPartition: protocol.TopicPartition{Topic: "t"}}}
	if w.x.verify(c.id, c.epoch, list) != nil || list[0].Err != nil {
		return
	}
	v := w.lastDurable()
	if v.state != Ongoing || v.epoch != c.epoch || !slices.Contains(v.partitions, list[0].TopicPartition) {
		w.t.Errorf("%s is verified, and the log says %s", c.name, describeValue(&v))
	}
}

// lastDurable is what the log says for sure.
func (w *walk) lastDurable() value {
	if w.durable == 0 {
		return value{}
	}
	return w.records[w.durable-1]
}

func (w *walk) end(c *walkClient) {
	commit := w.r.IntN(3) > 0
	pid, epoch := c.id, c.epoch
	what := map[bool]string{true: "commit", false: "abort"}[commit]
	w.handle(c, &request{op: opEnd, producerID: pid, epoch: epoch, commit: commit}, what, func(res InitResult) {
		if res.Err != nil {
			return
		}
		v := w.lastDurable()
		prepared, complete := PrepareAbort, CompleteAbort
		if commit {
			prepared, complete = PrepareCommit, CompleteCommit
		}
		if v.state != prepared && v.state != complete || v.producerID != pid || v.epoch != epoch {
			w.t.Errorf("it was told %s, and the log says %s", what, describeValue(&v))
		}
		w.promise(producer{pid, epoch, v.startMS}, commit)
	})
}

// promise remembers how a transaction is to end.
func (w *walk) promise(p producer, commit bool) {
	if before, promised := w.told[p]; promised && before != commit {
		w.t.Errorf("transaction %v is to be committed: %v, and then %v", p, before, commit)
	}
	w.told[p] = commit
}

// mark writes a marker, or tells the coordinator that all are.
func (w *walk) mark() {
	if w.marking == nil {
		return
	}
	m := w.marking
	d := m.decision
	if len(m.partitions) > 0 {
		tp := m.partitions[0]
		m.partitions = m.partitions[1:]
		w.tell("marker %s in %v", describeValue(&d.value), tp)
		p := producer{d.producerID, 0, d.startMS}
		if w.ended[p] == nil {
			w.ended[p] = map[protocol.TopicPartition]bool{}
		}
		if before, marked := w.ended[p][tp]; marked && before != d.commit() {
			w.t.Errorf("%v ends twice in %v", p, tp)
		}
		for other, committed := range w.ended[p] {
			if committed != d.commit() {
				w.t.Errorf("%v ends otherwise in %v than in %v", p, tp, other)
			}
		}
		w.ended[p][tp] = d.commit()
		w.promise(producer{d.producerID, d.epoch, d.startMS}, d.commit())
		return
	}
	w.marking = nil
	w.tell("all is marked")
	var fx effects
	w.x.marked(w.now, &fx)
	w.effects(&fx)
}

func (w *walk) effects(fx *effects) {
	for _, c := range fx.writes {
		refused := w.r.IntN(12) == 0
		w.tell("  write %s refused=%v", describeChange(c), refused)
		wr := &walkWrite{c, -1, w.now.Add(time.Duration(w.r.Int64N(int64(2 * time.Second))))}
		if !refused {
			wr.record = w.log(c, true)
		}
		w.writes = append(w.writes, wr)
	}
	if fx.markers != nil {
		w.checkDecided(fx.markers)
		w.marking = &marking{&job{decision: fx.markers}, slices.Clone(fx.markers.partitions)}
	}
	for _, r := range fx.replies {
		r.to(r.result)
	}
	for _, r := range fx.fresh {
		w.nextID++
		r.fresh = w.nextID
		w.dispatch(r)
	}
	for _, r := range fx.again {
		w.dispatch(r)
	}
}

// checkDecided fails unless the decision is durable.
func (w *walk) checkDecided(d *decision) {
	if v := w.lastDurable(); v.state != d.state || v.epoch != d.epoch || !slices.Equal(v.partitions, d.partitions) {
		w.t.Errorf("markers of %s, and the log says %s", describeValue(&d.value), describeValue(&v))
	}
}

// log has a record be in the log, durable or not.
func (w *walk) log(c *change, there bool) int {
	b := encoded(w.t, c)
	b.SetBaseOffset(int64(len(w.batches)))
	w.batches = append(w.batches, b)
	v := c.to
	if c.tombstone {
		v = value{}
	}
	w.records = append(w.records, v)
	return len(w.records) - 1
}

// pass lets time pass, with all that is due.
func (w *walk) pass(d time.Duration) {
	until := w.now.Add(d)
	w.tell("wait for %v", d)
	for {
		next, due := until, func() {}
		if !w.x.wake.IsZero() && w.x.wake.Before(next) {
			next = w.x.wake
			due = func() {
				var fx effects
				w.x.tick(w.now, &fx)
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
}

func (w *walk) written(wr *walkWrite) {
	var err error
	switch {
	case wr.record < 0:
		err = kerr.NotEnoughReplicas
	case w.r.IntN(8) == 0:
		err = kerr.RequestTimedOut // and is in the log all the same
	default:
		w.durable = max(w.durable, wr.record+1)
	}
	w.tell("written %s: %s", describeChange(wr.change), name(err))
	var fx effects
	w.x.stored(w.now, wr.change, err, &fx)
	w.effects(&fx)
}

// failOver has another coordinator take over: what is durable is in its log, and as much
// of the rest as was replicated in time.
func (w *walk) failOver() {
	var fx effects
	w.x.resign(&fx)
	w.effects(&fx)
	w.check()
	for r := range w.parked {
		w.t.Errorf("%s is not answered by a coordinator that resigns", r.what)
	}
	w.durable += w.r.IntN(len(w.records) - w.durable + 1)
	w.batches, w.records = w.batches[:w.durable], w.records[:w.durable]
	w.writes, w.marking = nil, nil
	l := newLoader()
	for _, b := range w.batches {
		if err := l.add(b); err != nil {
			w.t.Fatal(err)
		}
	}
	fx = effects{}
	w.x = newTransaction("x", &w.limits)
	if v, there := l.ids["x"]; there {
		w.x = loadedTransaction("x", &w.limits, v, &fx)
	}
	w.tell("fail-over to %s", describeValue(&w.x.value))
	w.effects(&fx)
}

func (w *walk) check() {
	for r := range w.parked {
		if waited := w.now.Sub(r.at); waited > maxWait+3*time.Second {
			w.t.Errorf("%s waits for %v", r.what, waited)
			delete(w.parked, r)
		}
	}
	x := w.x
	if v := w.lastDurable(); x.known && x.state != Dead && !sameValue(&v, &x.value) && w.writes == nil {
		w.t.Errorf("the state is %s, and the log says %s", describeValue(&x.value), describeValue(&v))
	}
	for i := range w.records {
		if i > 0 && w.records[i].producerID == w.records[i-1].producerID && w.records[i].epoch < w.records[i-1].epoch {
			w.t.Errorf("epoch %d is written after %d", w.records[i].epoch, w.records[i-1].epoch)
		}
	}
	if x.state != Dead && len(x.waiting) > 0 && !x.busy() {
		w.t.Errorf("%d wait for nothing", len(x.waiting))
	}
	for _, r := range x.waiting {
		if x.wake.IsZero() || x.wake.After(r.until) {
			w.t.Errorf("nobody looks at who waits")
		}
	}
	if len(x.waiting) > maxWaiting {
		w.t.Errorf("%d wait", len(x.waiting))
	}
}

func sameValue(a, b *value) bool {
	return a.state == b.state && a.producerID == b.producerID && a.epoch == b.epoch && a.startMS == b.startMS && slices.Equal(a.partitions, b.partitions)
}

// settleDown lets all that is under way end: every partition of every transaction that
// was decided has its marker then.
func (w *walk) settleDown() {
	for range 200 {
		w.pass(time.Second)
		w.mark()
		var fx effects
		w.x.timeOut(w.now, &fx)
		w.effects(&fx)
	}
	for r := range w.parked {
		w.t.Errorf("%s is never answered", r.what)
	}
	if w.x.state.open() || w.x.change != nil || w.marking != nil {
		w.t.Errorf("at the end it is %s", describeValue(&w.x.value))
	}
	for _, v := range w.records[:w.durable] {
		if !v.state.prepared() {
			continue
		}
		ended := w.ended[producer{v.producerID, 0, v.startMS}]
		for _, tp := range v.partitions {
			if commit, marked := ended[tp]; !marked || commit != (v.state == PrepareCommit) {
				w.t.Errorf("%s is decided, and %v is marked: %v, commit: %v", describeValue(&v), tp, marked, commit)
			}
		}
	}
}
