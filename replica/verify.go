package replica

import (
	"time"

	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
)

// Verification is a transaction of which its coordinator is asked whether it is open in a
// partition, before its first batch is appended; see producerstate.Verification. The zero
// value asks for nothing.
type Verification struct {
	log        *commitlog.Log
	producerID int64
	pending    *producerstate.Verification
}

// BeginVerification says whether the coordinator is to be asked before a batch of a
// producer's transaction can be appended: then End has to be called with what it said, and
// Append after that. sequence is the batch's, record.NoSequence if it has none. Errors are
// those of Append by role.
func (p *Partition) BeginVerification(producerID int64, epoch int16, sequence int32) (v Verification, needed bool, err error) {
	r := p.role.Load()
	if err := r.serve(p.tp, true, NoEpoch); err != nil {
		return Verification{}, false, err
	}
	v = Verification{r.log, producerID, r.log.BeginVerification(producerID, epoch, sequence, time.Now())}
	return v, v.pending != nil, nil
}

// End notes whether the transaction is open.
func (v Verification) End(open bool) { v.log.EndVerification(v.producerID, v.pending, open) }
