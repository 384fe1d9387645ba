package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The defaults of a Java consumer.
const (
	sessionTimeout    = 45 * time.Second
	rebalanceTimeout  = 5 * time.Minute // max.poll.interval.ms
	heartbeatInterval = 3 * time.Second
)

// member is a consumer in a group, on a connection of its own. It reads nothing.
type member struct {
	*wire
	group, topic string
	id           string
	generation   int32
}

// consumers are the members of groups that have the same number of them.
type consumers struct {
	members []*member // those of a group stand together
	each    int       // in a group
}

// openConsumers opens the connections of members that are in their groups only when
// they have joined. All subscribe to one topic.
func openConsumers(addr, topic string, groups []string, each int) (*consumers, error) {
	c := &consumers{each: each}
	for _, group := range groups {
		for range each {
			w, err := dial(addr)
			if err != nil {
				return nil, errors.Join(err, c.close())
			}
			c.members = append(c.members, &member{wire: w, group: group, topic: topic})
		}
	}
	return c, nil
}

func (c *consumers) close() (err error) {
	for _, m := range c.members {
		err = errors.Join(err, m.close())
	}
	return err
}

// join has all members join at once. At the end each has an assignment of its group's
// one generation.
func (c *consumers) join() error {
	if err := together(len(c.members), func(i int) error { return c.members[i].join() }); err != nil {
		return err
	}
	for group := range slices.Chunk(c.members, c.each) {
		for _, m := range group {
			if m.generation != group[0].generation {
				return fmt.Errorf("group %s has members of generations %d and %d", m.group, group[0].generation, m.generation)
			}
		}
	}
	return nil
}

// leave has all members leave their groups, so that nothing is due for them later.
func (c *consumers) leave() error {
	for group := range slices.Chunk(c.members, c.each) {
		request := kmsg.NewPtrLeaveGroupRequest()
		request.Group = group[0].group
		for _, m := range group {
			leaving := kmsg.NewLeaveGroupRequestMember()
			leaving.MemberID = m.id
			request.Members = append(request.Members, leaving)
		}
		answer, err := group[0].ask(request)
		if err != nil {
			return err
		}
		left := answer.(*kmsg.LeaveGroupResponse)
		codes := []int16{left.ErrorCode}
		for _, m := range left.Members {
			codes = append(codes, m.ErrorCode)
		}
		for _, code := range codes {
			if err := kerr.ErrorForCode(code); err != nil {
				return fmt.Errorf("leave group %s: %w", request.Group, err)
			}
		}
	}
	return nil
}

// join joins the group as a new member and waits for the assignment.
func (m *member) join() error {
	request := kmsg.NewPtrJoinGroupRequest()
	request.Group, request.ProtocolType = m.group, "consumer"
	request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), int32(rebalanceTimeout.Milliseconds())
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Version, subscription.Topics = 1, []string{m.topic}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", subscription.AppendTo(nil)
	request.Protocols = append(request.Protocols, protocol)
	for range 2 { // the first time the member is given its id (KIP-394)
		answer, err := m.ask(request)
		if err != nil {
			return err
		}
		joined := answer.(*kmsg.JoinGroupResponse)
		m.id, m.generation = joined.MemberID, joined.Generation
		switch err := kerr.ErrorForCode(joined.ErrorCode); {
		case errors.Is(err, kerr.MemberIDRequired):
			request.MemberID = m.id
		case err != nil:
			return fmt.Errorf("join group %s: %w", m.group, err)
		default:
			return m.sync(joined)
		}
	}
	return fmt.Errorf("join group %s: the member has an id and is to get one again and again", m.group)
}

// sync waits for the assignment. The leader makes all of them: a partition for each
// member.
func (m *member) sync(joined *kmsg.JoinGroupResponse) error {
	request := kmsg.NewPtrSyncGroupRequest()
	request.Group, request.MemberID, request.Generation = m.group, m.id, m.generation
	request.ProtocolType, request.Protocol = joined.ProtocolType, joined.Protocol
	for i, of := range joined.Members { // the leader's only
		assignment := kmsg.NewConsumerMemberAssignment()
		topic := kmsg.NewConsumerMemberAssignmentTopic()
		topic.Topic, topic.Partitions = m.topic, []int32{int32(i)}
		assignment.Version, assignment.Topics = 1, append(assignment.Topics, topic)
		its := kmsg.NewSyncGroupRequestGroupAssignment()
		its.MemberID, its.MemberAssignment = of.MemberID, assignment.AppendTo(nil)
		request.GroupAssignment = append(request.GroupAssignment, its)
	}
	answer, err := m.ask(request)
	if err != nil {
		return err
	}
	synced := answer.(*kmsg.SyncGroupResponse)
	if err := kerr.ErrorForCode(synced.ErrorCode); err != nil {
		return fmt.Errorf("sync in group %s: %w", m.group, err)
	}
	if len(synced.MemberAssignment) == 0 {
		return fmt.Errorf("a member of group %s was assigned nothing", m.group)
	}
	return nil
}

func (m *member) heartbeat() error {
	request := kmsg.NewPtrHeartbeatRequest()
	request.Group, request.MemberID, request.Generation = m.group, m.id, m.generation
	answer, err := m.ask(request)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(answer.(*kmsg.HeartbeatResponse).ErrorCode); err != nil {
		return fmt.Errorf("heartbeat in group %s: %w", m.group, err)
	}
	return nil
}
