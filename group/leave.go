package group

import "time"

// Leaving is a member that leaves, or is removed by somebody who knows its instance
// id only.
type Leaving struct {
	MemberID   string // "" with an instance id: whoever has that
	InstanceID *string
	Err        error // set by [Coordinator.Leave]
}

// leave removes members and says of each whether it was one. An error is about all of
// them.
func (g *classicGroup) leave(now time.Time, leaving []Leaving, fx *effects) error {
	if g.state == Dead {
		return errDead
	}
	for i := range leaving {
		leaving[i].Err = g.leaveOne(now, &leaving[i], fx)
	}
	g.settle(now, fx)
	return nil
}

func (g *classicGroup) leaveOne(now time.Time, l *Leaving, fx *effects) error {
	if l.MemberID == "" {
		if l.InstanceID == nil || g.static[*l.InstanceID] == nil {
			return errUnknownMember
		}
		g.remove(now, g.static[*l.InstanceID], fx)
		return nil
	}
	if g.dropPending(l.MemberID) {
		return nil
	}
	m, err := g.validate(l.MemberID, l.InstanceID)
	if err == nil {
		g.remove(now, m, fx)
	}
	return err
}
