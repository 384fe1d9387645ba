package group

import "github.com/gracchus-mq/gracchus/protocol"

// What groups take in memory, about, without the bytes of strings and metadata.
// TestFootprint compares it with what the runtime says.
const (
	groupFootprint    = 900
	memberFootprint   = 450
	protocolFootprint = 56
	pendingFootprint  = 110
	topicFootprint    = 150 // of which there are offsets
	offsetFootprint   = 42
	rareFootprint     = 30  // fields that few offsets have
	openFootprint     = 150 // an offset of a transaction that has not ended
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

func topicsFootprint(topic string) footprint { return topicFootprint + footprint(len(topic)) }

// footprint is what the i-th offset takes beside its topic.
func (of *topicOffsets) footprint(i int) footprint { return offsetsFootprint(of.rareAt(i)) }

func offsetsFootprint(f rareFields) footprint {
	if f == noRareFields {
		return offsetFootprint
	}
	return offsetFootprint + rareFootprint + footprint(len(f.metadata))
}

func openOffsetFootprint(topic, metadata string) footprint {
	return openFootprint + footprint(len(topic)+len(metadata))
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

// dropOffset reports whether there was one.
func (g *classicGroup) dropOffset(tp protocol.TopicPartition) bool {
	before := g.offsets.takes
	dropped := g.offsets.remove(tp)
	g.takes += g.offsets.takes - before
	return dropped
}

// measure counts anew.
func (g *classicGroup) measure() footprint {
	n := groupFootprint + footprint(len(g.id)) + g.storing.footprint() + g.offsets.measure()
	for _, m := range g.members {
		n += m.footprint()
	}
	for id := range g.pending {
		n += pendingIDFootprint(id)
	}
	for _, t := range g.transactions {
		for tp, o := range t.offsets {
			n += openOffsetFootprint(tp.Topic, o.Metadata)
		}
	}
	return n
}

// measure counts anew.
func (t *offsetTable) measure() (n footprint) {
	for topic, of := range t.topics {
		n += topicsFootprint(topic)
		for i := range of.entries {
			n += of.footprint(i)
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
	if c.Producer != nil {
		for i := range c.Offsets {
			n += openOffsetFootprint(c.Offsets[i].Topic, c.Offsets[i].Metadata)
		}
		return n
	}
	if n = g.growth(c, &offsetTable{}); int(n) <= g.room {
		return n
	}
	return g.growth(c, &g.offsets)
}

// growth is by how much a commit has a table grow, or less if it names a topic or a
// partition in more than one place.
func (g *classicGroup) growth(c *Commit, table *offsetTable) (n footprint) {
	for i := range c.Offsets {
		o := &c.Offsets[i]
		if (i == 0 || c.Offsets[i-1].Topic != o.Topic) && !table.has(o.Topic) {
			n += topicsFootprint(o.Topic)
		}
		n += offsetsFootprint(rareFields{o.Metadata, o.ExpireMS})
		if old, ok := table.get(o.TopicPartition()); ok {
			n -= offsetsFootprint(rareFields{old.Metadata, old.ExpireMS})
		}
	}
	return n
}
