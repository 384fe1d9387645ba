package group

import (
	"bytes"
	"slices"
	"time"
)

// newMemberTimeout is how long a new member's join may wait. Its session begins only
// when the join is answered, because it cannot send heartbeats before.
const newMemberTimeout = 5 * time.Minute

// Protocol is one that a member can follow, an assignor of consumers, and what it
// says about itself in it.
type Protocol struct {
	Name     string
	Metadata []byte
}

// member is a member of a group.
type member struct {
	id           string
	instanceID   *string // nil of a dynamic member
	clientID     string
	clientHost   string
	sessionLimit time.Time // when the session ends; zero while a request is parked

	rebalanceTimeout time.Duration
	sessionTimeout   time.Duration
	protocols        []Protocol // in the order of preference
	assignment       []byte

	isNew    bool             // its first join has not been answered yet
	unsynced bool             // it has joined the generation and not sent a sync yet
	join     func(JoinResult) // the reply to a parked join, nil if there is none
	sync     func(SyncResult) // the reply to a parked sync, nil if there is none
}

func (m *member) lists(protocol string) bool {
	return slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == protocol })
}

// metadata is what the member says about itself in a protocol that it lists.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// sameProtocols reports whether a join changes nothing about what the member lists.
func (m *member) sameProtocols(protocols []Protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// take takes over what a join says.
func (m *member) take(r *JoinRequest) {
	m.protocols = make([]Protocol, len(r.Protocols))
	for i, p := range r.Protocols {
		m.protocols[i] = Protocol{p.Name, bytes.Clone(p.Metadata)}
	}
	m.sessionTimeout = r.SessionTimeout
	// A member without time to rejoin could never be in a group with others.
	m.rebalanceTimeout = r.RebalanceTimeout
	if m.rebalanceTimeout <= 0 {
		m.rebalanceTimeout = m.sessionTimeout
	}
}

// restartSession has the member's session begin anew.
func (g *classicGroup) restartSession(m *member, now time.Time) {
	g.setDeadline(&m.sessionLimit, now.Add(m.sessionTimeout))
}

// insert adds a member.
func (g *classicGroup) insert(m *member) {
	g.takes += m.footprint()
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instanceID != nil {
		g.static[*m.instanceID] = m
	}
	if g.leader == "" {
		g.leader = m.id
	}
}

// drop removes a member and answers what it has parked.
func (g *classicGroup) drop(m *member, fx *effects) {
	g.answerJoin(m, JoinResult{Err: errUnknownMember, Generation: NoGeneration}, fx)
	g.answerSync(m, SyncResult{Err: errUnknownMember}, fx)
	g.takes -= m.footprint()
	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	delete(g.byID, m.id)
	if m.instanceID != nil {
		delete(g.static, *m.instanceID)
	}
	if g.leader == m.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// parkJoin keeps a join until the barrier is done. An earlier one of the same member,
// which its client has given up, is answered.
func (g *classicGroup) parkJoin(m *member, reply func(JoinResult), fx *effects) {
	g.answerJoin(m, JoinResult{Err: errRebalancing, MemberID: m.id, Generation: NoGeneration}, fx)
	m.join = reply
	g.joining++
}

// answerJoin answers the member's parked join, if there is one.
func (g *classicGroup) answerJoin(m *member, result JoinResult, fx *effects) {
	if m.join != nil {
		fx.joined(m.join, result)
		m.join = nil
		g.joining--
	}
}

// answerSync answers the member's parked sync, if there is one, and reports whether
// there was.
func (g *classicGroup) answerSync(m *member, result SyncResult, fx *effects) bool {
	if m.sync == nil {
		return false
	}
	fx.synced(m.sync, result)
	m.sync = nil
	return true
}

// validate finds a member and checks that it is not another one with its instance id.
func (g *classicGroup) validate(id string, instanceID *string) (*member, error) {
	m := g.byID[id]
	if instanceID != nil {
		holder := g.static[*instanceID]
		switch {
		case holder == nil:
			return nil, errUnknownMember
		case holder.id != id:
			return nil, errFenced
		}
	}
	if m == nil {
		return nil, errUnknownMember
	}
	return m, nil
}
