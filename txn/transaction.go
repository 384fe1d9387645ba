package txn

import (
	"math"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

// NoProducerID and NoEpoch say that there is no producer.
const (
	NoProducerID int64 = -1
	NoEpoch      int16 = -1
)

// lastEpoch is the highest epoch that a producer is given: one more must be left to
// fence it.
const lastEpoch int16 = math.MaxInt16 - 1

// repeatAfter is when a change is written again of which it is not known whether it is
// in the log.
const repeatAfter = 500 * time.Millisecond

// transaction is what is known of one transactional id: its producer and its
// transaction, open or ended.
//
// It is a pure state machine. A step takes the time, an event and an effects, to which
// it adds what has to be done; it reads no clock, waits for nothing and calls nobody.
// What the log says is the state: a step that changes it only makes a change, which is
// applied, and answered, when its record is durable. There is one at a time. Timers are
// deadlines in the state: wake is the time at which tick is due.
//
// It is not safe for concurrent use; see hosted.
type transaction struct {
	id     string
	limits *Limits

	value      // what the log says
	known bool // the log says something
	// previous producer id and epoch, which a retry of the InitProducerId may give that
	// ended them (KIP-360). They are not in the log.
	previousID    int64
	previousEpoch int16

	change  *change    // on its way to the log; nil if there is none
	waiting []*request // until there is none, and no markers are being written
	wake    time.Time  // when tick is due at the latest; zero is never

	room      int // by how many bytes a step may have it grow: said before each
	placesFor int // how many more requests may wait: said before each
}

// change is a state that the log is to have.
type change struct {
	id            string
	to            value
	tombstone     bool // the id is to be forgotten
	previousID    int64
	previousEpoch int16
	timeMS        int64 // of the record
	// by is whom the change is for: it is answered then, or waits for the markers if it
	// is an InitProducerId that fences. Nil if nobody waits, or has been told already.
	by *request
	// doubtful says that it may be in the log, though an append of it has failed.
	doubtful bool
	// repeatAt is when it is written again; zero if it is on its way.
	repeatAt time.Time
}

// newTransaction returns an id that the log says nothing of.
func newTransaction(id string, limits *Limits) *transaction {
	return &transaction{
		id: id, limits: limits,
		value:      value{producerID: NoProducerID, epoch: NoEpoch, startMS: -1},
		previousID: NoProducerID, previousEpoch: NoEpoch,
		room: math.MaxInt, placesFor: math.MaxInt,
	}
}

// loadedTransaction returns an id as it was found in the log, and goes on with the
// markers of its transaction if it was decided.
func loadedTransaction(id string, limits *Limits, v value, fx *effects) *transaction {
	t := newTransaction(id, limits)
	t.value, t.known = v, true
	if v.state.prepared() {
		fx.markers = &decision{v}
	}
	return t
}

// changeTo makes a change for a request, or for nobody.
func (t *transaction) changeTo(now time.Time, to value, by *request, fx *effects) *change {
	to.updateMS = max(now.UnixMilli(), t.updateMS)
	t.change = &change{id: t.id, to: to, previousID: t.previousID, previousEpoch: t.previousEpoch, timeMS: now.UnixMilli(), by: by}
	fx.write(t.change)
	return t.change
}

// stored goes on when a change is in the log, or has failed. One that may be in the log
// nevertheless is made again and again until it is known to be there: if another
// broker takes over meanwhile, it finds one or the other.
func (t *transaction) stored(now time.Time, c *change, err error, fx *effects) {
	if t.change != c {
		return // it has resigned
	}
	by := c.by
	c.by = nil
	c.doubtful = c.doubtful || err != nil && maybeWritten(err)
	switch {
	case err == nil:
		t.apply(now, c, by, fx)
	case c.mustBe() || c.doubtful:
		c.repeatAt = now.Add(repeatAfter)
		t.wakeAt(c.repeatAt)
		if by != nil {
			fx.answer(by, appendError(err))
		}
		return
	default:
		t.change = nil
		if by != nil {
			fx.answer(by, appendError(err))
		}
		if !t.known {
			t.state = Dead
		}
	}
	t.settle(now, fx)
}

// mustBe reports whether there is no way back: the markers are written.
func (c *change) mustBe() bool { return c.to.state == CompleteCommit || c.to.state == CompleteAbort }

// apply has the change be the state.
func (t *transaction) apply(now time.Time, c *change, by *request, fx *effects) {
	t.change = nil
	if c.tombstone {
		t.state = Dead
		return
	}
	t.value, t.known = c.to, true
	t.previousID, t.previousEpoch = c.previousID, c.previousEpoch
	if t.state.prepared() {
		fx.markers = &decision{t.value}
	}
	switch {
	case by == nil:
	case by.op == opInit && t.state == Empty:
		fx.replies = append(fx.replies, reply{by.reply, InitResult{ProducerID: t.producerID, Epoch: t.epoch}})
	case by.op == opInit:
		t.wait(now, by, fx)
	default:
		fx.answer(by, nil)
	}
}

// busy reports whether nothing can be changed now.
func (t *transaction) busy() bool { return t.change != nil || t.state.prepared() }

// has reports whether the transaction is in all of some partitions.
func (t *transaction) has(partitions ...protocol.TopicPartition) bool {
	for _, tp := range partitions {
		if _, in := slices.BinarySearchFunc(t.partitions, tp, protocol.TopicPartition.Compare); !in {
			return false
		}
	}
	return true
}

// tick does what is due. It may be called at any time.
func (t *transaction) tick(now time.Time, fx *effects) {
	if c := t.change; c != nil && !c.repeatAt.IsZero() && !c.repeatAt.After(now) {
		c.repeatAt = time.Time{}
		fx.write(c)
	}
	t.giveUp(now, fx)
	t.wake = time.Time{}
	if c := t.change; c != nil && !c.repeatAt.IsZero() {
		t.wakeAt(c.repeatAt)
	}
	for _, r := range t.waiting {
		t.wakeAt(r.until)
	}
}

func (t *transaction) wakeAt(at time.Time) {
	if t.wake.IsZero() || at.Before(t.wake) {
		t.wake = at
	}
}

// resign ends the id's life here: another broker coordinates it from now on.
func (t *transaction) resign(fx *effects) {
	if c := t.change; c != nil && c.by != nil {
		fx.answer(c.by, errNotCoordinator)
	}
	for _, r := range t.waiting {
		fx.answer(r, errNotCoordinator)
	}
	t.change, t.waiting = nil, nil
	t.state = Dead
	t.wake = time.Time{}
}
