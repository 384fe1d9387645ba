package txn

import "time"

// end decides the transaction, for its producer.
func (t *transaction) end(now time.Time, r *request, fx *effects) {
	err := t.checkProducer(r.producerID, r.epoch)
	prepared, complete := PrepareAbort, CompleteAbort
	if r.commit {
		prepared, complete = PrepareCommit, CompleteCommit
	}
	switch {
	case err != nil:
		fx.answer(r, err)
	case t.change != nil || t.state == prepared: // it asks again, and hears when it is done
		t.wait(now, r, fx)
	case t.state == Ongoing:
		to := t.value
		to.state = prepared
		t.changeTo(now, to, r, fx)
	case t.state == complete:
		fx.answer(r, nil)
	default:
		fx.answer(r, errTxnState)
	}
}

// marked goes on when every partition has its marker, or is not there any more.
func (t *transaction) marked(now time.Time, fx *effects) {
	if !t.state.prepared() || t.change != nil {
		return // it has resigned
	}
	to := t.value
	to.state, to.partitions = CompleteAbort, nil
	if t.state == PrepareCommit {
		to.state = CompleteCommit
	}
	t.changeTo(now, to, nil, fx)
}

// timeOut aborts the transaction if it is open for longer than its producer allowed, and
// reports whether it is.
func (t *transaction) timeOut(now time.Time, fx *effects) bool {
	if t.state != Ongoing || t.change != nil || t.startMS+int64(t.timeoutMS) >= now.UnixMilli() {
		return false
	}
	t.fence(now, nil, fx)
	return true
}
