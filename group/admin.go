package group

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// DeleteOffsets answers an OffsetDelete request: it removes offsets of a group and
// sets the Err of each, kerr.GroupSubscribedToTopic. An error is about the whole
// request: kerr.InvalidGroupID, CoordinatorNotAvailable, CoordinatorLoadInProgress,
// NotCoordinator, GroupIDNotFound, NonEmptyGroup.
func (c *Coordinator) DeleteOffsets(group string, list []OffsetDeletion) error {
	if group == "" {
		return kerr.InvalidGroupID
	}
	h, err := c.findExisting(group)
	if err != nil {
		return err
	}
	var fx effects
	g, now := h.begin()
	err = g.deleteOffsets(now, list, &fx)
	h.end(&fx, false)
	return err
}

// DeleteGroup answers DeleteGroups for one group. It does not wait for the log, like
// Kafka. Errors are kerr.CoordinatorNotAvailable, CoordinatorLoadInProgress,
// NotCoordinator, GroupIDNotFound, NonEmptyGroup.
func (c *Coordinator) DeleteGroup(group string) error {
	h, err := c.findExisting(group)
	if err != nil {
		return err
	}
	var fx effects
	g, now := h.begin()
	err = g.delete(now, &fx)
	h.end(&fx, false)
	return err
}

func (c *Coordinator) findExisting(group string) (*hosted, error) {
	h, err := c.find(group)
	if h == nil && err == nil {
		err = kerr.GroupIDNotFound
	}
	return h, err
}

// Description is what DescribeGroups shows of a group.
type Description struct {
	State        State
	ProtocolType string
	Protocol     string // only of a stable group
	Members      []DescribedMember
}

// DescribedMember is a member of a group. Metadata and Assignment are shared and not to
// be changed, and nil unless the group is stable.
type DescribedMember struct {
	ID                   string
	InstanceID           *string
	ClientID, ClientHost string
	Metadata, Assignment []byte
}

// Describe answers DescribeGroups for one group; one that does not exist is dead.
// Errors are kerr.CoordinatorNotAvailable, CoordinatorLoadInProgress, NotCoordinator.
func (c *Coordinator) Describe(group string) (Description, error) {
	h, err := c.find(group)
	if h == nil || err != nil {
		return Description{State: Dead}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.group.describe(), nil
}

func (g *classicGroup) describe() Description {
	d := Description{State: g.state, ProtocolType: g.protocolType}
	stable := g.state == Stable
	if stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.members {
		shown := DescribedMember{ID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost}
		if stable {
			shown.Metadata, shown.Assignment = m.metadata(g.protocol), m.assignment
		}
		d.Members = append(d.Members, shown)
	}
	return d
}

// Listed is what ListGroups shows of a group.
type Listed struct {
	Group        string
	ProtocolType string
	State        State
}

// List answers ListGroups: the groups that this broker coordinates, by name. While
// some are being loaded the others are there, together with
// kerr.CoordinatorLoadInProgress. Another error is kerr.CoordinatorNotAvailable.
func (c *Coordinator) List() (list []Listed, err error) {
	if !c.led.Running() {
		return nil, errDead
	}
	for _, p := range c.led.All() {
		if p.table.Loading() {
			err = errLoading
		}
		for _, h := range p.table.All() {
			h.mu.Lock()
			if g := h.group; g.state != Dead {
				list = append(list, Listed{g.id, g.protocolType, g.state})
			}
			h.mu.Unlock()
		}
	}
	slices.SortFunc(list, func(a, b Listed) int { return cmp.Compare(a.Group, b.Group) })
	return list, err
}
