package txn

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

const (
	// maxWait is how long a request waits for the markers of the transaction before, or
	// for a change that is on its way to the log, instead of being told
	// CONCURRENT_TRANSACTIONS at once, with which clients sleep.
	maxWait = time.Second
	// maxWaiting is how many requests may wait for one id, and maxWaitingAll for all.
	maxWaiting    = 16
	maxWaitingAll = 4096
)

type op int8

const (
	opInit op = iota
	opAdd
	opEnd
)

// request is what somebody asks of a transactional id.
type request struct {
	op         op
	id         string
	producerID int64 // of opInit the one to go on with, or NoProducerID
	epoch      int16
	timeoutMS  int32                     // of opInit
	fresh      int64                     // of opInit: a producer id that nobody has, or NoProducerID
	partitions []protocol.TopicPartition // of opAdd: sorted
	commit     bool                      // of opEnd
	reply      func(InitResult)

	until time.Time // it waits until then; zero if it has not waited
}

// handle takes a request.
func (t *transaction) handle(now time.Time, r *request, fx *effects) {
	switch {
	case t.state == Dead:
		fx.again = append(fx.again, r)
	case r.op == opInit:
		t.init(now, r, fx)
	case r.op == opAdd:
		t.add(now, r, fx)
	default:
		t.end(now, r, fx)
	}
}

// checkProducer refuses a request that is not from the id's producer: kerr's
// InvalidProducerIDMapping and ProducerFenced.
func (t *transaction) checkProducer(producerID int64, epoch int16) error {
	switch {
	case !t.known || producerID != t.producerID:
		return errIDMapping
	case epoch != t.epoch:
		return errFenced
	}
	return nil
}

// wait has a request wait until the id is not busy, if it may, and else refuses it.
func (t *transaction) wait(now time.Time, r *request, fx *effects) {
	if r.until.IsZero() {
		r.until = now.Add(maxWait)
	}
	if len(t.waiting) >= maxWaiting || t.placesFor <= 0 || !r.until.After(now) {
		fx.answer(r, errConcurrent)
		return
	}
	t.placesFor--
	t.waiting = append(t.waiting, r)
	t.wakeAt(r.until)
}

// settle looks again at the requests that wait, in their order, when something has
// changed: what cannot go on yet waits on.
func (t *transaction) settle(now time.Time, fx *effects) {
	waiting := t.waiting
	t.waiting = nil
	t.placesFor += len(waiting)
	for _, r := range waiting {
		t.handle(now, r, fx)
	}
}

// giveUp refuses the requests that have waited long enough.
func (t *transaction) giveUp(now time.Time, fx *effects) {
	left := t.waiting[:0]
	for _, r := range t.waiting {
		if r.until.After(now) {
			left = append(left, r)
		} else {
			fx.answer(r, errConcurrent)
		}
	}
	clear(t.waiting[len(left):])
	t.waiting = left
}
