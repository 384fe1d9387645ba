package controller

import (
	"slices"

	"github.com/gracchus-mq/gracchus/zkmeta"
)

// election says why a leader is chosen, which decides who may become it.
type election int

const (
	// electOffline: the partition has no live leader. The first live replica of the
	// ISR, or, where unclean election is allowed and the ISR has none, the first
	// live replica of all; it then leads alone, and is marked as recovering
	// (KIP-704), since it may lack records.
	electOffline election = iota
	// electPreferred: the head of the assignment should lead again.
	electPreferred
	// electReassigned: the leader has to be one of the target replicas.
	electReassigned
	// electShutdown: brokers that are shutting down hand over, and leave the ISR.
	electShutdown
	// electUnclean: as electOffline, where unclean election is allowed because somebody
	// has asked for it.
	electUnclean
)

func (e election) String() string {
	return [...]string{"offline", "preferred", "reassigned", "shutdown", "unclean"}[e]
}

// candidates is what an election chooses from.
type candidates struct {
	assignment   []int32 // in preference order; for electReassigned the target
	live         func(broker int32) bool
	shuttingDown func(broker int32) bool // live, but about to go
	unclean      bool                    // of electOffline: a replica outside the ISR may lead
}

// elect chooses a leader. It returns the state to be written, in which the leader
// epoch is one higher, or false if no replica may lead. Nothing of old is changed
// or shared. The controller epoch is left for the caller to set.
func elect(why election, old zkmeta.PartitionState, c candidates) (zkmeta.PartitionState, bool) {
	first := func(fit func(int32) bool) int32 {
		if i := slices.IndexFunc(c.assignment, fit); i >= 0 {
			return c.assignment[i]
		}
		return zkmeta.NoLeader
	}
	inSync := func(id int32) bool { return c.live(id) && slices.Contains(old.ISR, id) }

	next := old
	next.ISR = slices.Clone(old.ISR)
	next.LeaderEpoch++
	switch why {
	case electOffline, electUnclean:
		if next.Leader = first(inSync); next.Leader != zkmeta.NoLeader {
			next.ISR = filter(old.ISR, c.live)
		} else if c.unclean || why == electUnclean {
			next.Leader = first(c.live)
			next.ISR = []int32{next.Leader}
			next.Recovering = true
		}
	case electPreferred:
		next.Leader = zkmeta.NoLeader
		if len(c.assignment) > 0 && inSync(c.assignment[0]) {
			next.Leader = c.assignment[0]
		}
	case electReassigned:
		next.Leader = first(inSync)
	case electShutdown:
		next.Leader = first(func(id int32) bool { return inSync(id) && !c.shuttingDown(id) })
		next.ISR = filter(old.ISR, func(id int32) bool { return !c.shuttingDown(id) })
	}
	return next, next.Leader != zkmeta.NoLeader
}

// firstState is the state of a partition that has none yet: the first live replica
// leads, and all live ones are in sync, since they are all empty. It returns false
// if none is live: then the partition stays new.
func firstState(assignment []int32, live func(int32) bool) (zkmeta.PartitionState, bool) {
	isr := filter(assignment, live)
	if len(isr) == 0 {
		return zkmeta.PartitionState{}, false
	}
	return zkmeta.PartitionState{Leader: isr[0], ISR: isr}, true
}

// withoutReplicas is the state after replicas went offline: they leave the ISR, of
// which the last member stays, so that it is known who has all records; if one of
// them led there is no leader. It returns false if nothing changes.
func withoutReplicas(old zkmeta.PartitionState, gone func(int32) bool) (zkmeta.PartitionState, bool) {
	next := old
	next.ISR = filter(old.ISR, func(id int32) bool { return !gone(id) })
	if len(next.ISR) == len(old.ISR) && !(old.Leader != zkmeta.NoLeader && gone(old.Leader)) {
		return old, false
	}
	if len(next.ISR) == 0 && len(old.ISR) > 0 {
		last := old.ISR[len(old.ISR)-1]
		if slices.Contains(old.ISR, old.Leader) {
			last = old.Leader
		}
		next.ISR = []int32{last}
	}
	if next.Leader != zkmeta.NoLeader && gone(next.Leader) {
		next.Leader = zkmeta.NoLeader
	}
	if next.Leader == old.Leader && len(next.ISR) == len(old.ISR) {
		return old, false
	}
	next.LeaderEpoch++
	return next, true
}

func filter(ids []int32, keep func(int32) bool) []int32 {
	kept := make([]int32, 0, len(ids))
	for _, id := range ids {
		if keep(id) {
			kept = append(kept, id)
		}
	}
	return kept
}
