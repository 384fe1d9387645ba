package group

import "time"

// HeartbeatRequest is a Heartbeat request.
type HeartbeatRequest struct {
	Group      string
	MemberID   string
	InstanceID *string
	Generation int32
}

// heartbeat keeps a member's session alive, and tells it whether it has to rejoin.
func (g *classicGroup) heartbeat(now time.Time, r *HeartbeatRequest) error {
	if g.state == Dead {
		return errDead
	}
	m, err := g.validate(r.MemberID, r.InstanceID)
	if err != nil {
		return err
	}
	if r.Generation != g.generation {
		return errIllegalGeneration
	}
	g.restartSession(m, now)
	if g.state == PreparingRebalance {
		return errRebalancing
	}
	return nil
}
