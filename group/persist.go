package group

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

// value is the group's metadata as it is stored, with the given assignments; a member
// without one gets an empty one. Without assignments they are those that the members
// have.
func (g *classicGroup) value(assignments map[string][]byte) groupValue {
	v := groupValue{protocolType: g.protocolType, generation: g.generation, stateMS: g.stateMS}
	if len(g.members) == 0 {
		return v
	}
	protocol, leader := g.protocol, g.leader
	v.protocol, v.leader = &protocol, &leader
	v.members = make([]memberValue, len(g.members))
	for i, m := range g.members {
		assignment := m.assignment
		if assignments != nil {
			assignment = assignments[m.id]
		}
		v.members[i] = memberValue{
			id:                 m.id,
			instanceID:         m.instanceID,
			clientID:           m.clientID,
			clientHost:         m.clientHost,
			rebalanceTimeoutMS: int32(m.rebalanceTimeout.Milliseconds()),
			sessionTimeoutMS:   int32(m.sessionTimeout.Milliseconds()),
			subscription:       m.metadata(g.protocol),
			assignment:         assignment,
		}
	}
	return v
}

// loadedClassicGroup returns a group as it was found in the log: meta is nil if there
// are only offsets. Its members' sessions begin anew. Members that had only joined are
// not known, and rejoin when they hear of it.
func loadedClassicGroup(id string, limits *Limits, l *loadedGroup, now time.Time, fx *effects) *classicGroup {
	g := newClassicGroup(id, limits, now)
	g.offsets = l.offsets
	for producerID, offsets := range l.transactions {
		g.transaction(producerID).offsets = offsets
	}
	g.takes = g.measure()
	if l.meta == nil {
		return g
	}
	v := l.meta
	g.protocolType, g.generation, g.stateMS = v.protocolType, v.generation, v.stateMS
	if v.protocol != nil {
		g.protocol = *v.protocol
	}
	for i := range v.members {
		g.restore(&v.members[i], now)
	}
	if len(g.members) > 0 {
		g.state = Stable
		if v.leader != nil && g.byID[*v.leader] != nil {
			g.leader = *v.leader
		}
	}
	g.subscribed = g.subscriptions()
	if len(g.members) > limits.MaxSize {
		g.rebalance(now, fx)
		g.settle(now, fx)
	}
	return g
}

// restore adds a member that was stored. Its group's protocol is the only one that is
// known of it.
func (g *classicGroup) restore(v *memberValue, now time.Time) {
	if g.byID[v.id] != nil {
		return
	}
	m := &member{
		id:               v.id,
		instanceID:       v.instanceID,
		clientID:         v.clientID,
		clientHost:       v.clientHost,
		rebalanceTimeout: time.Duration(v.rebalanceTimeoutMS) * time.Millisecond,
		sessionTimeout:   time.Duration(v.sessionTimeoutMS) * time.Millisecond,
		protocols:        []Protocol{{g.protocol, v.subscription}},
		assignment:       v.assignment,
	}
	if m.rebalanceTimeout <= 0 {
		m.rebalanceTimeout = m.sessionTimeout
	}
	if m.instanceID != nil && g.static[*m.instanceID] != nil {
		m.instanceID = nil
	}
	g.insert(m)
	g.restartSession(m, now)
}

// resign ends the group's life here: another broker coordinates it from now on.
func (g *classicGroup) resign(now time.Time, fx *effects) {
	for _, m := range g.members {
		g.answerJoin(m, JoinResult{Err: errNotCoordinator, MemberID: m.id, Generation: NoGeneration}, fx)
		g.answerSync(m, SyncResult{Err: errNotCoordinator}, fx)
	}
	g.setStoring(nil)
	g.transition(Dead, now)
	g.wake = time.Time{}
}

// storedOffset is an offset that is in the log.
type storedOffset struct {
	OffsetValue
	at int64 // the base offset of its batch: of two commits the later in the log counts
}

// loadedGroup is what the log says of a group.
type loadedGroup struct {
	meta         *groupValue
	offsets      offsetTable
	transactions map[int64]map[protocol.TopicPartition]storedOffset
}
