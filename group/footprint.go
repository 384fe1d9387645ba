package group

import "github.com/gracchus-mq/gracchus/protocol"

// What groups take in memory, about, without the bytes of strings and metadata.
// TestFootprint compares it with what the runtime says.
const (
	groupFootprint    = 900
	memberFootprint   = 450
	protocolFootprint = 56
	pendingFootprint  = 110
	offsetFootprint   = 150
)

// footprint is what the group takes in memory, in bytes. It is kept up to date with
// every change of what can grow: members, what they say and were assigned, ids that
// were given out, offsets, and assignments on their way to the log.
type footprint int

// protocolsFootprint is what a member keeps of what it lists.
func protocolsFootprint(protocols []Protocol) (n footprint) {
	for _, p := range protocols {
		n += protocolFootprint + footprint(len(p.Name)+len(p.Metadata))
	}
	return n
}

func (m *member) footprint() footprint {
	n := memberFootprint + footprint(len(m.id)+len(m.clientID)+len(m.clientHost)+len(m.assignment))
	if m.instanceID != nil {
		n += footprint(len(*m.instanceID))
	}
	return n + protocolsFootprint(m.protocols)
}

func pendingIDFootprint(id string) footprint { return pendingFootprint + footprint(len(id)) }

func offsetsFootprint(topic, metadata string) footprint {
	return offsetFootprint + footprint(len(topic)+len(metadata))
}

func (w *groupWrite) footprint() (n footprint) {
	if w == nil {
		return 0
	}
	for i := range w.value.members {
		n += footprint(len(w.value.members[i].assignment))
	}
	return n
}

// change changes a member of the group.
func (g *classicGroup) change(m *member, f func()) {
	g.takes -= m.footprint()
	f()
	g.takes += m.footprint()
}

func (g *classicGroup) setStoring(w *groupWrite) {
	g.takes += w.footprint() - g.storing.footprint()
	g.storing = w
}

func (g *classicGroup) setOffset(tp protocol.TopicPartition, o storedOffset) {
	if old, ok := g.offsets[tp]; ok {
		g.takes -= offsetsFootprint(tp.Topic, old.Metadata)
	}
	g.takes += offsetsFootprint(tp.Topic, o.Metadata)
	g.offsets[tp] = o
}

// dropOffset reports whether there was one.
func (g *classicGroup) dropOffset(tp protocol.TopicPartition) bool {
	old, ok := g.offsets[tp]
	if ok {
		g.takes -= offsetsFootprint(tp.Topic, old.Metadata)
		delete(g.offsets, tp)
	}
	return ok
}

// measure counts anew.
func (g *classicGroup) measure() footprint {
	n := groupFootprint + footprint(len(g.id)) + g.storing.footprint()
	for _, m := range g.members {
		n += m.footprint()
	}
	for id := range g.pending {
		n += pendingIDFootprint(id)
	}
	for tp, o := range g.offsets {
		n += offsetsFootprint(tp.Topic, o.Metadata)
	}
	for _, pending := range g.transactions {
		for tp, o := range pending {
			n += offsetsFootprint(tp.Topic, o.Metadata)
		}
	}
	return n
}

// mayGrow reports whether there is room for n bytes more; what grows by nothing needs
// none.
func (g *classicGroup) mayGrow(n footprint, fx *effects) bool {
	if n <= 0 || int(n) <= g.room {
		return true
	}
	fx.noRoom = true
	return false
}

// joinGrowth is by how much a join may have the group grow.
func (g *classicGroup) joinGrowth(r *JoinRequest) footprint {
	m := g.byID[r.MemberID]
	if r.MemberID == "" && r.InstanceID != nil {
		m = g.static[*r.InstanceID]
	}
	listed := protocolsFootprint(r.Protocols)
	switch {
	case m != nil:
		return listed - protocolsFootprint(m.protocols)
	case r.MemberID == "" && r.InstanceID == nil && r.TwoSteps:
		return pendingIDFootprint(r.ClientID)
	}
	return memberFootprint + footprint(len(r.ClientID)+len(r.ClientHost)) + listed
}

// syncGrowth is by how much new assignments have the group grow.
func (g *classicGroup) syncGrowth(assignments []Assignment) (n footprint) {
	for _, a := range assignments {
		n += footprint(len(a.Assignment))
	}
	for _, m := range g.members {
		n -= footprint(len(m.assignment))
	}
	return n
}

// commitGrowth is by how much a commit has the group grow. As long as there is much
// room nobody wants to know it exactly.
func (g *classicGroup) commitGrowth(c *Commit) (n footprint) {
	for i := range c.Offsets {
		n += offsetsFootprint(c.Offsets[i].Topic, c.Offsets[i].Metadata)
	}
	if int(n) <= g.room {
		return n
	}
	for i := range c.Offsets {
		o := &c.Offsets[i]
		if old, ok := g.offsets[protocol.TopicPartition{Topic: o.Topic, Partition: o.Partition}]; ok {
			n -= offsetsFootprint(o.Topic, old.Metadata)
		}
	}
	return n
}
