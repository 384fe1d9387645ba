package replica

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// HighWatermark, as the offset of DeleteRecords, stands for the high watermark.
const HighWatermark int64 = -1

// DeleteRecords moves the log's start to offset, so that everything below is
// deleted (KIP-107). It returns the offset as resolved and the low watermark, the
// lowest start of all live replicas, which is what the client is to hear; the
// request is done when the second has reached the first, with an only replica at
// once, else see AwaitLowWatermark.
//
// Errors wrap kerr.InvalidTopicException for an internal topic, PolicyViolation
// if the topic's cleanup.policy has no delete, OffsetOutOfRange if the offset is
// above the high watermark, and those of a broker that does not lead.
func (p *Partition) DeleteRecords(offset int64) (target, lowWatermark int64, err error) {
	target, lowWatermark, err = p.deleteRecords(offset)
	if err != nil {
		return -1, -1, err
	}
	p.watchers.moved(allMoves, nil)
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
	return offset, p.lowWatermark(r), nil
}

// lowWatermark is the lowest start of the live replicas' logs, as a leader knows
// them.
func (p *Partition) lowWatermark(r *role) int64 {
	return r.followers.lowestStart(r.log.StartOffset(), p.shared.alive)
}

// AwaitLowWatermark returns when the low watermark has reached target, and what it
// is then. Errors wrap those of a broker that does not lead, or does not any more,
// or kerr.RequestTimedOut if ctx ends first.
func (p *Partition) AwaitLowWatermark(ctx context.Context, target int64) (int64, error) {
	moved := make(signal, 1)
	p.Watch(moved, 0, 0)
	defer p.Unwatch(moved, 0)
	for {
		r := p.role.Load()
		if err := r.serve(p.tp, true, NoEpoch); err != nil {
			return -1, err
		}
		if low := p.lowWatermark(r); low >= target {
			return low, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return -1, fmt.Errorf("%v: not all replicas begin at %d yet: %w", p.tp, target, kerr.RequestTimedOut)
		}
	}
}

// signal is a Watcher that holds at most one news.
type signal chan struct{}

// Moved implements Watcher.
func (s signal) Moved(_ uint32, awaited bool) (goOn func()) {
	if !awaited {
		return nil
	}
	select {
	case s <- struct{}{}:
	default:
	}
	return nil
}
