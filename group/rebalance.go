package group

import "time"

// barrier is what the members' joins wait for in PreparingRebalance: that all have
// joined, or its deadline.
type barrier struct {
	deadline time.Time
	// initial is the first rebalance of a group that was empty. It waits for more
	// members to come, even if all that there are have joined (KIP-134).
	initial   bool
	extend    bool          // a member came meanwhile
	wait      time.Duration // the one that ends at deadline
	remaining time.Duration // by how much the waits after it may take longer
}

// rebalance begins a rebalance, unless one is being prepared.
func (g *classicGroup) rebalance(now time.Time, fx *effects) {
	if g.state == PreparingRebalance || g.state == Dead {
		return
	}
	if g.state == CompletingRebalance {
		g.failSyncs(now, errRebalancing, fx)
	}
	g.syncDeadline = time.Time{}
	g.barrier = barrier{wait: g.maxRebalanceTimeout()}
	if g.state == Empty {
		delay := g.limits.InitialRebalanceDelay
		g.barrier = barrier{initial: true, wait: delay, remaining: max(g.barrier.wait-delay, 0)}
	}
	g.transition(PreparingRebalance, now)
	g.setDeadline(&g.barrier.deadline, now.Add(g.barrier.wait))
}

// settle completes the barrier, if it can be. Each step that may have changed
// something about that ends with it.
func (g *classicGroup) settle(now time.Time, fx *effects) {
	for g.state == PreparingRebalance {
		allJoined := !g.barrier.initial && g.joining == len(g.members) && len(g.pending) == 0
		if !allJoined && g.barrier.deadline.After(now) {
			return
		}
		g.completeBarrier(now, fx)
	}
}

func (g *classicGroup) completeBarrier(now time.Time, fx *effects) {
	if b := &g.barrier; b.initial && b.extend && b.remaining > 0 {
		next := min(g.limits.InitialRebalanceDelay, b.remaining)
		b.extend, b.wait, b.remaining = false, next, max(b.remaining-b.wait, 0)
		g.setDeadline(&b.deadline, now.Add(next))
		return
	}
	g.dropAbsent(fx)
	if !g.electLeader() && len(g.members) > 0 {
		// Static members are there, and none has rejoined: wait until they do, or
		// until their sessions end.
		g.barrier = barrier{wait: max(g.maxRebalanceTimeout(), time.Millisecond)}
		g.setDeadline(&g.barrier.deadline, now.Add(g.barrier.wait))
		return
	}
	g.nextGeneration(now, fx)
}

// dropAbsent removes the dynamic members that have not rejoined. Static ones stay
// until their sessions end.
func (g *classicGroup) dropAbsent(fx *effects) {
	var absent []*member
	for _, m := range g.members {
		if m.join == nil && m.instanceID == nil {
			absent = append(absent, m)
		}
	}
	for _, m := range absent {
		g.drop(m, fx)
	}
}

// electLeader has a member lead that has rejoined. It returns false if none has.
func (g *classicGroup) electLeader() bool {
	if m := g.byID[g.leader]; m != nil && m.join != nil {
		return true
	}
	for _, m := range g.members {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

func (g *classicGroup) nextGeneration(now time.Time, fx *effects) {
	g.generation++
	if len(g.members) == 0 {
		g.protocol = ""
		g.subscribed = g.subscriptions()
		g.transition(Empty, now)
		fx.write(write{group: g.id, metadata: &groupWrite{value: g.value(nil)}, timeMS: now.UnixMilli()})
		return
	}
	g.protocol = g.selectProtocol()
	g.subscribed = g.subscriptions()
	g.transition(CompletingRebalance, now)
	g.setDeadline(&g.syncDeadline, now.Add(g.maxRebalanceTimeout()))
	for _, m := range g.members {
		// Who has not joined, a static member, cannot sync either. Kafka waits for it
		// all the same, and removes it although its session goes on.
		m.unsynced = m.join != nil
		m.isNew = false
		g.restartSession(m, now)
		if m.join != nil {
			g.answerJoin(m, g.joinResult(m), fx)
		}
	}
}

// removeUnsynced removes the members that have joined the generation and have not
// asked for their assignment in time (KAFKA-12890).
func (g *classicGroup) removeUnsynced(now time.Time, fx *effects) {
	g.syncDeadline = time.Time{}
	var late []*member
	for _, m := range g.members {
		if m.unsynced {
			late = append(late, m)
		}
	}
	for _, m := range late {
		g.drop(m, fx)
	}
	if len(late) > 0 {
		g.rebalance(now, fx)
	}
}

// remove removes a member that leaves or whose session has ended.
func (g *classicGroup) remove(now time.Time, m *member, fx *effects) {
	g.drop(m, fx)
	if g.state == Stable || g.state == CompletingRebalance {
		g.rebalance(now, fx)
	}
}
