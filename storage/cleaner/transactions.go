package cleaner

import (
	"slices"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// transactions follows the transactions of a log from batch to batch, and says what of
// them can go: the records of an aborted one at once, a marker only when no batch of
// its transaction is left before it, for whoever read such a batch waits for the
// marker.
type transactions struct {
	known     []commitlog.AbortedTxn // not begun yet, ascending by first offset
	aborted   map[int64]*abortedTxn  // begun, by producer
	committed map[int64]bool         // producers with a batch of a transaction that is not aborted
	// retained, if set, is told of every aborted transaction that stays in the
	// transaction index, in the order of their markers.
	retained func(commitlog.AbortedTxn) error
}

type abortedTxn struct {
	commitlog.AbortedTxn
	seen bool // a batch of it
}

func newTransactions() *transactions {
	return &transactions{aborted: map[int64]*abortedTxn{}, committed: map[int64]bool{}}
}

// expect adds aborted transactions from the log's index. One may be added again as long
// as its marker is still to come.
func (t *transactions) expect(txns []commitlog.AbortedTxn) {
	for _, txn := range txns {
		i, _ := slices.BinarySearchFunc(t.known, txn, func(a, b commitlog.AbortedTxn) int {
			if a.FirstOffset < b.FirstOffset {
				return -1
			}
			return 1 // behind its equals
		})
		t.known = slices.Insert(t.known, i, txn)
	}
}

// begin begins the aborted transactions up to offset.
func (t *transactions) begin(offset int64) {
	n := 0
	for ; n < len(t.known) && t.known[n].FirstOffset <= offset; n++ {
		if id := t.known[n].ProducerID; t.aborted[id] == nil {
			t.aborted[id] = &abortedTxn{AbortedTxn: t.known[n]}
		}
	}
	t.known = slices.Delete(t.known, 0, n)
}

// data takes a data batch into account and reports whether it was aborted.
func (t *transactions) data(b record.Batch) bool {
	t.begin(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if txn := t.aborted[b.ProducerID()]; txn != nil {
		txn.seen = true
		return true
	}
	t.committed[b.ProducerID()] = true
	return false
}

// marker takes a control batch into account and reports whether it has done its duty:
// nothing of its transaction was before it.
func (t *transactions) marker(b record.Batch) (done bool, err error) {
	t.begin(b.LastOffset())
	if b.Count() == 0 {
		return true, nil // emptied by an earlier compaction
	}
	m, ok, err := record.ParseMarker(b)
	if err != nil || !ok {
		return false, err
	}
	id := b.ProducerID()
	if m.Type == record.ControlCommit {
		done = !t.committed[id]
		delete(t.committed, id)
		return done, nil
	}
	txn := t.aborted[id]
	delete(t.aborted, id)
	if txn == nil || !txn.seen {
		return true, nil
	}
	if t.retained != nil {
		err = t.retained(txn.AbortedTxn)
	}
	return false, err
}
