package group

import "time"

// NoGeneration is the generation of who is in none.
const NoGeneration int32 = -1

// maxPending bounds the ids that a group has given out to clients that have not come
// back with them. Kafka has no bound.
const maxPending = 10_000

// JoinRequest is a JoinGroup request. The group copies what it keeps.
type JoinRequest struct {
	Group      string
	MemberID   string  // "" of a new member
	InstanceID *string // of a static member (KIP-345)

	ClientID   string
	ClientHost string // as Kafka shows it, "/127.0.0.1"

	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration // before version 1 the session timeout

	ProtocolType string
	Protocols    []Protocol

	// TwoSteps, from version 4 on, has a new dynamic member come back with the id
	// that it is given (KIP-394).
	TwoSteps bool
	// CanSkipAssignment, from version 9 on, lets a returning static leader know that
	// it leads (KIP-814).
	CanSkipAssignment bool
}

// JoinResult answers a join. With an error there is nothing but the member id, and
// after the failed store of a static member's return the generation.
type JoinResult struct {
	Err            error
	MemberID       string
	Generation     int32
	ProtocolType   string // "" is null
	Protocol       string // null if ProtocolType is "", where a version can say so
	Leader         string
	SkipAssignment bool
	Members        []JoinedMember // only for the leader; shared and not to be changed
}

// JoinedMember is a member, for the leader to assign something to.
type JoinedMember struct {
	ID         string
	InstanceID *string
	Metadata   []byte
}

// join is a member's join. newID becomes the id of a new member.
func (g *classicGroup) join(now time.Time, r *JoinRequest, newID string, reply func(JoinResult), fx *effects) {
	refuse := func(memberID string, err error) {
		fx.joined(reply, JoinResult{Err: err, MemberID: memberID, Generation: NoGeneration})
	}
	switch {
	case !g.hasRoom(r):
		g.forget(r.MemberID, fx)
		refuse("", errSizeReached)
	case g.state == Dead:
		refuse(r.MemberID, errDead)
	case !g.supports(r.ProtocolType, r.Protocols):
		refuse(r.MemberID, errInconsistent)
	case !g.mayGrow(g.joinGrowth(r), fx):
		refuse(r.MemberID, errDead)
	case r.MemberID == "":
		g.joinNew(now, r, newID, reply, refuse, fx)
	default:
		g.joinKnown(now, r, reply, refuse, fx)
	}
	g.settle(now, fx)
}

// hasRoom reports whether group.max.size has room for who joins. While members
// rejoin, it is those who have that count: so a group that has become too large
// loses those who come last. A static member that returns takes its own place, and is
// not refused, as it is by Kafka.
func (g *classicGroup) hasRoom(r *JoinRequest) bool {
	m := g.byID[r.MemberID]
	if r.MemberID == "" && r.InstanceID != nil {
		m = g.static[*r.InstanceID]
	}
	switch g.state {
	case PreparingRebalance:
		return m != nil && m.join != nil || g.joining < g.limits.MaxSize
	case CompletingRebalance, Stable:
		return m != nil || len(g.members) < g.limits.MaxSize
	}
	return true
}

// forget drops the member or the pending id of who is not let in.
func (g *classicGroup) forget(id string, fx *effects) {
	g.dropPending(id)
	if m := g.byID[id]; m != nil {
		g.drop(m, fx)
	}
}

// addPending notes an id that was given out.
func (g *classicGroup) addPending(id string, expires time.Time) {
	g.pending[id] = expires
	g.takes += pendingIDFootprint(id)
	g.wakeAt(expires)
}

// dropPending reports whether the id was one that was given out.
func (g *classicGroup) dropPending(id string) bool {
	_, ok := g.pending[id]
	if ok {
		delete(g.pending, id)
		g.takes -= pendingIDFootprint(id)
	}
	return ok
}

func (g *classicGroup) joinNew(now time.Time, r *JoinRequest, newID string, reply func(JoinResult), refuse func(string, error), fx *effects) {
	if r.InstanceID != nil {
		if m := g.static[*r.InstanceID]; m != nil {
			g.replace(now, m, r, newID, reply, fx)
			return
		}
	} else if r.TwoSteps {
		if len(g.pending) >= maxPending {
			refuse("", errSizeReached)
			return
		}
		g.addPending(newID, now.Add(r.SessionTimeout))
		refuse(newID, errMemberIDRequired)
		return
	}
	g.add(now, r, newID, reply, fx)
}

func (g *classicGroup) joinKnown(now time.Time, r *JoinRequest, reply func(JoinResult), refuse func(string, error), fx *effects) {
	if _, pending := g.pending[r.MemberID]; pending {
		if r.InstanceID != nil { // static members never get an id to come back with
			refuse("", errUnknownServerError)
			return
		}
		g.add(now, r, r.MemberID, reply, fx)
		return
	}
	m, err := g.validate(r.MemberID, r.InstanceID)
	if err != nil {
		refuse(r.MemberID, err)
		return
	}
	switch {
	case g.state == CompletingRebalance && m.sameProtocols(r.Protocols):
		// It may have missed the reply to its join.
		fx.joined(reply, g.joinResult(m))
	case g.state == Stable && m.id != g.leader && m.sameProtocols(r.Protocols):
		fx.joined(reply, g.joinResult(m))
	default: // in PreparingRebalance; something changes; or the leader wants to assign anew
		g.change(m, func() { m.take(r) })
		g.parkJoin(m, reply, fx)
		g.rebalance(now, fx)
	}
}

// add adds a member and parks its join.
func (g *classicGroup) add(now time.Time, r *JoinRequest, id string, reply func(JoinResult), fx *effects) {
	g.dropPending(id)
	m := &member{id: id, clientID: r.ClientID, clientHost: r.ClientHost, isNew: true}
	if r.InstanceID != nil {
		instance := *r.InstanceID
		m.instanceID = &instance
	}
	m.take(r)
	if g.state == PreparingRebalance && g.generation == 0 {
		g.barrier.extend = true
	}
	if len(g.members) == 0 {
		g.protocolType = r.ProtocolType
	}
	g.insert(m)
	g.parkJoin(m, reply, fx)
	g.setDeadline(&m.sessionLimit, now.Add(newMemberTimeout))
	g.rebalance(now, fx)
}

// joinResult is what a member is told of the current generation.
func (g *classicGroup) joinResult(m *member) JoinResult {
	result := JoinResult{
		MemberID:     m.id,
		Generation:   g.generation,
		ProtocolType: g.protocolType,
		Protocol:     g.protocol,
		Leader:       g.leader,
	}
	if m.id == g.leader {
		result.Members = g.joinedMembers()
	}
	return result
}

func (g *classicGroup) joinedMembers() []JoinedMember {
	list := make([]JoinedMember, len(g.members))
	for i, m := range g.members {
		list[i] = JoinedMember{m.id, m.instanceID, m.metadata(g.protocol)}
	}
	return list
}
