package replica

import "time"

// enoughInSync reports whether the ISR satisfies min.insync.replicas.
func (r *role) enoughInSync() bool {
	return enoughInSync(len(r.isr), len(r.replicas), r.log.Config().MinInsyncReplicas)
}

// advance raises a leader's high watermark as far as it may go, and reports
// whether it moved. p.mu must be held shared at least: after a change of the role
// the new leader decides.
func (p *Partition) advance(r *role) (moved bool) {
	if !r.leading || r.gone != nil || !r.enoughInSync() {
		return false
	}
	hw := r.localEnd()
	if fs := r.followers; fs != nil {
		now, leaderEnd := time.Now(), r.log.EndOffset()
		fs.mu.Lock()
		hw = highWatermark(hw, leaderEnd, r.maximalISR(), fs.all, now, p.shared.lagMax, p.shared.alive)
		fs.mu.Unlock()
	}
	before := r.log.HighWatermark()
	return hw > before && r.log.AdvanceHighWatermark(hw) > before
}

// localEnd is the end of the leader's own log as far as it counts for the high
// watermark. With flush.messages=1 only what survives a power loss counts.
func (r *role) localEnd() int64 {
	if r.log.Config().FlushMessages <= 1 {
		return min(r.log.SyncedOffset(), r.log.EndOffset())
	}
	return r.log.EndOffset()
}

// localMoved follows up on a move of this broker's own log, after an append or an
// fsync: it advances the high watermark, if this broker leads, and wakes those
// who wait.
func (p *Partition) localMoved() {
	p.mu.RLock()
	r := p.role.Load()
	moved := p.advance(r)
	p.mu.RUnlock()
	if moved {
		p.wake(r)
		p.watchers.moved(Commits, nil)
	}
}
