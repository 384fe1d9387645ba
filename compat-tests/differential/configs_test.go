package differential

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describe(kind kmsg.ConfigResourceType, name string, configs []string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, configs
	req.Resources = append(req.Resources, r)
	return req
}

const (
	topicResource  = kmsg.ConfigResourceTypeTopic
	brokerResource = kmsg.ConfigResourceTypeBroker
	loggerResource = kmsg.ConfigResourceTypeBrokerLogger
)

// few are the broker configurations that are asked for by name.
var few = []string{"log.retention.hours", "log.retention.ms", "message.max.bytes", "num.partitions", "auto.create.topics.enable", "log.segment.bytes", "compression.type", "log.cleanup.policy",
	"min.insync.replicas", "unclean.leader.election.enable", "broker.id", "log.message.timestamp.type", "no.such.thing", "advertised.listeners", "broker.rack", "offsets.topic.replication.factor"}

func describeConfigsCases() []spec {
	return []spec{
		{"a topic", 0, 0, func(c *conversation) {
			c.ask(describe(topicResource, c.create("a", 1, [2]string{"cleanup.policy", "compact"}, [2]string{"retention.ms", "1234"}, [2]string{"max.message.bytes", "77"}), nil))
		}},
		{"a topic, with synonyms", 1, 0, func(c *conversation) {
			req := describe(topicResource, c.create("a", 1, [2]string{"cleanup.policy", "compact"}, [2]string{"max.message.bytes", "77"}), nil)
			req.IncludeSynonyms = true
			c.ask(req)
		}},
		{"a topic, with documentation", 3, 0, func(c *conversation) {
			req := describe(topicResource, c.create("a", 1), []string{"retention.ms", "cleanup.policy"})
			req.IncludeDocumentation = true
			c.norm.strip = map[string]bool{}
			c.ask(req)
		}},
		{"names", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, names := range [][]string{{}, {"retention.ms"}, {"no.such"}, {"retention.ms", "no.such", "cleanup.policy", "retention.ms"}, {""}, {"log.retention.ms"}} {
				c.ask(describe(topicResource, a, names))
			}
		}},
		{"unknown topics", 0, 0, func(c *conversation) {
			for _, n := range []string{c.topic("z"), "a b", "", "."} {
				c.ask(describe(topicResource, n, nil))
			}
		}},
		{"the broker, some by name", 0, 0, func(c *conversation) {
			req := describe(brokerResource, "1", few)
			req.IncludeSynonyms = true
			c.ask(req)
			c.ask(describe(brokerResource, "1", []string{}))
		}},
		{"the broker, everything", 4, 0, func(c *conversation) { c.ask(describe(brokerResource, "1", nil)) }},
		{"the broker default", 0, 0, func(c *conversation) {
			c.ask(describe(brokerResource, "", nil))
			c.ask(describe(brokerResource, "", few))
		}},
		{"other brokers", 0, 0, func(c *conversation) {
			for _, n := range []string{"2", "-1", "x", "01", "99999999999"} {
				c.ask(describe(brokerResource, n, few))
			}
		}},
		{"other kinds", 0, 0, func(c *conversation) {
			for _, kind := range []int8{0, 1, 3, 5, 16, 32, 99, -1} {
				c.ask(describe(kmsg.ConfigResourceType(kind), "1", []string{"x"}))
			}
		}},
		{"loggers", 0, 0, func(c *conversation) {
			c.ask(describe(loggerResource, "1", []string{"no.such.logger"}))
			c.ask(describe(loggerResource, "2", nil))
			c.ask(describe(loggerResource, "", nil))
		}},
		{"nothing", 0, 0, func(c *conversation) { c.ask(kmsg.NewPtrDescribeConfigsRequest()) }},
		{"several, one twice", 0, 0, func(c *conversation) {
			a, b := c.create("a", 1), c.create("b", 1)
			req := describe(topicResource, b, []string{"retention.ms"})
			for _, n := range []string{c.topic("z"), a, b} {
				req.Resources = append(req.Resources, describe(topicResource, n, []string{"retention.ms"}).Resources...)
			}
			c.ask(req)
		}},
	}
}

func alter(kind kmsg.ConfigResourceType, name string, configs ...[2]string) *kmsg.AlterConfigsRequest {
	req := kmsg.NewPtrAlterConfigsRequest()
	r := kmsg.NewAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, kv := range configs {
		r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: kv[0], Value: ptr(kv[1])})
	}
	req.Resources = append(req.Resources, r)
	return req
}

// overrides puts on record what a topic's own configurations are. Both brokers
// read them from ZooKeeper, where they are once the change is answered.
func (c *conversation) overrides(topic string) {
	req := describe(topicResource, topic, []string{"retention.ms", "cleanup.policy", "max.message.bytes", "leader.replication.throttled.replicas"})
	req.SetVersion(4)
	c.ask(req)
}

func alterConfigsCases() []spec {
	return []spec{
		{"a topic", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"max.message.bytes", "99"})
			c.ask(alter(topicResource, a, [2]string{"retention.ms", "5"}, [2]string{"cleanup.policy", "compact"}))
			c.overrides(a)
			c.ask(alter(topicResource, a))
			c.overrides(a)
		}},
		{"validate only", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, kv := range [][2]string{{"retention.ms", "5"}, {"retention.ms", "x"}} {
				req := alter(topicResource, a, kv)
				req.ValidateOnly = true
				c.ask(req)
			}
			c.overrides(a)
		}},
		{"bad values", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, kv := range [][2]string{{"retention.ms", "x"}, {"retention.ms", ""}, {"no.such", "1"}, {"", "1"}, {"cleanup.policy", "x"}, {"segment.bytes", "1"}, {"min.insync.replicas", "0"}, {"compression.type", "x"}} {
				c.ask(alter(topicResource, a, kv))
			}
			req := alter(topicResource, a, [2]string{"retention.ms", "1"})
			req.Resources[0].Configs[0].Value = nil
			c.ask(req)
			c.ask(alter(topicResource, a, [2]string{"retention.ms", "1"}, [2]string{"retention.ms", "2"}))
		}},
		{"unknown topics", 0, 0, func(c *conversation) {
			for _, n := range []string{c.topic("z"), "a b", ""} {
				c.ask(alter(topicResource, n, [2]string{"retention.ms", "5"}))
			}
		}},
		{"other kinds", 0, 0, func(c *conversation) {
			for _, kind := range []int8{0, 1, 3, 16, 99} {
				c.ask(alter(kmsg.ConfigResourceType(kind), "1", [2]string{"x", "1"}))
			}
		}},
		{"brokers", 0, 0, func(c *conversation) {
			for _, n := range []string{"2", "x"} {
				c.ask(alter(brokerResource, n, [2]string{"log.retention.ms", "5"}))
			}
			req := alter(brokerResource, "1", [2]string{"broker.id", "5"})
			req.ValidateOnly = true
			c.ask(req)
		}},
		{"loggers", 0, 0, func(c *conversation) { c.ask(alter(loggerResource, "1", [2]string{"kafka", "INFO"})) }},
		{"nothing", 0, 0, func(c *conversation) { c.ask(kmsg.NewPtrAlterConfigsRequest()) }},
		{"a topic twice", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			req := alter(topicResource, a, [2]string{"retention.ms", "5"})
			req.Resources = append(req.Resources, alter(topicResource, a, [2]string{"retention.ms", "6"}).Resources...)
			c.ask(req)
		}},
		{"several", 0, 0, func(c *conversation) {
			req := alter(topicResource, c.create("a", 1), [2]string{"retention.ms", "5"})
			req.Resources = append(req.Resources, alter(topicResource, c.topic("z"), [2]string{"retention.ms", "6"}).Resources...)
			req.Resources = append(req.Resources, alter(topicResource, c.create("b", 1), [2]string{"retention.ms", "x"}).Resources...)
			c.ask(req)
		}},
	}
}

func change(kind kmsg.ConfigResourceType, name string, config string, op kmsg.IncrementalAlterConfigOp, value *string) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	addChange(&r, config, op, value)
	req.Resources = append(req.Resources, r)
	return req
}

func addChange(r *kmsg.IncrementalAlterConfigsRequestResource, config string, op kmsg.IncrementalAlterConfigOp, value *string) {
	r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: config, Op: op, Value: value})
}

func incrementalAlterConfigsCases() []spec {
	const set, del, app, sub = 0, 1, 2, 3
	return []spec{
		{"operations", 0, 0, func(c *conversation) {
			a := c.create("a", 1, [2]string{"max.message.bytes", "99"})
			for _, s := range []struct {
				name  string
				op    kmsg.IncrementalAlterConfigOp
				value *string
			}{
				{"retention.ms", set, ptr("5")}, {"retention.ms", del, nil}, {"retention.ms", del, nil}, {"max.message.bytes", del, ptr("ignored")},
				{"cleanup.policy", app, ptr("compact")}, {"cleanup.policy", app, ptr("compact")}, {"cleanup.policy", sub, ptr("delete")}, {"cleanup.policy", sub, ptr("delete")}, {"cleanup.policy", sub, ptr("compact")},
				{"cleanup.policy", set, ptr("delete")}, {"cleanup.policy", app, ptr("nonsense")}, {"cleanup.policy", app, ptr("compact,delete")}, {"cleanup.policy", app, ptr("")}, {"retention.ms", app, ptr("5")}, {"retention.ms", sub, ptr("5")},
				{"leader.replication.throttled.replicas", app, ptr("0:1")}, {"leader.replication.throttled.replicas", app, ptr("1:1,2:1")}, {"leader.replication.throttled.replicas", sub, ptr("1:1")}, {"leader.replication.throttled.replicas", sub, ptr("9:9")},
				{"retention.ms", set, nil}, {"cleanup.policy", app, nil}, {"retention.ms", 9, ptr("1")}, {"retention.ms", -1, ptr("1")}, {"no.such", set, ptr("1")}, {"no.such", del, nil}, {"no.such", app, ptr("1")}, {"", set, ptr("1")},
				{"retention.ms", set, ptr("x")}, {"retention.ms", set, ptr("")},
			} {
				c.ask(change(topicResource, a, s.name, s.op, s.value))
				c.overrides(a)
			}
		}},
		{"a configuration twice", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			req := change(topicResource, a, "retention.ms", set, ptr("5"))
			addChange(&req.Resources[0], "retention.ms", set, ptr("6"))
			c.ask(req)
			req = change(topicResource, a, "retention.ms", set, ptr("5"))
			addChange(&req.Resources[0], "retention.ms", del, nil)
			addChange(&req.Resources[0], "max.message.bytes", set, nil)
			c.ask(req)
			c.overrides(a)
		}},
		{"several nulls", 0, 0, func(c *conversation) {
			req := change(topicResource, c.create("a", 1), "retention.ms", set, nil)
			addChange(&req.Resources[0], "max.message.bytes", set, nil)
			c.ask(req)
		}},
		{"validate only", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, v := range []string{"5", "x"} {
				req := change(topicResource, a, "retention.ms", set, &v)
				req.ValidateOnly = true
				c.ask(req)
			}
			c.overrides(a)
		}},
		{"unknown topics", 0, 0, func(c *conversation) {
			for _, n := range []string{c.topic("z"), "a b", ""} {
				c.ask(change(topicResource, n, "retention.ms", set, ptr("5")))
			}
		}},
		{"other kinds", 0, 0, func(c *conversation) {
			for _, kind := range []int8{0, 1, 3, 99} {
				c.ask(change(kmsg.ConfigResourceType(kind), "1", "x", set, ptr("1")))
			}
		}},
		{"brokers", 0, 0, func(c *conversation) {
			for _, n := range []string{"2", "x"} {
				c.ask(change(brokerResource, n, "log.retention.ms", set, ptr("5")))
			}
			req := change(brokerResource, "1", "broker.id", set, ptr("5"))
			req.ValidateOnly = true
			c.ask(req)
		}},
		{"loggers", 0, 0, func(c *conversation) {
			c.ask(change(loggerResource, "2", "kafka", set, ptr("INFO")))
			c.ask(change(loggerResource, "1", "kafka", set, ptr("LOUD")))
			c.ask(change(loggerResource, "1", "no.such.logger", set, ptr("INFO")))
			c.ask(change(loggerResource, "1", "kafka", app, ptr("INFO")))
		}},
		{"nothing", 0, 0, func(c *conversation) {
			c.ask(kmsg.NewPtrIncrementalAlterConfigsRequest())
			req := change(topicResource, c.create("a", 1), "retention.ms", set, nil)
			req.Resources[0].Configs = nil
			c.ask(req)
		}},
		{"a topic twice", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			req := change(topicResource, a, "retention.ms", set, ptr("5"))
			req.Resources = append(req.Resources, change(topicResource, a, "retention.ms", set, ptr("6")).Resources...)
			c.ask(req)
		}},
	}
}

func describeLogDirsCases() []spec {
	ask := func(c *conversation, topics ...kmsg.DescribeLogDirsRequestTopic) {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Topics = topics
		c.norm.strip = map[string]bool{"TotalBytes": true, "UsableBytes": true} // of the machine
		c.norm.own = true
		c.ask(req)
	}
	of := func(topic string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
		return kmsg.DescribeLogDirsRequestTopic{Topic: topic, Partitions: partitions}
	}
	return []spec{
		{"everything", 0, 0, func(c *conversation) {
			c.fill(c.create("a", 1), 0, 2)
			ask(c)
		}},
		{"a topic", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			c.fill(a, 0, 2)
			ask(c, of(a, 0, 1, 7))
			ask(c, of(a, 1))
			ask(c, of(a))
		}},
		{"unknown", 0, 0, func(c *conversation) { ask(c, of(c.topic("z"), 0)) }},
		{"none", 0, 0, func(c *conversation) {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
			c.norm.strip = map[string]bool{"TotalBytes": true, "UsableBytes": true}
			c.ask(req)
		}},
		{"is there a size", 4, 0, func(c *conversation) {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Topics = []kmsg.DescribeLogDirsRequestTopic{}
			req.SetVersion(4)
			resp, _ := c.exchange(req, false).(*kmsg.DescribeLogDirsResponse)
			c.note(true, resp != nil && resp.Dirs[0].TotalBytes > resp.Dirs[0].UsableBytes && resp.Dirs[0].UsableBytes > 0)
		}},
	}
}
