package differential

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Requests of consumer groups, their members' first.

// group is a name that no other conversation uses. Its coordinator is this broker, and
// has loaded what there is.
func (c *conversation) group(name string) string {
	c.t.Helper()
	c.awaitGroup(c.topic(name))
	return c.topic(name)
}

func (c *conversation) awaitGroup(group string) {
	c.t.Helper()
	for range 400 {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKeys = []string{group}
		describe := kmsg.NewPtrDescribeGroupsRequest()
		describe.Groups = []string{group}
		if c.quietly(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode == 0 && c.quietly(describe).(*kmsg.DescribeGroupsResponse).Groups[0].ErrorCode == 0 {
			return
		}
		wait()
	}
	c.t.Fatalf("%s: group %s has no coordinator", c.target.name, group)
}

// beside is the same conversation on another connection. What is put on record there is
// to be added to this one's record.
func (c *conversation) beside() *conversation {
	o := *c
	o.conn, o.replies = nil, nil
	return &o
}

// begin sends a request, in the version under test if it is of that key, whose reply is
// received later.
func (c *conversation) begin(req kmsg.Request) {
	c.t.Helper()
	if req.Key() == c.key {
		req.SetVersion(c.version)
	} else {
		req.SetVersion(newest[req.Key()])
	}
	if err := c.send(req); err != nil {
		c.t.Fatalf("%s: %v", c.target.name, err)
	}
}

func joining(group, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = group, member, 30_000, 30_000
	req.ProtocolType = "consumer"
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription("t")}, {Name: "sticky", Metadata: subscription("t", "u")}}
	return req
}

// subscription is what a consumer says about itself.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

func static(req *kmsg.JoinGroupRequest, instance string) *kmsg.JoinGroupRequest {
	req.InstanceID = &instance
	return req
}

// joined has a new member join, and nothing of it put on record.
func (c *conversation) joined(group string, change ...func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupResponse {
	c.t.Helper()
	req := joining(group, "")
	for _, f := range change {
		f(req)
	}
	resp := c.quietly(req).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode == 79 {
		req.MemberID = resp.MemberID
		resp = c.quietly(req).(*kmsg.JoinGroupResponse)
	}
	if resp.ErrorCode != 0 {
		c.t.Fatalf("%s: cannot join: error code %d", c.target.name, resp.ErrorCode)
	}
	return resp
}

func syncing(group string, j *kmsg.JoinGroupResponse, members ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, j.MemberID, j.Generation
	req.ProtocolType, req.Protocol = ptr("consumer"), ptr("range")
	for i, m := range members {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: fmt.Append(nil, "for member ", i)})
	}
	return req
}

// stable makes a group of one member that has its assignment.
func (c *conversation) stable(group string, change ...func(*kmsg.JoinGroupRequest)) *kmsg.JoinGroupResponse {
	c.t.Helper()
	j := c.joined(group, change...)
	if code := c.quietly(syncing(group, j, j.MemberID)).(*kmsg.SyncGroupResponse).ErrorCode; code != 0 {
		c.t.Fatalf("%s: cannot sync: error code %d", c.target.name, code)
	}
	return j
}

func beating(group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	return req
}

// rebalancing waits until a member is told to rejoin.
func (c *conversation) rebalancing(group string, j *kmsg.JoinGroupResponse) {
	c.t.Helper()
	for range 400 {
		if c.quietly(beating(group, j.MemberID, j.Generation)).(*kmsg.HeartbeatResponse).ErrorCode == 27 {
			return
		}
		wait()
	}
	c.t.Fatalf("%s: no rebalance", c.target.name)
}

func asStatic(instance string) func(*kmsg.JoinGroupRequest) {
	return func(r *kmsg.JoinGroupRequest) { static(r, instance) }
}

func joinGroupCases() []spec {
	// Not asked: a protocol twice, or consumers' metadata that is none, over which Kafka's
	// groups hang; a rebalance time-out of 0, with which a member cannot sync.
	join := func(c *conversation, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
		resp, _ := c.ask(req).(*kmsg.JoinGroupResponse)
		if resp != nil && resp.ErrorCode == 79 {
			req.MemberID = resp.MemberID
			resp, _ = c.ask(req).(*kmsg.JoinGroupResponse)
		}
		return resp
	}
	return []spec{
		{"a member", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := join(c, joining(g, ""))
			c.ask(joining(g, j.MemberID)) // nobody has assigned yet
			c.quietly(syncing(g, j, j.MemberID))
			c.ask(joining(g, j.MemberID)) // the leader wants to assign anew
			changed := joining(g, j.MemberID)
			changed.Protocols = changed.Protocols[1:]
			c.ask(changed)
		}},
		{"refused", 0, 0, func(c *conversation) {
			g := c.group("g")
			c.stable(g)
			for _, change := range []func(*kmsg.JoinGroupRequest){
				func(r *kmsg.JoinGroupRequest) { r.Group = "" },
				func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 },
				func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1_800_001 },
				func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = -1 },
				func(r *kmsg.JoinGroupRequest) { r.MemberID = "x" },
				func(r *kmsg.JoinGroupRequest) { r.MemberID, r.Group = "x", c.group("unknown") },
				func(r *kmsg.JoinGroupRequest) { r.MemberID, r.SessionTimeoutMillis, r.Group = "x", 1, "" },
				func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" },
				func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" },
				func(r *kmsg.JoinGroupRequest) { r.ProtocolType, r.MemberID = "connect", "x" },
				func(r *kmsg.JoinGroupRequest) { r.Protocols = r.Protocols[:0] },
				func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name, r.Protocols = "other", r.Protocols[:1] },
				func(r *kmsg.JoinGroupRequest) { r.Group, r.Protocols = c.group("fresh"), nil },
				func(r *kmsg.JoinGroupRequest) { r.Group, r.ProtocolType = c.group("fresh"), "" },
			} {
				req := joining(g, "")
				change(req)
				c.ask(req)
			}
		}},
		{"two members", 0, 0, func(c *conversation) {
			g := c.group("g")
			first := c.stable(g)
			o := c.beside()
			defer o.close()
			req := joining(g, "")
			if c.version >= 4 {
				req.MemberID = o.ask(req).(*kmsg.JoinGroupResponse).MemberID
			}
			o.begin(req)
			c.rebalancing(g, first)
			c.ask(joining(g, first.MemberID))
			o.receive(req, true)
			c.replies = append(c.replies, o.replies...)
		}},
		{"the leader goes while another one joins", 0, 0, func(c *conversation) {
			g := c.group("g")
			first := c.stable(g)
			o := c.beside()
			defer o.close()
			req := joining(g, "")
			if c.version >= 4 {
				req.MemberID = o.ask(req).(*kmsg.JoinGroupResponse).MemberID
			}
			o.begin(req)
			c.rebalancing(g, first)
			c.quietly(leaving(g, 5, first.MemberID))
			o.receive(req, true)
			c.replies = append(c.replies, o.replies...)
		}},
		{"protocols of two members", 0, 0, func(c *conversation) {
			g := c.group("g")
			first := c.stable(g)
			o := c.beside()
			defer o.close()
			req := joining(g, "")
			req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "own", Metadata: subscription("v")}, {Name: "sticky", Metadata: subscription()}}
			if c.version >= 4 {
				req.MemberID = o.ask(req).(*kmsg.JoinGroupResponse).MemberID
			}
			o.begin(req)
			c.rebalancing(g, first)
			c.ask(joining(g, first.MemberID))
			o.receive(req, true)
			c.replies = append(c.replies, o.replies...)
		}},
		{"a static member", 5, 0, func(c *conversation) {
			g := c.group("g")
			j := join(c, static(joining(g, ""), "i"))
			sync := syncing(g, j, j.MemberID)
			sync.InstanceID = ptr("i")
			c.quietly(sync)
			again := join(c, static(joining(g, ""), "i"))
			c.ask(static(joining(g, j.MemberID), "i")) // the one before
			c.ask(joining(g, j.MemberID))
			c.ask(static(joining(g, again.MemberID), "other"))
			changed := static(joining(g, ""), "i")
			changed.Protocols = changed.Protocols[1:] // and so another one is selected
			join(c, changed)
		}},
		{"two members with one instance id", 5, 0, func(c *conversation) {
			g := c.group("g")
			c.stable(g)
			o, p := c.beside(), c.beside()
			defer o.close()
			defer p.close()
			first := static(joining(g, ""), "i")
			o.begin(first)
			for range 400 {
				describe := kmsg.NewPtrDescribeGroupsRequest()
				describe.Groups = []string{g}
				if len(c.quietly(describe).(*kmsg.DescribeGroupsResponse).Groups[0].Members) == 2 {
					break
				}
				wait()
			}
			p.begin(static(joining(g, ""), "i"))
			o.receive(first, true)
			c.replies = append(c.replies, o.replies...)
		}},
		{"an id that was given out, and an instance id", 5, 0, func(c *conversation) {
			g := c.group("g")
			resp := c.ask(joining(g, "")).(*kmsg.JoinGroupResponse)
			c.ask(static(joining(g, resp.MemberID), "i"))
		}},
		{"odd instance ids", 5, 0, func(c *conversation) {
			c.ask(static(joining(c.group("a"), ""), ""))
			c.ask(static(joining(c.group("b"), ""), " "))
			c.ask(static(joining(c.group("c"), ""), "ä/b"))
		}},
	}
}

func syncGroupCases() []spec {
	other := ptr("other")
	return []spec{
		{"a leader", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := c.joined(g)
			c.ask(syncing(g, j, "nobody", j.MemberID))
			c.ask(syncing(g, j))
			c.ask(syncing(g, j, j.MemberID)) // too late
		}},
		{"a leader that assigns nothing", 0, 0, func(c *conversation) {
			g := c.group("g")
			c.ask(syncing(g, c.joined(g)))
		}},
		{"refused", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := c.stable(g)
			for _, change := range []func(*kmsg.SyncGroupRequest){
				func(r *kmsg.SyncGroupRequest) { r.Group = "" },
				func(r *kmsg.SyncGroupRequest) { r.Group = c.group("unknown") },
				func(r *kmsg.SyncGroupRequest) { r.MemberID = "x" },
				func(r *kmsg.SyncGroupRequest) { r.MemberID = "" },
				func(r *kmsg.SyncGroupRequest) { r.Generation-- },
				func(r *kmsg.SyncGroupRequest) { r.Generation++ },
				func(r *kmsg.SyncGroupRequest) { r.MemberID, r.Generation = "x", 9 },
				func(r *kmsg.SyncGroupRequest) { r.InstanceID = other },
				func(r *kmsg.SyncGroupRequest) { r.ProtocolType = other },
				func(r *kmsg.SyncGroupRequest) { r.Protocol = other },
				func(r *kmsg.SyncGroupRequest) { r.Generation, r.Protocol = 9, other },
				func(r *kmsg.SyncGroupRequest) { r.ProtocolType = nil },
				func(r *kmsg.SyncGroupRequest) { r.Protocol, r.Group = nil, "" },
			} {
				req := syncing(g, j)
				change(req)
				c.ask(req)
			}
		}},
		{"a follower", 0, 0, func(c *conversation) {
			g := c.group("g")
			a := c.stable(g)
			o := c.beside()
			defer o.close()
			id := o.quietly(joining(g, "")).(*kmsg.JoinGroupResponse).MemberID
			o.begin(joining(g, id))
			c.rebalancing(g, a)
			c.ask(syncing(g, a)) // it has to rejoin
			a = c.quietly(joining(g, a.MemberID)).(*kmsg.JoinGroupResponse)
			req := joining(g, id)
			req.SetVersion(newest[11])
			b := o.receive(req, false).(*kmsg.JoinGroupResponse)
			sync := syncing(g, b)
			o.begin(sync)
			wait() // it need not be there first
			c.ask(syncing(g, a, a.MemberID, b.MemberID))
			o.receive(sync, true)
			o.ask(syncing(g, b, b.MemberID)) // who does not lead assigns nothing
			c.replies = append(c.replies, o.replies...)
		}},
		{"a rebalance instead", 0, 0, func(c *conversation) {
			g := c.group("g")
			a := c.stable(g)
			o := c.beside()
			defer o.close()
			id := o.quietly(joining(g, "")).(*kmsg.JoinGroupResponse).MemberID
			join := joining(g, id)
			o.begin(join)
			c.rebalancing(g, a)
			a = c.quietly(joining(g, a.MemberID)).(*kmsg.JoinGroupResponse)
			sync := syncing(g, o.receive(join, false).(*kmsg.JoinGroupResponse))
			o.begin(sync)
			wait() // the other comes later, or not at all: what is told is the same
			c.quietly(leaving(g, 5, a.MemberID))
			o.receive(sync, true)
			c.replies = append(c.replies, o.replies...)
		}},
		{"a static member", 3, 0, func(c *conversation) {
			g := c.group("g")
			j := c.joined(g, asStatic("i"))
			sync := syncing(g, j, j.MemberID)
			c.ask(sync) // it may leave out what it is called
			sync.InstanceID = ptr("i")
			c.ask(sync)
			c.joined(g, asStatic("i"))
			c.ask(sync)
			sync.InstanceID = nil
			c.ask(sync)
		}},
	}
}

func heartbeatCases() []spec {
	return []spec{
		{"a member", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := c.joined(g)
			c.ask(beating(g, j.MemberID, 1)) // nobody has assigned yet
			c.quietly(syncing(g, j, j.MemberID))
			c.ask(beating(g, j.MemberID, 1))
			for _, generation := range []int32{0, 2, -1} {
				c.ask(beating(g, j.MemberID, generation))
			}
			c.ask(beating(g, "x", 1))
			c.ask(beating(g, "x", 2))
			c.ask(beating(g, "", 1))
			c.ask(beating(c.group("unknown"), j.MemberID, 1))
			c.ask(beating("", j.MemberID, 1))
		}},
		{"a rebalance", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := c.stable(g)
			o := c.beside()
			defer o.close()
			o.begin(joining(g, o.quietly(joining(g, "")).(*kmsg.JoinGroupResponse).MemberID))
			c.rebalancing(g, j)
			c.ask(beating(g, j.MemberID, 1))
			c.ask(beating(g, j.MemberID, 2))
			c.ask(beating(g, "x", 1))
			c.quietly(leaving(g, 5, j.MemberID))
			c.ask(beating(g, j.MemberID, 1))
		}},
		{"an empty group", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := c.stable(g)
			c.quietly(leaving(g, 5, j.MemberID))
			c.ask(beating(g, j.MemberID, 1))
			c.ask(beating(g, "", 2))
		}},
		{"an id that was given out", 0, 0, func(c *conversation) {
			g := c.group("g")
			c.ask(beating(g, c.quietly(joining(g, "")).(*kmsg.JoinGroupResponse).MemberID, 0))
		}},
		{"static members", 3, 0, func(c *conversation) {
			g := c.group("g")
			ask := func(member string, instance string, generation int32) {
				req := beating(g, member, generation)
				req.InstanceID = &instance
				c.ask(req)
			}
			first := c.stable(g, asStatic("i"))
			ask(first.MemberID, "i", 1)
			ask(first.MemberID, "j", 1)
			ask("x", "i", 1)
			ask("", "i", 1)
			second := c.joined(g, asStatic("i"))
			ask(first.MemberID, "i", 1)
			ask(first.MemberID, "i", 7)
			ask(second.MemberID, "i", 1)
			c.ask(beating(g, first.MemberID, 1))
			c.ask(beating(g, second.MemberID, 1))
		}},
	}
}

// leaving is a LeaveGroup request of all members, of the first before version 3.
func leaving(group string, version int16, members ...string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	if version < 3 {
		req.MemberID = members[0]
		return req
	}
	for _, m := range members {
		req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: m})
	}
	return req
}

func leaveGroupCases() []spec {
	return []spec{
		{"a member", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := c.stable(g)
			c.ask(leaving(g, c.version, "x"))
			c.ask(leaving(g, c.version, ""))
			c.ask(leaving(g, c.version, j.MemberID))
			c.ask(leaving(g, c.version, j.MemberID))
		}},
		{"unknown group", 0, 0, func(c *conversation) { c.ask(leaving(c.group("g"), c.version, "x")) }},
		{"no group id", 0, 0, func(c *conversation) { c.ask(leaving("", c.version, "x")) }},
		{"an id that was given out", 0, 0, func(c *conversation) {
			g := c.group("g")
			id := c.quietly(joining(g, "")).(*kmsg.JoinGroupResponse).MemberID
			c.ask(leaving(g, c.version, id))
			c.ask(leaving(g, c.version, id))
		}},
		{"several", 3, 0, func(c *conversation) {
			g := c.group("g")
			j := c.stable(g)
			c.ask(leaving(g, c.version, "x", j.MemberID, j.MemberID, "x"))
			c.ask(leaving(g, c.version))
			c.ask(leaving(c.group("unknown"), c.version))
			c.ask(leaving(c.group("unknown"), c.version, "x", ""))
		}},
		{"static members", 3, 0, func(c *conversation) {
			g := c.group("g")
			ask := func(ids ...string) { // member and instance, in turn
				req := leaving(g, c.version)
				for i := 0; i < len(ids); i += 2 {
					req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: ids[i], InstanceID: &ids[i+1], Reason: ptr("why not")})
				}
				c.ask(req)
			}
			j := c.stable(g, asStatic("i"))
			ask("x", "i", j.MemberID, "other", "", "other", "x", "other")
			ask("", "i", "", "i")
			j = c.stable(g, asStatic("i"))
			ask(j.MemberID, "i")
		}},
	}
}

func describeGroupsCases() []spec {
	ask := func(c *conversation, groups ...string) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = groups
		c.ask(req)
	}
	return []spec{
		{"states", 0, 0, func(c *conversation) {
			g := c.group("g")
			ask(c, g)
			j := c.joined(g)
			ask(c, g)
			c.quietly(syncing(g, j, j.MemberID))
			ask(c, g)
			o := c.beside()
			defer o.close()
			o.begin(joining(g, o.quietly(joining(g, "")).(*kmsg.JoinGroupResponse).MemberID))
			c.rebalancing(g, j)
			ask(c, g)
		}},
		{"a group whose members have left", 0, 0, func(c *conversation) {
			g := c.group("g")
			c.quietly(leaving(g, 5, c.stable(g).MemberID))
			ask(c, g)
		}},
		{"offsets only, and nothing at all", 0, 0, func(c *conversation) {
			g, h := c.group("g"), c.group("h")
			c.quietly(committing(g, c.create("a", 1), 0, 1))
			c.quietly(joining(h, ""))
			ask(c, g)
			ask(c, h)
		}},
		{"static members", 0, 0, func(c *conversation) {
			g := c.group("g")
			c.stable(g, asStatic("i"))
			ask(c, g)
		}},
		{"several, twice, none, without a name", 0, 0, func(c *conversation) {
			g := c.group("g")
			c.stable(g)
			c.awaitGroup("")
			ask(c, g, c.group("unknown"), g, "")
			ask(c)
		}},
		{"authorized operations", 3, 0, func(c *conversation) {
			g := c.group("g")
			c.stable(g)
			req := kmsg.NewPtrDescribeGroupsRequest()
			req.Groups, req.IncludeAuthorizedOperations = []string{g, c.group("unknown")}, true
			c.ask(req)
		}},
	}
}

func listGroupsCases() []spec {
	return []spec{{"states and types", 0, 0, func(c *conversation) {
		c.norm.own = true
		c.stable(c.group("stable"))
		c.joined(c.group("completing"))
		c.quietly(joining(c.group("pending"), ""))
		c.quietly(committing(c.group("offsets"), c.create("a", 1), 0, 1))
		left := c.group("left")
		c.quietly(leaving(left, 5, c.stable(left).MemberID))
		ask := func(states, types []string) {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = states, types
			c.ask(req)
		}
		ask(nil, nil)
		if c.version < 4 {
			return
		}
		for _, states := range [][]string{{"Stable"}, {"stable", "EMPTY"}, {"CompletingRebalance"}, {"Dead"}, {"nonsense"}, {""}, {"nonsense", "Stable"}} {
			ask(states, nil)
		}
		if c.version < 5 {
			return
		}
		for _, types := range [][]string{{"classic"}, {"CLASSIC", "x"}, {"consumer"}, {"share"}, {"nonsense"}, {""}} {
			ask(nil, types)
		}
		ask([]string{"Stable"}, []string{"consumer"})
		ask([]string{"Stable"}, []string{"classic"})
	}}}
}

func deleteGroupsCases() []spec {
	ask := func(c *conversation, groups ...string) { c.ask(&kmsg.DeleteGroupsRequest{Groups: groups}) }
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			c.quietly(committing(g, a, 0, 1))
			ask(c, g)
			ask(c, g)
			c.ask(fetchingAll(7, g))
		}},
		{"members", 0, 0, func(c *conversation) {
			g := c.group("g")
			j := c.stable(g)
			ask(c, g)
			c.quietly(leaving(g, 5, j.MemberID))
			ask(c, g)
		}},
		{"an id that was given out", 0, 0, func(c *conversation) {
			g := c.group("g")
			c.quietly(joining(g, ""))
			ask(c, g)
		}},
		{"several, twice, none, without a name", 0, 0, func(c *conversation) {
			g, h, a := c.group("g"), c.group("h"), c.create("a", 1)
			c.quietly(committing(g, a, 0, 1))
			c.stable(h)
			ask(c, g, h, c.group("unknown"), g)
			ask(c)
		}},
		{"long and odd names", 0, 0, func(c *conversation) {
			for _, name := range []string{strings.Repeat("x", 200), "ä", "a b", "a/b", "\x00"} {
				ask(c, c.group(name))
			}
		}},
	}
}
