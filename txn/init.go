package txn

import "time"

// init gives the id's producer an epoch that no other has, and so ends whatever other
// producer used the id. A transaction that is open is aborted first.
func (t *transaction) init(now time.Time, r *request, fx *effects) {
	switch {
	case t.change != nil:
		t.wait(now, r, fx)
	case !t.continues(r):
		fx.answer(r, errFenced)
	case t.state.prepared():
		t.wait(now, r, fx)
	case t.state == Ongoing:
		t.fence(now, r, fx)
	case t.needsID(r):
		if r.fresh == NoProducerID {
			fx.fresh = append(fx.fresh, r)
			return
		}
		t.begin(now, r, fx)
	default:
		t.bump(now, r, fx)
	}
}

// continues reports whether a request may go on from what it gives (KIP-360): nothing,
// the producer that there is, or the one before whose epochs are used up, as the retry
// of a request that was not heard the answer of.
func (t *transaction) continues(r *request) bool {
	return r.producerID == NoProducerID || !t.known || r.producerID == t.producerID ||
		r.producerID == t.previousID && r.epoch >= lastEpoch
}

// needsID reports whether the producer is to be another: there is none yet, or its
// epochs are used up.
func (t *transaction) needsID(r *request) bool {
	return !t.known || t.epoch >= lastEpoch && (r.producerID == NoProducerID || r.epoch == t.epoch)
}

// begin gives the id a new producer.
func (t *transaction) begin(now time.Time, r *request, fx *effects) {
	previous := NoEpoch
	if r.producerID != NoProducerID {
		previous = t.epoch
	}
	t.reset(now, r, r.fresh, 0, previous, fx)
}

// bump gives the producer its next epoch, or the same answer again.
func (t *transaction) bump(now time.Time, r *request, fx *effects) {
	switch {
	case r.producerID == NoProducerID:
		t.reset(now, r, t.producerID, t.epoch+1, NoEpoch, fx)
	case r.epoch == t.epoch:
		t.reset(now, r, t.producerID, t.epoch+1, t.epoch, fx)
	case r.epoch == t.previousEpoch:
		// No other producer has come since: its epoch would have been without a previous.
		t.reset(now, r, t.producerID, t.epoch, t.previousEpoch, fx)
	default:
		fx.answer(r, errFenced)
	}
}

func (t *transaction) reset(now time.Time, r *request, producerID int64, epoch, previous int16, fx *effects) {
	c := t.changeTo(now, value{producerID: producerID, epoch: epoch, timeoutMS: r.timeoutMS, state: Empty, startMS: -1}, r, fx)
	c.previousID, c.previousEpoch = t.producerID, previous
}

// fence aborts the transaction in the name of the next epoch, which no producer is ever
// told, so that the producer that has the present one can do nothing more.
func (t *transaction) fence(now time.Time, by *request, fx *effects) {
	to := t.value
	to.state = PrepareAbort
	if to.epoch <= lastEpoch {
		to.epoch++
	}
	c := t.changeTo(now, to, by, fx)
	c.previousEpoch = NoEpoch
}
