package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// FollowerState is what a follower's Fetch request says about itself.
type FollowerState struct {
	// BrokerEpoch is that of its registration (KIP-903), −1 if it does not say.
	BrokerEpoch int64
	LogStart    int64
	// New says that the follower has just said where it is. A look that repeats an
	// earlier one, while the request waits, tells nothing new, and the broker that
	// asked may long have restarted with less.
	New bool
}

// followerFetched notes how far a follower is that fetches from this leader: it has
// everything below req.Offset. What was waiting for that happens here: the high
// watermark moves, produces are answered, the follower joins the ISR.
//
// The error wraps kerr.NotLeaderForPartition if a later incarnation of the follower
// has fetched already.
func (p *Partition) followerFetched(r *role, req *ReadRequest, leaderEnd int64) error {
	fs := r.followers
	if fs == nil {
		return nil
	}
	now := time.Now()
	fs.mu.Lock()
	f := fs.find(req.ReplicaID)
	if f == nil {
		fs.mu.Unlock()
		return nil // not reached: the replicas are among them
	}
	if epoch := req.Follower.BrokerEpoch; epoch >= 0 && epoch < f.brokerEpoch {
		newest := f.brokerEpoch
		fs.mu.Unlock()
		return fmt.Errorf("%v: fetch of broker %d with broker epoch %d, it has fetched with %d: %w", p.tp, req.ReplicaID, epoch, newest, kerr.NotLeaderForPartition)
	}
	f.brokerEpoch = max(f.brokerEpoch, req.Follower.BrokerEpoch)
	started := f.start != req.Follower.LogStart
	f.fetch(req.Follower.LogStart, req.Offset, leaderEnd, now)
	fs.mu.Unlock()
	p.followerMoved(fs, req.ReplicaID, req.Woken)
	if started {
		p.watchers.moved(allMoves, nil) // who deletes records waits for it
	}
	return nil
}

// followerMoved follows up on a fetch. If the role has changed meanwhile, the next
// leader's followers are others.
func (p *Partition) followerMoved(fs *followers, id int32, woken *Woken) {
	p.mu.RLock()
	r := p.role.Load()
	if r.followers != fs {
		p.mu.RUnlock()
		return
	}
	moved := p.advance(r)
	joins := p.joins(r, id) // against the high watermark as it is now
	p.mu.RUnlock()
	if moved {
		p.wake(r)
		p.watchers.moved(Commits, woken)
	}
	if joins {
		p.proposeISR(func(r *role) []int32 {
			if !p.joins(r, id) {
				return nil
			}
			return append(r.isr[:len(r.isr):len(r.isr)], id)
		})
	}
}

// joins reports whether the controller is to be asked to add a follower to the
// ISR. p.mu must be held shared at least.
func (p *Partition) joins(r *role, id int32) bool {
	if !r.leading || r.gone != nil || r.pending != nil || slices.Contains(r.isr, id) {
		return false
	}
	r.followers.mu.Lock()
	f := r.followers.find(id)
	ok := f != nil && mayJoin(f, r.log.HighWatermark(), r.epochStart)
	r.followers.mu.Unlock()
	return ok && p.shared.alive(id)
}
