package differential

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *conversation) createTopics(change func(*kmsg.CreateTopicsRequest), topics ...kmsg.CreateTopicsRequestTopic) {
	if len(c.replies) > 0 { // the first shows them all
		c.norm.strip = map[string]bool{"Configs": true}
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 15000
	req.Topics = topics
	if change != nil {
		change(req)
	}
	c.ask(req)
}

func config(t kmsg.CreateTopicsRequestTopic, name string, value *string) kmsg.CreateTopicsRequestTopic {
	t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: value})
	return t
}

func assigned(t kmsg.CreateTopicsRequestTopic, partition int32, replicas ...int32) kmsg.CreateTopicsRequestTopic {
	t.ReplicaAssignment = append(t.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: partition, Replicas: replicas})
	return t
}

func createTopicsCases() []spec {
	validate := func(r *kmsg.CreateTopicsRequest) { r.ValidateOnly = true }
	return []spec{
		{"plain", 0, 0, func(c *conversation) { c.createTopics(nil, newTopic(c.topic("a"), 2, 1)) }},
		{"none", 0, 0, func(c *conversation) { c.createTopics(nil) }},
		{"exists", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.createTopics(nil, newTopic(a, 1, 1))
			c.createTopics(func(r *kmsg.CreateTopicsRequest) { r.ValidateOnly = c.version > 0 }, newTopic(a, 1, 1))
		}},
		{"twice in one request", 0, 0, func(c *conversation) {
			c.createTopics(nil, newTopic(c.topic("a"), 1, 1), newTopic(c.topic("a"), 2, 1))
			c.createTopics(nil, newTopic(c.topic("b"), 1, 1), newTopic(c.topic("c"), 1, 1), newTopic(c.topic("b"), 2, 1))
		}},
		{"collides", 0, 0, func(c *conversation) {
			c.create("a.b", 1)
			c.createTopics(nil, newTopic(c.topic("a_b"), 1, 1))
		}},
		{"names", 0, 0, func(c *conversation) {
			for _, n := range []string{"", ".", "..", "a b", "ä", "a/b", "a\x00", strings.Repeat("x", 250)} {
				c.createTopics(nil, newTopic(n, 1, 1))
			}
			c.createTopics(nil, newTopic(c.topic(strings.Repeat("y", 249-len(c.prefix))), 1, 1))
			c.createTopics(nil, newTopic(c.topic(strings.Repeat("z", 250-len(c.prefix))), 1, 1))
		}},
		{"partitions and replication", 0, 0, func(c *conversation) {
			for _, pr := range [][2]int{{-1, -1}, {0, 1}, {-2, 1}, {1, 0}, {1, -2}, {1, 2}, {1, 32767}, {0, 0}, {-1, 1}, {1, -1}} {
				c.createTopics(nil, newTopic(c.topic("a"), int32(pr[0]), int16(pr[1])))
				c.createTopics(func(r *kmsg.CreateTopicsRequest) { r.ValidateOnly = c.version > 0 }, newTopic(c.topic("b"), int32(pr[0]), int16(pr[1])))
			}
		}},
		{"configurations", 0, 0, func(c *conversation) {
			for i, kv := range [][2]string{{"cleanup.policy", "compact"}, {"cleanup.policy", "compact,delete"}, {"cleanup.policy", "nonsense"}, {"cleanup.policy", ""}, {"retention.ms", "abc"},
				{"retention.ms", "-1"}, {"retention.ms", "-2"}, {"segment.bytes", "13"}, {"segment.bytes", "14"}, {"segment.bytes", "99999999999"}, {"no.such", "1"}, {"compression.type", "lzma"},
				{"min.insync.replicas", "0"}, {"max.message.bytes", "-1"}, {"message.timestamp.type", "Never"}, {"message.timestamp.type", "LogAppendTime"}, {"unclean.leader.election.enable", "yes"}, {"unclean.leader.election.enable", "TRUE"},
				{"min.cleanable.dirty.ratio", "1.1"}, {"min.cleanable.dirty.ratio", "x"}, {"retention.ms", " 5 "}, {"remote.storage.enable", "true"}, {"local.retention.ms", "5"}, {"message.format.version", "3.0"}, {"message.format.version", "x"},
				{"leader.replication.throttled.replicas", "0:1"}, {"leader.replication.throttled.replicas", "junk"}, {"follower.replication.throttled.replicas", "*"}, {"compression.gzip.level", "10"}, {"compression.zstd.level", "99"}, {"flush.messages", "0"}, {"preallocate", "true"}, {"message.downconversion.enable", "false"}} {
				c.createTopics(nil, config(newTopic(c.topic(fmt.Sprint("a", i)), 1, 1), kv[0], &kv[1]))
			}
		}},
		{"configurations: null, twice, several", 0, 0, func(c *conversation) {
			c.createTopics(nil, config(newTopic(c.topic("a"), 1, 1), "retention.ms", nil))
			c.createTopics(nil, config(config(newTopic(c.topic("b"), 1, 1), "retention.ms", ptr("1")), "retention.ms", ptr("2")))
			c.createTopics(nil, config(config(newTopic(c.topic("c"), 1, 1), "retention.ms", ptr("1")), "cleanup.policy", ptr("compact")))
			c.createTopics(nil, config(newTopic(c.topic("d"), 1, 1), "", ptr("1")))
			c.createTopics(nil, config(config(newTopic(c.topic("e"), 1, 1), "min.compaction.lag.ms", ptr("10")), "max.compaction.lag.ms", ptr("5")))
		}},
		{"assignments", 0, 0, func(c *conversation) {
			n := 0
			// Not asked: no replica at all, a replica −1, a partition −1. Kafka takes
			// those in, and its controller fails over them for ever.
			try := func(t kmsg.CreateTopicsRequestTopic) {
				c.createTopics(func(r *kmsg.CreateTopicsRequest) {
					if r.Topics[0].ReplicaAssignment[0].Replicas[0] == 7 { // there is no such broker: nobody will lead
						r.TimeoutMillis = 400
					}
				}, t)
			}
			topic := func(partitions int32, replicas int16) kmsg.CreateTopicsRequestTopic {
				n++
				return newTopic(c.topic(string(rune('a'+n))), partitions, replicas)
			}
			try(assigned(assigned(topic(-1, -1), 0, 1), 1, 1))
			try(assigned(topic(1, 1), 0, 1))
			try(assigned(topic(-1, 1), 0, 1))
			try(assigned(topic(1, -1), 0, 1))
			try(assigned(topic(-1, -1), 1, 1))
			try(assigned(assigned(topic(-1, -1), 0, 1), 2, 1))
			try(assigned(assigned(topic(-1, -1), 0, 1), 0, 1))
			try(assigned(topic(-1, -1), 0, 1, 1))
			try(assigned(topic(-1, -1), 0, 7))
			try(assigned(topic(-1, -1), 0, 1, 7))
			try(assigned(assigned(topic(-1, -1), 0, 1), 1, 1, 7))
		}},
		{"validate only", 1, 0, func(c *conversation) {
			c.createTopics(validate, newTopic(c.topic("a"), 2, 1), config(newTopic(c.topic("b"), 1, 1), "cleanup.policy", ptr("compact")), config(newTopic(c.topic("c"), 1, 1), "cleanup.policy", ptr("x")))
			c.metadata3(c.topic("a"))
		}},
		{"timeouts", 0, 0, func(c *conversation) {
			for i, d := range []int32{0, -1} {
				a := c.topic(string(rune('a' + i)))
				c.createTopics(func(r *kmsg.CreateTopicsRequest) { r.TimeoutMillis = d }, newTopic(a, 1, 1))
			}
			c.createTopics(func(r *kmsg.CreateTopicsRequest) { r.TimeoutMillis = 0 }, newTopic("a b", 1, 1))
			if c.version > 0 {
				c.createTopics(func(r *kmsg.CreateTopicsRequest) { r.TimeoutMillis, r.ValidateOnly = 0, true }, newTopic(c.topic("v"), 1, 1))
			}
		}},
		{"some good, some not", 0, 0, func(c *conversation) {
			c.createTopics(nil, newTopic(c.topic("a"), 1, 1), newTopic("a b", 1, 1), newTopic(c.topic("b"), 1, 3), newTopic(c.topic("c"), 1, 1))
		}},
	}
}

// metadata3 puts on record what a topic looks like.
func (c *conversation) metadata3(topics ...string) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	req.Topics = byName(topics...)
	c.ask(req)
}

func (c *conversation) deleteTopics(change func(*kmsg.DeleteTopicsRequest), topics ...kmsg.DeleteTopicsRequestTopic) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 15000
	if c.version >= 6 {
		req.Topics = topics
	} else {
		for _, t := range topics {
			req.TopicNames = append(req.TopicNames, *t.Topic)
		}
	}
	if change != nil {
		change(req)
	}
	c.ask(req)
}

func deleting(name string) kmsg.DeleteTopicsRequestTopic {
	return kmsg.DeleteTopicsRequestTopic{Topic: &name}
}

func deleteTopicsCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			c.deleteTopics(nil, deleting(a))
			c.metadata3(a)
			c.deleteTopics(nil, deleting(a))
		}},
		{"none", 0, 0, func(c *conversation) { c.deleteTopics(nil) }},
		{"unknown", 0, 0, func(c *conversation) { c.deleteTopics(nil, deleting(c.topic("a"))) }},
		{"bad names", 0, 0, func(c *conversation) {
			for _, n := range []string{"", ".", "a b"} {
				c.deleteTopics(nil, deleting(n))
			}
		}},
		{"some known, some not", 0, 0, func(c *conversation) {
			c.deleteTopics(nil, deleting(c.create("a", 1)), deleting(c.topic("b")), deleting(c.create("c", 1)))
		}},
		{"twice in one request", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.deleteTopics(nil, deleting(a), deleting(a))
		}},
		{"timeouts", 0, 0, func(c *conversation) {
			c.deleteTopics(func(r *kmsg.DeleteTopicsRequest) { r.TimeoutMillis = 0 }, deleting(c.create("a", 1)))
			c.deleteTopics(func(r *kmsg.DeleteTopicsRequest) { r.TimeoutMillis = -1 }, deleting(c.create("b", 1)))
			c.deleteTopics(func(r *kmsg.DeleteTopicsRequest) { r.TimeoutMillis = 0 }, deleting(c.topic("c")))
		}},
		{"by id", 6, 0, func(c *conversation) {
			a, b := c.create("a", 1), c.create("b", 1)
			ida, idb := c.id(a), c.id(b)
			byID := func(id [16]byte) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{TopicID: id} }
			c.deleteTopics(nil, byID(invented))
			c.deleteTopics(nil, kmsg.DeleteTopicsRequestTopic{TopicID: ida, Topic: &a})
			c.deleteTopics(nil, byID(ida), byID(invented))
			c.deleteTopics(nil, byID(idb), deleting(b))
			c.deleteTopics(nil, byID(idb), byID(idb))
			c.deleteTopics(nil, kmsg.DeleteTopicsRequestTopic{})
			c.deleteTopics(nil, byID(idb))
		}},
	}
}

func (c *conversation) createPartitions(change func(*kmsg.CreatePartitionsRequest), topics ...kmsg.CreatePartitionsRequestTopic) {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 15000
	req.Topics = topics
	if change != nil {
		change(req)
	}
	c.ask(req)
}

func growing(topic string, count int32, assignment ...[]int32) kmsg.CreatePartitionsRequestTopic {
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, count
	for _, a := range assignment {
		t.Assignment = append(t.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: a})
	}
	return t
}

func createPartitionsCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.createPartitions(nil, growing(a, 3))
			c.metadata3(a)
		}},
		{"none", 0, 0, func(c *conversation) { c.createPartitions(nil) }},
		{"counts", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			for _, n := range []int32{2, 1, 0, -1} {
				c.createPartitions(nil, growing(a, n))
			}
		}},
		{"unknown and bad names", 0, 0, func(c *conversation) {
			c.createPartitions(nil, growing(c.topic("a"), 2))
			c.createPartitions(nil, growing("a b", 2))
			c.createPartitions(nil, growing("", 2))
			for _, name := range []string{".", "..", "../up", "a/b", "/a", "a/", "a\x00b", strings.Repeat("x", 250)} {
				c.createPartitions(nil, growing(name, 2))
			}
		}},
		{"twice in one request", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.createPartitions(nil, growing(a, 2), growing(a, 3))
			c.metadata3(a)
		}},
		{"assignments", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.createPartitions(nil, growing(a, 2, []int32{7}))
			c.createPartitions(nil, growing(a, 2, []int32{1}, []int32{1}))
			c.createPartitions(nil, growing(a, 3, []int32{1}))
			c.createPartitions(nil, growing(a, 2, []int32{1, 1}))
			c.createPartitions(nil, growing(a, 2, []int32{1, 7}))
			c.createPartitions(nil, growing(a, 2, []int32{}))
			c.createPartitions(nil, growing(a, 2, []int32{-1}))
			empty := growing(a, 2)
			empty.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
			c.createPartitions(nil, empty)
			c.createPartitions(nil, growing(a, 3, []int32{1}))
			c.metadata3(a)
		}},
		{"validate only", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			validate := func(r *kmsg.CreatePartitionsRequest) { r.ValidateOnly = true }
			c.createPartitions(validate, growing(a, 2))
			c.createPartitions(validate, growing(a, 1))
			c.metadata3(a)
		}},
		{"timeouts", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.createPartitions(func(r *kmsg.CreatePartitionsRequest) { r.TimeoutMillis = 0 }, growing(a, 2))
			c.createPartitions(func(r *kmsg.CreatePartitionsRequest) { r.TimeoutMillis = -1 }, growing(a, 3))
			c.createPartitions(func(r *kmsg.CreatePartitionsRequest) { r.TimeoutMillis = 0 }, growing(c.topic("b"), 3))
		}},
		{"some good, some not", 0, 0, func(c *conversation) {
			c.createPartitions(nil, growing(c.create("a", 1), 2), growing(c.topic("b"), 2), growing(c.create("c", 1), 1))
		}},
	}
}
