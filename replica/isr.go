package replica

import (
	"slices"
	"time"
)

// The rules here are pure: they decide from what they are given and change
// nothing.

// highWatermark is the offset that a leader's high watermark may rise to: below
// it every replica that counts has all records. self has the leader's own log up
// to localEnd, of which the whole ends at leaderEnd.
//
// The members of the ISR count, those that an AlterPartition on its way would add
// included: the controller may have added them already. So do replicas that are
// about to join, being caught up, or the high watermark could run away from them
// for ever.
//
// Kafka keeps the high watermark where it is while the ISR is smaller than
// min.insync.replicas; that is for the caller to see to, with enoughInSync.
func highWatermark(localEnd, leaderEnd int64, maximalISR []int32, others []follower, now time.Time, lagMax time.Duration, alive func(id int32) bool) int64 {
	hw := localEnd
	for i := range others {
		f := &others[i]
		if f.end >= hw {
			continue
		}
		if slices.Contains(maximalISR, f.id) || !f.lags(leaderEnd, now, lagMax) && alive(f.id) {
			hw = f.end
		}
	}
	return hw
}

// shrinkISR returns the ISR without those who lag, in the same order, or nil if
// nobody does.
func shrinkISR(isr []int32, others []follower, leaderEnd int64, now time.Time, lagMax time.Duration) []int32 {
	var next []int32
	for i := range others {
		f := &others[i]
		if !slices.Contains(isr, f.id) || !f.lags(leaderEnd, now, lagMax) {
			continue
		}
		if next == nil {
			next = slices.Clone(isr)
		}
		next = slices.DeleteFunc(next, func(id int32) bool { return id == f.id })
	}
	return next
}

// mayJoin reports whether a follower has what every member of the ISR must have:
// all that is committed, and, so that its history is this leader's, all that was
// there when the leader's epoch began.
func mayJoin(f *follower, hw, epochStart int64) bool {
	return f.end >= hw && f.end >= epochStart
}

// enoughInSync reports whether an ISR satisfies min.insync.replicas. A topic
// with fewer replicas than that asks for all of them.
func enoughInSync(isr, replicas int, minInSync int32) bool {
	return isr >= min(int(minInSync), replicas)
}
