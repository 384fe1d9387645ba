package group

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

func (w *walk) check() {
	g := w.g
	if g.generation < w.generation {
		w.t.Errorf("generation %d after %d", g.generation, w.generation)
	}
	w.generation = g.generation
	for r := range w.parked {
		if waited := w.now.Sub(r.at); waited > walkLongestRebalance+5*time.Second {
			w.t.Errorf("%s waits for %v", r.what, waited)
			delete(w.parked, r)
		}
	}
	if got, _ := g.offsets.get(protocol.TopicPartition{Topic: "t"}); got.Offset < w.acknowledged {
		w.t.Errorf("offset %d is committed, %d was acknowledged", got.Offset, w.acknowledged)
	}
	if counted := g.measure(); g.takes != counted {
		w.t.Errorf("the group takes %d bytes, and thinks that it takes %d", counted, g.takes)
	}
	joining, static := 0, 0
	for _, m := range g.members {
		if m.join != nil {
			joining++
		}
		if m.instanceID != nil {
			static++
			if g.static[*m.instanceID] != m {
				w.t.Errorf("%s is not the member with its instance id", m.id)
			}
		}
		if g.byID[m.id] != m {
			w.t.Errorf("%s is not known by its id", m.id)
		}
		if m.sync != nil && g.state != CompletingRebalance {
			w.t.Errorf("%s waits for an assignment in %v", m.id, g.state)
		}
		if m.join != nil && g.state != PreparingRebalance && (g.state != Stable || m.instanceID == nil) {
			w.t.Errorf("%s waits for the others in %v", m.id, g.state)
		}
		if m.join == nil && m.sync == nil && m.sessionLimit.IsZero() {
			w.t.Errorf("%s has no session", m.id)
		}
		if !m.sessionLimit.IsZero() && (g.wake.IsZero() || g.wake.After(m.sessionLimit)) {
			w.t.Errorf("nobody looks at the session of %s", m.id)
		}
	}
	if joining != g.joining || static != len(g.static) || len(g.byID) != len(g.members) {
		w.t.Errorf("%d are joining and %d are counted; %d of %d static members, %d of %d members are known", joining, g.joining, len(g.static), static, len(g.byID), len(g.members))
	}
	if len(g.members) == 0 && (g.leader != "" || g.state == Stable || g.state == CompletingRebalance) {
		w.t.Errorf("%v without members, led by %q", g.state, g.leader)
	}
	if len(g.members) > 0 && (g.byID[g.leader] == nil || g.state == Empty) {
		w.t.Errorf("%v with members, led by %q", g.state, g.leader)
	}
	if g.state == PreparingRebalance && (g.wake.IsZero() || g.wake.After(g.barrier.deadline)) {
		w.t.Errorf("nobody looks at the rebalance")
	}
}

// settleDown lets all sessions end: every request has been answered then, and nobody
// is left.
func (w *walk) settleDown() {
	w.pass(10 * time.Minute)
	w.check()
	for r := range w.parked {
		w.t.Errorf("%s is never answered", r.what)
	}
	if w.g.state != Empty || len(w.g.pending) > 0 || !w.g.wake.IsZero() {
		w.t.Errorf("after all have gone the group is %v, with %d pending ids, and looks again at %v", w.g.state, len(w.g.pending), w.g.wake)
	}
}
