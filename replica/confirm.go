package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// confirmPause is how long who could not be confirmed waits before it is tried again, with
// the in-sync replicas as they are then.
const confirmPause = 50 * time.Millisecond

// ConfirmLeader returns nil when no other broker has led the partition since before the
// call: what this leader knows then is the newest that there is. A leader that was
// replaced while it was paused, or cut off, does not know it; but whoever has replaced it
// was in sync, so that it is enough to ask those who are (Raft's ReadIndex). It needs no
// clock. A leader that is alone in sync asks nobody. Whom an unclean election chooses is
// not asked.
//
// While somebody does not answer it asks on: the in-sync replicas may soon be others.
// The error wraps kerr.NotLeaderForPartition if this broker does not lead any more, or has
// not led without a break since epoch, or if it is not sure of it before ctx ends.
func (p *Partition) ConfirmLeader(ctx context.Context, epoch int32) error {
	for {
		r := p.role.Load()
		if !r.ledSince(epoch) {
			return fmt.Errorf("%v: leader epoch %d has ended: %w", p.tp, epoch, kerr.NotLeaderForPartition)
		}
		err := p.confirm(ctx, r)
		if err == nil || errors.Is(err, errReplaced) {
			return err
		}
		select {
		case <-time.After(confirmPause):
		case <-ctx.Done():
			return fmt.Errorf("%v: nobody knows whether leader epoch %d goes on: %w: %w", p.tp, r.leaderEpoch, err, kerr.NotLeaderForPartition)
		}
	}
}

// confirm asks all who are in sync in a role.
func (p *Partition) confirm(ctx context.Context, r *role) error {
	if p.shared.inquiries == nil {
		return nil // alone
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // or the others would be asked for nobody
	var asked []inquiry
	for _, id := range r.maximalISR() {
		if id != p.shared.broker {
			asked = append(asked, p.shared.inquiries.ask(ctx, id, p.tp, r.leaderEpoch))
		}
	}
	for _, q := range asked {
		select {
		case err := <-q.answer:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
