package replica

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// TxnMarker says how a producer's transaction has ended.
type TxnMarker struct {
	ProducerID       int64
	Epoch            int16
	CoordinatorEpoch int32
	Commit           bool
}

// AppendMarker ends a transaction in the partition. done is called once: with the offset
// of the marker when all in-sync replicas have it, or with an error of Append or NotifyAt;
// perhaps before AppendMarker returns, with no lock held. It must not block. The marker
// may be in the log after an error of NotifyAt; to append it again does no harm.
func (p *Partition) AppendMarker(m TxnMarker, done func(offset int64, err error)) {
	if m.ProducerID < 0 || m.Epoch < 0 {
		why := kerr.UnknownServerError // as in Kafka, which cannot make such a marker
		if m.Epoch < record.NoProducerEpoch {
			why = kerr.InvalidProducerEpoch
		}
		done(-1, fmt.Errorf("marker of producer %d, epoch %d, for %v: there is no such producer: %w", m.ProducerID, m.Epoch, p.tp, why))
		return
	}
	epoch, _ := p.Leads()
	batch := record.EndTxnMarker(m.ProducerID, m.Epoch, m.CoordinatorEpoch, m.Commit, time.Now().UnixMilli())
	r, err := p.Append(batch, AppendRequest{Origin: record.Coordinator, Acks: AcksAll, LedSince: epoch})
	if err != nil {
		done(-1, err)
		return
	}
	if _, there := p.NotifyAt(r.LastOffset+1, r.LeaderEpoch, func(err error) { done(r.BaseOffset, err) }); there {
		done(r.BaseOffset, nil)
	}
}
