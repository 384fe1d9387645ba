package differential

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *conversation) electLeaders(change func(*kmsg.ElectLeadersRequest), topics ...kmsg.ElectLeadersRequestTopic) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.TimeoutMillis = 15000
	req.Topics = append([]kmsg.ElectLeadersRequestTopic{}, topics...)
	if change != nil {
		change(req)
	}
	c.ask(req)
}

func electing(topic string, partitions ...int32) kmsg.ElectLeadersRequestTopic {
	return kmsg.ElectLeadersRequestTopic{Topic: topic, Partitions: partitions}
}

func electLeadersCases() []spec {
	unclean := func(r *kmsg.ElectLeadersRequest) { r.ElectionType = 1 }
	return []spec{
		{"not needed", 0, 0, func(c *conversation) {
			a := c.create("a", 2)
			c.electLeaders(nil, electing(a, 0))
			c.electLeaders(nil, electing(a, 1)) // not both: Kafka answers in any order
			c.electLeaders(unclean, electing(a, 0))
		}},
		{"none", 0, 0, func(c *conversation) {
			c.electLeaders(nil)
			c.electLeaders(nil, electing(c.create("a", 1)))
			c.electLeaders(nil, electing(c.topic("b")))
		}},
		{"all", 0, 0, func(c *conversation) {
			c.create("a", 1)
			c.electLeaders(func(r *kmsg.ElectLeadersRequest) { r.Topics = nil })
			c.electLeaders(func(r *kmsg.ElectLeadersRequest) { r.Topics, r.ElectionType = nil, 1 })
		}},
		{"unknown", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.electLeaders(nil, electing(c.topic("b"), 0))
			c.electLeaders(nil, electing(a, 1))
			c.electLeaders(nil, electing(a, -1))
			c.electLeaders(nil, electing("a b", 0))
			c.electLeaders(nil, electing("", math.MaxInt32))
			c.electLeaders(unclean, electing(c.topic("b"), 0))
		}},
		{"the preferred replica is elsewhere", 0, 0, func(c *conversation) {
			// Kafka makes the topic, and leaves the partition to the replica that lives.
			c.quietly(&kmsg.CreateTopicsRequest{TimeoutMillis: 15000, Topics: []kmsg.CreateTopicsRequestTopic{assigned(newTopic(c.topic("a"), -1, -1), 0, 7, 1)}})
			c.electLeaders(nil, electing(c.topic("a"), 0))
			c.electLeaders(unclean, electing(c.topic("a"), 0))
		}},
		{"kinds that there are not", 1, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, kind := range []int8{2, -1, 127} {
				c.electLeaders(func(r *kmsg.ElectLeadersRequest) { r.ElectionType = kind }, electing(a, 0))
			}
			c.electLeaders(func(r *kmsg.ElectLeadersRequest) { r.ElectionType, r.Topics = 2, nil })
		}},
		{"twice in one request", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.electLeaders(nil, electing(a, 0, 0))
			c.electLeaders(nil, electing(a, 0), electing(a, 0))
		}},
		{"timeouts", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			for _, timeout := range []int32{0, -1} {
				c.electLeaders(func(r *kmsg.ElectLeadersRequest) { r.TimeoutMillis = timeout }, electing(a, 0))
			}
		}},
	}
}
