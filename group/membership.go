package group

import (
	"crypto/rand"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/statelog"
)

// Join answers a JoinGroup request: the reply is given when the group's rebalance is
// over, or at once with an error. Errors are kerr.InvalidGroupID,
// CoordinatorNotAvailable, CoordinatorLoadInProgress, NotCoordinator,
// InvalidSessionTimeout, UnknownMemberID, GroupMaxSizeReached,
// InconsistentGroupProtocol, MemberIDRequired (not an error in fact: MemberID is the
// one to come back with), FencedInstanceID, RebalanceInProgress (the member joined
// again meanwhile), UnknownServerError, and InvalidRequest for a name that is too long to be
// stored.
func (c *Coordinator) Join(r *JoinRequest, reply func(JoinResult)) {
	refuse := func(err error) {
		reply(JoinResult{Err: err, MemberID: r.MemberID, Generation: NoGeneration})
	}
	if err := r.checkStrings(); err != nil {
		refuse(err)
		return
	}
	h, err := c.findForJoin(r)
	if err != nil {
		refuse(err)
		return
	}
	newID := ""
	if r.MemberID == "" {
		newID = newMemberID(r)
	}
	var fx effects
	g, now := h.begin()
	g.join(now, r, newID, reply, &fx)
	h.end(&fx, false)
}

// findForJoin finds the group, or makes it for a new member.
func (c *Coordinator) findForJoin(r *JoinRequest) (*hosted, error) {
	if r.Group == "" {
		return nil, kerr.InvalidGroupID
	}
	h, err := c.find(r.Group)
	switch {
	case err != nil:
		return nil, err
	case r.SessionTimeout < c.settings.MinSessionTimeout || r.SessionTimeout > c.settings.MaxSessionTimeout:
		return nil, kerr.InvalidSessionTimeout
	case h == nil && r.MemberID != "":
		return nil, errUnknownMember
	case h == nil:
		return c.findOrCreate(r.Group)
	}
	return h, nil
}

// newMemberID is the client's id, or a static member's instance id, and a random UUID.
func newMemberID(r *JoinRequest) string {
	var u [16]byte
	rand.Read(u[:])
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	name := r.ClientID
	if r.InstanceID != nil {
		name = *r.InstanceID
	}
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", name, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// maxName is the longest that a name may be which is stored: a member id is a little
// longer than what it is made of.
const maxName = statelog.MaxString - 64

// checkStrings refuses what could not be stored. The error is kerr.InvalidRequest.
func (r *JoinRequest) checkStrings() error {
	instance := ""
	if r.InstanceID != nil {
		instance = *r.InstanceID
	}
	for _, name := range []string{r.Group, instance, r.ClientID, r.ClientHost, r.ProtocolType} {
		if err := checkName(name); err != nil {
			return err
		}
	}
	for _, p := range r.Protocols {
		if err := checkName(p.Name); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("a name of %d bytes, at most %d can be stored: %w", len(name), maxName, kerr.InvalidRequest)
	}
	return nil
}

// Sync answers a SyncGroup request: the reply is given when the leader's assignments
// are in the log. Errors are kerr.InvalidGroupID, CoordinatorNotAvailable,
// RebalanceInProgress (also while the group is being loaded, so that old clients join
// again), NotCoordinator, UnknownMemberID, FencedInstanceID, IllegalGeneration,
// InconsistentGroupProtocol, UnknownServerError, or what kept the log from taking it.
func (c *Coordinator) Sync(r *SyncRequest, reply func(SyncResult)) {
	h, err := c.findMembers(r.Group)
	if err == errLoading {
		err = errRebalancing
	}
	if err != nil {
		reply(SyncResult{Err: err})
		return
	}
	var fx effects
	g, now := h.begin()
	g.sync(now, r, reply, &fx)
	h.end(&fx, false)
}

// findMembers finds a group that must be there.
func (c *Coordinator) findMembers(group string) (*hosted, error) {
	if group == "" {
		return nil, kerr.InvalidGroupID
	}
	h, err := c.find(group)
	if h == nil && err == nil {
		err = errUnknownMember
	}
	return h, err
}

// Heartbeat answers a Heartbeat request: nil, or kerr.InvalidGroupID,
// CoordinatorNotAvailable, NotCoordinator, UnknownMemberID, FencedInstanceID,
// IllegalGeneration, RebalanceInProgress. While the group is being loaded all is well,
// as in Kafka.
func (c *Coordinator) Heartbeat(r *HeartbeatRequest) error {
	h, err := c.findMembers(r.Group)
	if err == errLoading {
		return nil
	}
	if err != nil {
		return err
	}
	var fx effects
	g, now := h.begin()
	err = g.heartbeat(now, r)
	h.end(&fx, false)
	return err
}

// Leave answers a LeaveGroup request: it removes members and sets the Err of each,
// kerr.UnknownMemberID or FencedInstanceID. An error is about the whole request:
// kerr.InvalidGroupID, CoordinatorNotAvailable, CoordinatorLoadInProgress,
// NotCoordinator. It does not wait for the log: after a fail-over a member that has
// left may be there again, until its session ends.
func (c *Coordinator) Leave(group string, leaving []Leaving) error {
	h, err := c.findMembers(group)
	if err == errUnknownMember {
		for i := range leaving {
			leaving[i].Err = err
		}
		return nil
	}
	if err != nil {
		return err
	}
	var fx effects
	g, now := h.begin()
	err = g.leave(now, leaving, &fx)
	h.end(&fx, false)
	return err
}
