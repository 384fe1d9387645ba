package group

import (
	"cmp"
	"slices"
	"time"
)

// due is something whose time has come.
type due struct {
	at        time.Time
	m         *member // its session has ended
	pendingID string  // the id is forgotten
	sync      bool    // the time to sync has ended
}

// tick does what is due, the earliest first, and sets wake anew. It may be called at
// any time.
func (g *classicGroup) tick(now time.Time, fx *effects) {
	list := g.collectDue(now)
	slices.SortFunc(list, func(a, b due) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.pendingID, b.pendingID))
	})
	for _, d := range list {
		switch {
		case d.sync:
			if d.at.Equal(g.syncDeadline) {
				g.removeUnsynced(now, fx)
			}
		case d.m != nil:
			g.sessionEnded(now, d.m, d.at, fx)
		default:
			g.dropPending(d.pendingID)
		}
		g.settle(now, fx)
	}
	g.settle(now, fx)
	g.resetWake()
}

func (g *classicGroup) collectDue(now time.Time) (list []due) {
	has := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	if has(g.syncDeadline) {
		list = append(list, due{at: g.syncDeadline, sync: true})
	}
	for _, m := range g.members {
		if has(m.sessionLimit) {
			list = append(list, due{at: m.sessionLimit, m: m})
		}
	}
	for id, at := range g.pending {
		if has(at) {
			list = append(list, due{at: at, pendingID: id})
		}
	}
	return list
}

// sessionEnded removes a member that was not heard of in time. One that waits for an
// answer of ours is not late; its session begins again with the answer. Only the
// first join may not wait for ever: its client may be gone, and come back as another
// member.
func (g *classicGroup) sessionEnded(now time.Time, m *member, at time.Time, fx *effects) {
	if g.byID[m.id] != m || !m.sessionLimit.Equal(at) {
		return
	}
	m.sessionLimit = time.Time{}
	if !m.isNew && (m.join != nil || m.sync != nil) {
		return
	}
	g.remove(now, m, fx)
}

// resetWake finds the earliest deadline.
func (g *classicGroup) resetWake() {
	g.wake = time.Time{}
	if g.state == PreparingRebalance {
		g.wakeAt(g.barrier.deadline)
	}
	if !g.syncDeadline.IsZero() {
		g.wakeAt(g.syncDeadline)
	}
	for _, m := range g.members {
		if !m.sessionLimit.IsZero() {
			g.wakeAt(m.sessionLimit)
		}
	}
	for _, at := range g.pending {
		g.wakeAt(at)
	}
}
