package txn

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// add has the transaction be in more partitions, and begins one if none is open.
func (t *transaction) add(now time.Time, r *request, fx *effects) {
	err := t.checkProducer(r.producerID, r.epoch)
	switch {
	case err != nil:
		fx.answer(r, err)
	case t.busy():
		t.wait(now, r, fx)
	case t.state == Ongoing && t.has(r.partitions...):
		fx.answer(r, nil)
	case !t.mayGrow(r.partitions, fx):
		fx.answer(r, kerr.CoordinatorNotAvailable)
	default:
		to := t.value
		to.state = Ongoing
		to.partitions = sorted(slices.Concat(t.partitions, r.partitions))
		if t.state != Ongoing {
			to.startMS = now.UnixMilli()
		}
		t.changeTo(now, to, r, fx)
	}
}

// verify says of each partition whether the transaction is in it (KIP-890): the error
// is for all. It does not look at what is on its way to the log: a producer writes when
// it was answered.
func (t *transaction) verify(producerID int64, epoch int16, partitions []Verified) error {
	if t.state == Dead {
		return errIDMapping
	}
	if err := t.checkProducer(producerID, epoch); err != nil {
		return err
	}
	if t.state.prepared() {
		return errConcurrent
	}
	for i := range partitions {
		if !t.has(partitions[i].TopicPartition) {
			partitions[i].Err = kerr.TransactionAbortable
		}
	}
	return nil
}

// Verified is a partition of which it is asked whether a transaction is in it.
type Verified struct {
	protocol.TopicPartition
	Err error // kerr.TransactionAbortable if it is not
}
