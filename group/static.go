package group

import "time"

// replacement is a static member that came back under a new id, while its group was
// stable.
type replacement struct {
	m          *member
	newID      string
	oldID      string
	generation int32
	oldLeader  string
	canSkip    bool
	before     member // what the join has changed
}

// replace gives a static member that joins anew a new id. What it was assigned is
// still its own: unless another protocol is to be selected, a stable group goes on
// (KIP-345).
func (g *classicGroup) replace(now time.Time, m *member, r *JoinRequest, newID string, reply func(JoinResult), fx *effects) {
	x := &replacement{m: m, newID: newID, oldID: m.id, generation: g.generation, oldLeader: g.leader, canSkip: r.CanSkipAssignment, before: *m}
	g.answerJoin(m, JoinResult{Err: errFenced, MemberID: m.id, Generation: NoGeneration}, fx)
	g.answerSync(m, SyncResult{Err: errFenced}, fx)
	g.change(m, func() {
		g.rename(m, newID)
		m.take(r)
	})
	g.restartSession(m, now)
	m.unsynced = false // that was about the one before
	g.parkJoin(m, reply, fx)
	switch {
	case g.state == CompletingRebalance: // the leader may know the old id
		g.rebalance(now, fx)
	case g.state == Stable && g.selectProtocol() != g.protocol:
		g.rebalance(now, fx)
	case g.state == Stable:
		w := &groupWrite{value: g.value(nil), returned: x}
		fx.write(write{group: g.id, metadata: w, timeMS: now.UnixMilli()})
	}
}

func (g *classicGroup) rename(m *member, id string) {
	delete(g.byID, m.id)
	if g.leader == m.id {
		g.leader = id
	}
	m.id = id
	g.byID[id] = m
}

// returnStored answers a static member that came back. If a rebalance has begun
// meanwhile, its join is one of those that the barrier will answer; if it has come back
// once more, or is gone, it has been answered.
func (g *classicGroup) returnStored(now time.Time, w *groupWrite, err error, fx *effects) {
	x := w.returned
	m := x.m
	if g.state != Stable || g.generation != x.generation || g.byID[x.newID] != m || m.join == nil {
		return
	}
	if err != nil {
		g.answerJoin(m, JoinResult{Err: err, Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, Leader: x.oldLeader}, fx)
		g.change(m, func() {
			g.rename(m, x.oldID)
			m.protocols, m.sessionTimeout, m.rebalanceTimeout = x.before.protocols, x.before.sessionTimeout, x.before.rebalanceTimeout
		})
		g.restartSession(m, now)
		return
	}
	result := g.joinResult(m)
	if result.SkipAssignment = x.canSkip && m.id == g.leader; !result.SkipAssignment {
		// Told that it leads, an older client would assign, and nobody would hear of it.
		result.Members = nil
		if !x.canSkip {
			result.Leader = x.oldLeader
		}
	}
	g.answerJoin(m, result, fx)
	g.restartSession(m, now)
}
