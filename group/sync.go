package group

import (
	"bytes"
	"time"
)

// SyncRequest is a SyncGroup request. The group copies what it keeps.
type SyncRequest struct {
	Group      string
	MemberID   string
	InstanceID *string
	Generation int32
	// ProtocolType and Protocol are nil before version 5, and then not compared.
	// Without them version 5 is for the caller to refuse.
	ProtocolType, Protocol *string
	Assignments            []Assignment // only of the leader
}

// Assignment is what the leader assigns to a member.
type Assignment struct {
	MemberID   string
	Assignment []byte
}

// SyncResult answers a sync. With an error there is nothing else.
type SyncResult struct {
	Err          error
	ProtocolType string
	Protocol     string
	Assignment   []byte // shared and not to be changed
}

// sync is a member that asks for its assignment, and the leader that tells them all.
func (g *classicGroup) sync(now time.Time, r *SyncRequest, reply func(SyncResult), fx *effects) {
	m, err := g.validateSync(r)
	if err == nil && m.id == g.leader && g.state != Stable && !g.mayGrow(g.syncGrowth(r.Assignments), fx) {
		err = errDead
	}
	if err != nil {
		fx.synced(reply, SyncResult{Err: err})
		return
	}
	m.unsynced = false
	if g.state == Stable {
		g.restartSession(m, now)
		fx.synced(reply, g.syncResult(m))
		return
	}
	g.answerSync(m, SyncResult{Err: errRebalancing}, fx) // which its client has given up
	m.sync = reply
	if m.id == g.leader && g.storing == nil {
		g.setStoring(&groupWrite{value: g.value(assignmentsOf(r))})
		fx.write(write{group: g.id, metadata: g.storing, timeMS: now.UnixMilli()})
	}
}

func (g *classicGroup) validateSync(r *SyncRequest) (*member, error) {
	if g.state == Dead {
		return nil, errDead
	}
	m, err := g.validate(r.MemberID, r.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case r.Generation != g.generation:
		return nil, errIllegalGeneration
	case r.ProtocolType != nil && *r.ProtocolType != g.protocolType, r.Protocol != nil && *r.Protocol != g.protocol:
		return nil, errInconsistent
	case g.state == PreparingRebalance:
		return nil, errRebalancing
	}
	return m, nil
}

func assignmentsOf(r *SyncRequest) map[string][]byte {
	all := make(map[string][]byte, len(r.Assignments))
	for _, a := range r.Assignments {
		all[a.MemberID] = bytes.Clone(a.Assignment)
	}
	return all
}

func (g *classicGroup) syncResult(m *member) SyncResult {
	return SyncResult{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// groupStored goes on when a group's metadata is in the log, or could not be written.
func (g *classicGroup) groupStored(now time.Time, w *groupWrite, err error, fx *effects) {
	switch {
	case w.returned != nil:
		g.returnStored(now, w, err, fx)
	case w != g.storing: // a rebalance has begun since, or nobody waits for it
	case err != nil:
		g.failSyncs(now, err, fx)
		g.rebalance(now, fx)
	default:
		g.setStoring(nil)
		for i := range w.value.members {
			stored := &w.value.members[i]
			m := g.byID[stored.id]
			g.change(m, func() { m.assignment = stored.assignment })
		}
		g.transition(Stable, now)
		for _, m := range g.members {
			if g.answerSync(m, g.syncResult(m), fx) {
				g.restartSession(m, now)
			}
		}
	}
	g.settle(now, fx)
}

// failSyncs answers the syncs that wait for assignments, which do not count any more.
func (g *classicGroup) failSyncs(now time.Time, err error, fx *effects) {
	g.setStoring(nil)
	for _, m := range g.members {
		if g.answerSync(m, SyncResult{Err: err}, fx) {
			g.restartSession(m, now)
		}
	}
}
