package differential

import (
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Offsets of groups. Version 0 has them in ZooKeeper.

// committing commits offsets of a topic for somebody who is in no group: partition and
// offset, in turn.
func committing(group, topic string, offsets ...int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	addCommit(req, topic, offsets...)
	return req
}

func addCommit(req *kmsg.OffsetCommitRequest, topic string, offsets ...int64) {
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	for i := 0; i < len(offsets); i += 2 {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = int32(offsets[i]), offsets[i+1], 3, ptr("m")
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
}

// fetching asks, in the way of a version, for partitions of a topic.
func fetching(version int16, group, topic string, partitions ...int32) *kmsg.OffsetFetchRequest {
	req := fetchingAll(version, group)
	addFetched(version, req, topic, partitions...)
	return req
}

func addFetched(version int16, req *kmsg.OffsetFetchRequest, topic string, partitions ...int32) {
	if version < 8 {
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: topic, Partitions: partitions})
		return
	}
	g := &req.Groups[len(req.Groups)-1]
	g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: topic, Partitions: partitions})
}

// fetchingAll asks for all that is committed, from version 2 on.
func fetchingAll(version int16, groups ...string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	if req.SetVersion(version); version < 8 {
		req.Group = groups[0]
		return req
	}
	for _, name := range groups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = name
		req.Groups = append(req.Groups, g)
	}
	return req
}

// committed puts on record what is committed, where version 0 or all others have it.
func (c *conversation) committed(group, topic string, partitions ...int32) {
	version := int16(7)
	if c.version == 0 {
		version = 0
	}
	c.ask(fetching(version, group, topic, partitions...))
}

func offsetCommitCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			g, a, b := c.group("g"), c.create("a", 2), c.create("b", 1)
			req := committing(g, a, 0, 5, 1, 7)
			addCommit(req, b, 0, math.MaxInt64)
			c.ask(req)
			c.committed(g, a, 0, 1)
			c.committed(g, b, 0)
			c.ask(committing(g, a, 0, 4))
			c.committed(g, a, 0)
		}},
		{"odd offsets", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 4)
			c.ask(committing(g, a, 0, -1, 1, -7, 2, math.MinInt64, 3, 1<<60))
			c.committed(g, a, 0, 1, 2, 3)
		}},
		{"unknown topics and partitions", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			req := committing(g, a, 0, 1, 1, 1, -1, 1)
			addCommit(req, c.topic("unknown"), 0, 1, 1, 1)
			addCommit(req, "a b", 0, 1)
			addCommit(req, "", 0, 1)
			c.ask(req)
			req.Topics = req.Topics[1:] // nothing is left: the group does not matter
			req.Group, req.MemberID, req.Generation = "", "x", 5
			c.ask(req)
		}},
		{"nothing", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group = g
			c.ask(req)
			c.ask(committing(g, a))
			c.ask(committing(g, c.topic("unknown")))
		}},
		{"a partition twice", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			c.ask(committing(g, a, 0, 1, 0, 2))
			c.committed(g, a, 0)
			req := committing(g, a, 0, 3)
			addCommit(req, a, 0, 4)
			c.ask(req)
			c.committed(g, a, 0)
		}},
		{"metadata", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 3)
			for _, m := range []*string{nil, ptr(""), ptr(strings.Repeat("x", 4096)), ptr(strings.Repeat("ä", 4096)), ptr(strings.Repeat("x", 4097)), ptr(strings.Repeat("😀", 2048)), ptr(strings.Repeat("😀", 2049))} {
				req := committing(g, a, 0, 1, 1, 1)
				req.Topics[0].Partitions[0].Metadata = m
				c.ask(req)
			}
			c.committed(g, a, 0, 1)
		}},
		{"members", 1, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			ask := func(group, member string, generation int32, instance *string) {
				req := committing(group, a, 0, 1, 7, 1)
				req.MemberID, req.Generation, req.InstanceID = member, generation, instance
				c.ask(req)
			}
			j := c.joined(g)
			ask(g, j.MemberID, 1, nil) // nobody has assigned yet
			c.quietly(syncing(g, j, j.MemberID))
			ask(g, j.MemberID, 1, nil)
			ask(g, j.MemberID, 0, nil)
			ask(g, j.MemberID, 2, nil)
			ask(g, j.MemberID, -1, nil)
			ask(g, "x", 1, nil)
			ask(g, "x", -1, nil)
			ask(g, "", 1, nil)
			ask(g, "", -1, nil)
			ask(g, j.MemberID, 1, ptr("i"))
			ask(g, "", -1, ptr("i"))
			u := c.group("unknown")
			ask(u, j.MemberID, 1, nil)
			ask(u, "", 0, nil)
			o := c.beside()
			defer o.close()
			o.begin(joining(g, o.quietly(joining(g, "")).(*kmsg.JoinGroupResponse).MemberID))
			c.rebalancing(g, j)
			ask(g, j.MemberID, 1, nil)
			ask(g, j.MemberID, 2, nil)
			o.close()
		}},
		{"groups without members", 1, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			ask := func(member string, generation int32) {
				req := committing(g, a, 0, 1)
				req.MemberID, req.Generation = member, generation
				c.ask(req)
			}
			ask("x", -1)
			ask("x", -5)
			ask("", 0)
			ask("x", 0)
			c.quietly(leaving(g, 5, c.stable(g).MemberID))
			ask("", -1)
			ask("x", -1)
			ask("x", 2)
		}},
		{"static members", 7, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			ask := func(member string, instance *string) {
				req := committing(g, a, 0, 1)
				req.MemberID, req.Generation, req.InstanceID = member, 1, instance
				c.ask(req)
			}
			first := c.stable(g, asStatic("i"))
			ask(first.MemberID, ptr("i"))
			ask(first.MemberID, nil)
			ask(first.MemberID, ptr("j"))
			second := c.joined(g, asStatic("i"))
			ask(first.MemberID, ptr("i"))
			ask(first.MemberID, nil)
			ask(second.MemberID, ptr("i"))
		}},
		{"names of groups", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.awaitGroup("")
			names := []string{"", c.group("ä"), c.group("a/b"), c.group("a b"), c.group(strings.Repeat("x", 200))}
			if c.version == 0 {
				names = append(names, ".", "..", "/", c.group("a//b"), c.group("a/../b"), c.group("\x01"))
			}
			for _, g := range names {
				c.ask(committing(g, a, 0, 1))
				c.committed(g, a, 0)
			}
		}},
		{"times", 1, 4, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			for _, ms := range []int64{-1, 0, 5, 1700000000000, -2, math.MaxInt64, math.MinInt64} {
				req := committing(g, a, 0, 1)
				req.RetentionTimeMillis, req.Topics[0].Partitions[0].Timestamp = ms, ms
				c.ask(req)
			}
		}},
	}
}

func offsetFetchCases() []spec {
	return []spec{
		{"named", 0, 0, func(c *conversation) {
			g, a, b := c.group("g"), c.create("a", 3), c.create("b", 1)
			commit := committing(g, a, 0, 5, 2, 7)
			if c.version == 0 {
				c.exchange(commit, false)
			} else {
				c.quietly(commit)
			}
			req := fetching(c.version, g, a, 0, 1, 2, 9, -1)
			addFetched(c.version, req, b, 0)
			addFetched(c.version, req, c.topic("unknown"), 0, 1)
			addFetched(c.version, req, "", 0)
			c.ask(req)
			c.ask(fetching(c.version, c.group("unknown"), a, 0))
			c.ask(fetching(c.version, g, a))
			c.ask(fetching(c.version, g, c.topic("unknown")))
		}},
		{"a partition twice", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			c.ask(fetching(c.version, g, a, 0, 0))
			req := fetching(c.version, g, a, 0)
			addFetched(c.version, req, a, 0)
			c.ask(req)
		}},
		{"no topics", 0, 0, func(c *conversation) {
			req := fetchingAll(c.version, c.group("g"))
			if req.Topics = []kmsg.OffsetFetchRequestTopic{}; c.version >= 8 {
				req.Groups[0].Topics = []kmsg.OffsetFetchRequestGroupTopic{}
			}
			c.ask(req)
		}},
		{"all", 2, 0, func(c *conversation) {
			g, a, b := c.group("g"), c.create("a", 2), c.create("b", 1)
			commit := committing(g, a, 0, 5, 1, -1)
			addCommit(commit, b, 0, 7)
			c.quietly(commit)
			c.ask(fetchingAll(c.version, g))
			req := fetchingAll(c.version, g)
			req.RequireStable = c.version >= 7
			c.ask(req)
			c.ask(fetchingAll(c.version, c.group("unknown")))
			c.awaitGroup("")
		}},
		{"a group of members", 1, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			j := c.joined(g)
			c.ask(fetching(c.version, g, a, 0))
			c.quietly(syncing(g, j, j.MemberID))
			c.ask(fetching(c.version, g, a, 0))
		}},
		{"without a name", 0, 0, func(c *conversation) {
			c.awaitGroup("")
			c.ask(fetching(c.version, "", c.create("a", 1), 0))
		}},
		{"several groups", 8, 0, func(c *conversation) {
			g, h, a := c.group("g"), c.group("h"), c.create("a", 2)
			c.quietly(committing(g, a, 0, 1, 1, 2))
			c.quietly(committing(h, a, 0, 3))
			req := fetchingAll(c.version, g, c.group("unknown"), h)
			addFetched(c.version, req, a, 0, 1)
			c.ask(req)
			c.ask(fetchingAll(c.version, g, g, h))
			c.ask(fetchingAll(c.version))
		}},
		{"a topic made anew", 1, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			c.quietly(committing(g, a, 0, 5))
			c.remove(a)
			c.ask(fetching(c.version, g, a, 0))
			c.create("a", 1)
			c.ask(fetching(c.version, g, a, 0))
		}},
		{"what fetches say of themselves", 9, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			c.stable(g)
			req := fetching(c.version, g, a, 0)
			req.Groups[0].MemberID, req.Groups[0].MemberEpoch = ptr("x"), 77
			c.ask(req)
		}},
	}
}

func offsetDeleteCases() []spec {
	ask := func(c *conversation, group string, change func(*kmsg.OffsetDeleteRequest), topic string, partitions ...int32) {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		addDelete(req, topic, partitions...)
		if change != nil {
			change(req)
		}
		c.ask(req)
	}
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 3)
			c.quietly(committing(g, a, 0, 1, 1, 2))
			ask(c, g, nil, a, 0, 2)
			c.ask(fetchingAll(7, g))
			ask(c, g, nil, a, 1)
			ask(c, g, nil, a, 1) // with its last offset the group is gone
		}},
		{"unknown groups, topics, partitions", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			ask(c, g, nil, a, 0)
			ask(c, "", nil, a, 0)
			ask(c, g, nil, c.topic("unknown"), 0)
			c.quietly(committing(g, a, 0, 1))
			ask(c, g, func(r *kmsg.OffsetDeleteRequest) { addDelete(r, c.topic("unknown"), 0, 1); addDelete(r, "a b", 0) }, a, 0, 1, -1)
		}},
		{"nothing", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			c.quietly(committing(g, a, 0, 1))
			ask(c, g, func(r *kmsg.OffsetDeleteRequest) { r.Topics = nil }, "")
			ask(c, g, nil, a)
			ask(c, g, nil, c.topic("unknown"))
		}},
		{"a partition twice", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 2)
			c.quietly(committing(g, a, 0, 1, 1, 1))
			ask(c, g, nil, a, 0, 0)
		}},
		{"subscribed", 0, 0, func(c *conversation) {
			g, a, b := c.group("g"), c.create("a", 1), c.create("b", 1)
			j := c.stable(g, func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Metadata = subscription(a) })
			ask(c, g, func(r *kmsg.OffsetDeleteRequest) { addDelete(r, b, 0) }, a, 0)
			c.quietly(leaving(g, 5, j.MemberID))
			ask(c, g, nil, a, 0)
		}},
		{"members that are no consumers", 0, 0, func(c *conversation) {
			g, a := c.group("g"), c.create("a", 1)
			c.joined(g, func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })
			ask(c, g, nil, a, 0)
		}},
	}
}

func addDelete(req *kmsg.OffsetDeleteRequest, topic string, partitions ...int32) {
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic = topic
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
	}
	req.Topics = append(req.Topics, t)
}
