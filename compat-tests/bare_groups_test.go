package compat

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// bareGroup is a group whose members are requests and nothing else: none of them does
// anything by itself, and they outlive the broker that they have talked to.
type bareGroup struct {
	name, protocolType string
	topic              string // which all members read
	partitions         int    // of the topic
	members            []*bareMember
	generation         int32
}

// bareMember is a member of a bareGroup, a static one if it has an instance.
type bareMember struct {
	name, instance string
	id             string
}

func (g *bareGroup) client(t *testing.T, b *harness.Broker, m *bareMember) *kgo.Client {
	t.Helper()
	return franz(t, b, kgo.ClientID(m.name), kgo.RetryTimeout(20*time.Second))
}

// come has a member join, and those that are there rejoin for it. The first of all leads.
func (g *bareGroup) come(t *testing.T, b *harness.Broker, m *bareMember) {
	t.Helper()
	g.members = append(g.members, m)
	g.rebalance(t, b, m)
}

// rebalance begins with one of the members, whom the others follow when it has begun. In
// the end all have their assignments.
func (g *bareGroup) rebalance(t *testing.T, b *harness.Broker, first *bareMember) {
	t.Helper()
	g.sync(t, b, g.follow(t, b, first, g.join(t, b, first)))
}

// follow has all but the first rejoin when the rebalance has begun that the first one's
// join asks for. It returns what the leader is told.
func (g *bareGroup) follow(t *testing.T, b *harness.Broker, first *bareMember, begun <-chan *kmsg.JoinGroupResponse) (leader *kmsg.JoinGroupResponse) {
	t.Helper()
	joining := []<-chan *kmsg.JoinGroupResponse{begun}
	if len(g.members) > 1 {
		g.await(t, b, "PreparingRebalance")
	}
	for _, m := range g.members {
		if m != first {
			joining = append(joining, g.join(t, b, m))
		}
	}
	for _, joined := range joining {
		resp := <-joined
		if resp == nil {
			t.FailNow()
		}
		g.generation = resp.Generation
		if resp.LeaderID == resp.MemberID {
			leader = resp
		}
	}
	return leader
}

// join sends a member's JoinGroup and, when it is given an id, another.
func (g *bareGroup) join(t *testing.T, b *harness.Broker, m *bareMember) <-chan *kmsg.JoinGroupResponse {
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Topics = []string{g.topic}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.MemberID = g.name, g.protocolType, m.id
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 600_000, 120_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription.AppendTo(nil)}, {Name: "roundrobin", Metadata: subscription.AppendTo(nil)}}
	client, ctx, answer := g.client(t, b, m), within(t, 2*time.Minute), make(chan *kmsg.JoinGroupResponse, 1)
	go func() {
		defer close(answer)
		for known := m.id != ""; ; {
			resp, err := req.RequestWith(ctx, client)
			if err != nil {
				t.Errorf("%s cannot join %s: %v", m.name, g.name, err)
				return
			}
			switch resp.ErrorCode {
			case 0:
				m.id = resp.MemberID
				answer <- resp
				return
			case kerr.MemberIDRequired.Code:
				req.MemberID = resp.MemberID
				continue
			case kerr.UnknownMemberID.Code:
				if !known { // an id keeps no group alive, and offsets are looked at often here
					req.MemberID = ""
					continue
				}
			}
			t.Errorf("%s cannot join %s: error code %d", m.name, g.name, resp.ErrorCode)
			return
		}
	}()
	return answer
}

// sync gives member i the partition i of the topic, if there is one.
func (g *bareGroup) sync(t *testing.T, b *harness.Broker, leader *kmsg.JoinGroupResponse) {
	t.Helper()
	slices.SortStableFunc(g.members, func(x, _ *bareMember) int { // the others wait for what the leader says
		if x.id == leader.LeaderID {
			return -1
		}
		return 0
	})
	for i, m := range g.members {
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation, req.ProtocolType, req.Protocol = g.name, m.id, g.generation, &g.protocolType, leader.Protocol
		if m.instance != "" {
			req.InstanceID = &m.instance
		}
		for p, m := range g.members {
			if i == 0 {
				var assignment kmsg.ConsumerMemberAssignment
				if p < g.partitions {
					assignment.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: g.topic, Partitions: []int32{int32(p)}}}
				}
				req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: assignment.AppendTo(nil)})
			}
		}
		resp, err := req.RequestWith(within(t, 30*time.Second), g.client(t, b, m))
		if err != nil || resp.ErrorCode != 0 || len(resp.MemberAssignment) == 0 {
			t.Fatalf("%s cannot sync in %s: %v, %+v", m.name, g.name, err, resp)
		}
	}
}

// leave has a member leave, and those that stay rejoin.
func (g *bareGroup) leave(t *testing.T, b *harness.Broker, m *bareMember) {
	t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = g.name
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: m.id}}
	if m.instance != "" {
		req.Members[0].InstanceID = &m.instance
	}
	resp, err := req.RequestWith(within(t, 30*time.Second), g.client(t, b, m))
	if err != nil || resp.ErrorCode != 0 || resp.Members[0].ErrorCode != 0 {
		t.Fatalf("%s cannot leave %s: %v, %+v", m.name, g.name, err, resp)
	}
	g.members = slices.DeleteFunc(g.members, func(x *bareMember) bool { return x == m })
	if len(g.members) > 0 {
		g.rebalance(t, b, g.members[0])
	}
}

// await waits until a group is in a state.
func (g *bareGroup) await(t *testing.T, b *harness.Broker, state string) {
	t.Helper()
	admin := kadm.NewClient(franz(t, b))
	waitUntil(t, g.name+" is "+state, func() bool {
		described, err := admin.DescribeGroups(within(t, 10*time.Second), g.name)
		return err == nil && described[g.name].State == state
	})
}

// check has each member say that it is there: in the group's generation, and in no other.
func (g *bareGroup) check(t *testing.T, b *harness.Broker) {
	t.Helper()
	for _, m := range g.members {
		client := g.client(t, b, m)
		for generation, want := range map[int32]int16{g.generation: 0, g.generation - 1: kerr.IllegalGeneration.Code, g.generation + 1: kerr.IllegalGeneration.Code} {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Group, req.MemberID, req.Generation = g.name, m.id, generation
			if m.instance != "" {
				req.InstanceID = &m.instance
			}
			if resp, err := req.RequestWith(within(t, 30*time.Second), client); err != nil || resp.ErrorCode != want {
				t.Errorf("a heartbeat of %s in generation %d of %s: %v, %+v; it is in generation %d", m.name, generation, g.name, err, resp, g.generation)
			}
		}
	}
}

// commit commits offset in partitions 0 to n−1 of a topic, as somebody does who is in no
// group. What expires does so after keep, in milliseconds; −1 is what the broker has.
func commit(t *testing.T, b *harness.Broker, group, topic string, n int, offset, keep int64) {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.RetentionTimeMillis = group, keep
	of := kmsg.NewOffsetCommitRequestTopic()
	of.Topic = topic
	for p := range n {
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset, one.LeaderEpoch, one.Metadata = int32(p), offset, int32(p-1), new(fmt.Sprintf("≈%d", offset))
		of.Partitions = append(of.Partitions, one)
	}
	req.Topics = append(req.Topics, of)
	versions := kversion.Stable()
	if keep >= 0 {
		versions = kversion.V1_0_0() // later ones cannot say it
	}
	client := franz(t, b, kgo.MaxVersions(versions))
	defer client.Close()
	resp, err := req.RequestWith(within(t, 30*time.Second), client)
	if err != nil || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != n {
		t.Fatalf("commit of %s: %v, %+v", group, err, resp)
	}
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			t.Fatalf("commit of %s in %s-%d: error code %d", group, topic, p.Partition, p.ErrorCode)
		}
	}
}
