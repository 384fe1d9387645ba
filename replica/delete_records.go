package replica

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// HighWatermark, as the offset of DeleteRecords, stands for the high watermark.
const HighWatermark int64 = -1

// DeleteRecords moves the log's start to offset, so that everything below is
// deleted (KIP-107). It returns the offset as resolved and the low watermark, the
// lowest start of all replicas, which is what the client is to hear; the request
// is done when the second has reached the first, with an only replica at once.
//
// Errors wrap kerr.InvalidTopicException for an internal topic, PolicyViolation
// if the topic's cleanup.policy has no delete, OffsetOutOfRange if the offset is
// above the high watermark, and those of a broker that does not lead.
func (p *Partition) DeleteRecords(offset int64) (target, lowWatermark int64, err error) {
	target, lowWatermark, err = p.deleteRecords(offset)
	if err != nil {
		return -1, -1, err
	}
	p.watchers.moved()
	return target, lowWatermark, nil
}

func (p *Partition) deleteRecords(offset int64) (target, lowWatermark int64, err error) {
	if protocol.IsInternalTopic(p.tp.Topic) {
		return -1, -1, fmt.Errorf("delete records of internal topic %s: %w", p.tp.Topic, kerr.InvalidTopicException)
	}
	p.mu.RLock() // the role must be the same when the start moves
	defer p.mu.RUnlock()
	r := p.role.Load()
	if err := r.serve(p.tp, true, NoEpoch); err != nil {
		return -1, -1, err
	}
	if !r.log.Config().Delete {
		return -1, -1, fmt.Errorf("delete records of %v: cleanup.policy has no delete: %w", p.tp, kerr.PolicyViolation)
	}
	hw := r.log.HighWatermark()
	if offset == HighWatermark {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return -1, -1, fmt.Errorf("delete records of %v below %d, the high watermark is %d: %w", p.tp, offset, hw, kerr.OffsetOutOfRange)
	}
	if err := r.log.AdvanceStartOffset(offset); err != nil {
		return -1, -1, p.explain(err)
	}
	return offset, r.log.StartOffset(), nil
}
