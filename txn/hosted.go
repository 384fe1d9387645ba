package txn

import (
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/statelog"
)

// hosted is a transactional id that this broker coordinates: its state machine, the
// mutex that each of its steps is taken under, and the alarm that calls it when
// something is due.
//
// A step is what begin and end enclose. Its writes are in the appender's line before
// the mutex is released; all else that it asks for is done after.
type hosted struct {
	of *partition

	mu      sync.Mutex
	id      *transaction
	taken   int // bytes, that the budget knows of
	waiting int // requests, that the budget knows of
	alarm   statelog.Alarm
}

// begin begins a step, and returns the id and the time.
func (h *hosted) begin() (*transaction, time.Time) {
	h.mu.Lock()
	h.id.room, h.id.placesFor = h.of.c.budget.room(), h.of.c.budget.places()
	return h.id, time.Now()
}

// end ends a step and does what it asks for. In a callback of the log nothing may be
// appended: callback says that this is one.
func (h *hosted) end(fx *effects, callback bool) {
	h.charge()
	due, closed := false, false
	if len(fx.writes) > 0 {
		due, closed = h.queue(fx.writes, callback)
	}
	h.arm()
	dead := h.id.state == Dead
	h.mu.Unlock()
	if dead {
		h.of.table.Remove(h.id.id, h)
	}
	if fx.none() {
		return
	}
	h.do(fx, callback)
	if due {
		h.of.appender.Run()
	}
	if closed {
		for _, c := range fx.writes {
			queued{h, c}.Written(-1, errNotCoordinator)
		}
	}
}

// do does what is asked for but the writes.
func (h *hosted) do(fx *effects, callback bool) {
	c := h.of.c
	if fx.noRoom {
		c.budget.refused()
	}
	for _, r := range fx.replies {
		r.to(r.result)
	}
	if fx.markers != nil {
		c.markers.add(h, fx.markers)
	}
	for _, r := range fx.fresh {
		h.of.spawn(r, c.withFreshID)
	}
	for _, r := range fx.again {
		if callback {
			h.of.spawn(r, func(_ *partition, r *request) { c.dispatch(r) })
		} else {
			c.dispatch(r)
		}
	}
}

// charge has the budget know what the id takes.
func (h *hosted) charge() {
	takes, waiting := 0, len(h.id.waiting)
	if h.id.state != Dead {
		takes = h.id.footprint()
	}
	if takes != h.taken {
		h.of.c.budget.used.Add(int64(takes - h.taken))
		h.taken = takes
	}
	if waiting != h.waiting {
		h.of.c.budget.waiting.Add(int64(waiting - h.waiting))
		h.waiting = waiting
	}
}

// arm has the alarm ring when the id's next tick is due.
func (h *hosted) arm() {
	if h.id.state == Dead {
		h.alarm.Stop()
		return
	}
	h.alarm.Set(h.id.wake, h)
}

// Tick does what is due.
func (h *hosted) Tick() {
	var fx effects
	t, now := h.begin()
	h.alarm.Rang()
	if t.state != Dead {
		t.tick(now, &fx)
	}
	h.end(&fx, false)
}

// handle takes a request.
func (h *hosted) handle(r *request) {
	var fx effects
	t, now := h.begin()
	t.handle(now, r, &fx)
	h.end(&fx, false)
}

// marked goes on with the id when its transaction has ended in every partition.
func (h *hosted) marked() {
	var fx effects
	t, now := h.begin()
	t.marked(now, &fx)
	h.end(&fx, false)
}

// resign ends the id here.
func (h *hosted) resign() {
	var fx effects
	t, _ := h.begin()
	t.resign(&fx)
	h.end(&fx, false)
}

// queued is a change on its way to the log, and whose it is.
type queued struct {
	h *hosted
	*change
}

// queue has changes go to the log: see statelog.Appender.
func (h *hosted) queue(changes []*change, background bool) (due, closed bool) {
	var room [4]queued // seldom are there more
	list := room[:0]
	for _, c := range changes {
		list = append(list, queued{h, c})
	}
	return h.of.appender.Enqueue(background, list...)
}

// Size bounds from above what the change takes in a batch.
func (q queued) Size() int {
	const perRecord = 64 // lengths, varints, versions
	if q.tombstone {
		return perRecord + len(q.change.id)
	}
	return perRecord + len(q.change.id) + valueSize(&q.to)
}

// Kind has all changes wait for all in-sync replicas, as in Kafka.
func (q queued) Kind() statelog.Kind {
	return statelog.Kind{Acks: -1, ProducerID: record.NoProducerID, Epoch: record.NoProducerEpoch}
}

// Written goes on with the id when the change is in the log, or has failed.
func (q queued) Written(_ int64, err error) {
	var fx effects
	t, now := q.h.begin()
	t.stored(now, q.change, err, &fx)
	q.h.end(&fx, true)
}

// encoder makes batches of changes. It is used again and again for its buffers.
type encoder struct {
	builder    *record.Builder
	key, value []byte
}

func newEncoder() *encoder {
	e := &encoder{builder: record.NewBuilder()}
	e.builder.SetProducer(record.NoProducerID, record.NoProducerEpoch, record.NoSequence)
	return e
}

func (e *encoder) encode(writes []queued, _ int) (record.Batch, error) {
	e.builder.Reset()
	for _, w := range writes {
		e.add(w.change)
	}
	return e.builder.Build()
}

func (e *encoder) add(c *change) {
	e.key = appendKey(e.key[:0], c.id)
	if c.tombstone {
		e.builder.Append(c.timeMS, e.key, nil)
		return
	}
	e.value = appendValue(e.value[:0], &c.to)
	e.builder.Append(c.timeMS, e.key, e.value)
}

var _ statelog.Write = queued{}
