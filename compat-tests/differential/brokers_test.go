package differential

import "github.com/twmb/franz-go/pkg/kmsg"

// What a controller sends. The controller's epoch is 1 in both clusters.

func leaderAndISRCases() []spec {
	ask := func(c *conversation, change func(*kmsg.LeaderAndISRRequest), topic string, partitions ...kmsg.LeaderAndISRRequestTopicPartition) {
		req := kmsg.NewPtrLeaderAndISRRequest()
		req.ControllerID, req.ControllerEpoch, req.BrokerEpoch, req.Type = 1, 1, -1, 1
		if len(partitions) > 0 {
			if c.version < 2 {
				for i := range partitions {
					partitions[i].Topic = topic
				}
				req.PartitionStates = partitions
			} else {
				t := kmsg.NewLeaderAndISRRequestTopicState()
				t.Topic, t.PartitionStates = topic, partitions
				req.TopicStates = append(req.TopicStates, t)
			}
		}
		l := kmsg.NewLeaderAndISRRequestLiveLeader()
		l.BrokerID, l.Host, l.Port = 1, "127.0.0.1", c.norm.port
		req.LiveLeaders = append(req.LiveLeaders, l)
		if change != nil {
			change(req)
		}
		c.ask(req)
	}
	partition := func(p, epoch, leaderEpoch int32, change ...func(*kmsg.LeaderAndISRRequestTopicPartition)) kmsg.LeaderAndISRRequestTopicPartition {
		s := kmsg.NewLeaderAndISRRequestTopicPartition()
		s.Partition, s.ControllerEpoch, s.Leader, s.LeaderEpoch, s.ISR, s.Replicas = p, epoch, 1, leaderEpoch, []int32{1}, []int32{1}
		for _, f := range change {
			f(&s)
		}
		return s
	}
	return []spec{
		{"stale controller", 0, 0, func(c *conversation) {
			ask(c, func(r *kmsg.LeaderAndISRRequest) { r.ControllerEpoch = 0 }, c.create("a", 1), partition(0, 0, 0))
		}},
		{"stale broker epoch", 2, 0, func(c *conversation) {
			ask(c, func(r *kmsg.LeaderAndISRRequest) { r.BrokerEpoch = 0 }, c.create("a", 1), partition(0, 1, 0))
		}},
		{"nothing", 0, 0, func(c *conversation) { ask(c, nil, "") }},
		{"leader epochs", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			id := c.id(a)
			with := func(r *kmsg.LeaderAndISRRequest) {
				for i := range r.TopicStates {
					r.TopicStates[i].TopicID = id
				}
			}
			ask(c, with, a, partition(0, 1, 0))
			ask(c, with, a, partition(0, 1, 1))
			ask(c, with, a, partition(0, 1, 0))
			ask(c, with, a, partition(0, 1, 5, func(p *kmsg.LeaderAndISRRequestTopicPartition) { p.Replicas = []int32{7} }))
		}},
		{"another topic id", 5, 0, func(c *conversation) {
			a := c.create("a", 1)
			ask(c, func(r *kmsg.LeaderAndISRRequest) { r.TopicStates[0].TopicID = invented }, a, partition(0, 1, 3))
		}},
	}
}

func updateMetadataCases() []spec {
	ask := func(c *conversation, change func(*kmsg.UpdateMetadataRequest)) {
		req := kmsg.NewPtrUpdateMetadataRequest()
		req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = 1, 1, -1
		b := kmsg.NewUpdateMetadataRequestLiveBroker()
		b.ID, b.Host, b.Port = 1, "127.0.0.1", c.norm.port
		e := kmsg.NewUpdateMetadataRequestLiveBrokerEndpoint()
		e.Host, e.Port, e.ListenerName = "127.0.0.1", c.norm.port, "PLAINTEXT"
		b.Endpoints = append(b.Endpoints, e)
		req.LiveBrokers = append(req.LiveBrokers, b)
		change(req)
		c.ask(req)
	}
	return []spec{
		{"stale controller", 0, 0, func(c *conversation) { ask(c, func(r *kmsg.UpdateMetadataRequest) { r.ControllerEpoch = 0 }) }},
		{"stale broker epoch", 5, 0, func(c *conversation) { ask(c, func(r *kmsg.UpdateMetadataRequest) { r.BrokerEpoch = 0 }) }},
		{"no partitions", 0, 0, func(c *conversation) { ask(c, func(*kmsg.UpdateMetadataRequest) {}) }},
		{"a partition that is elsewhere, made known and deleted", 0, 0, func(c *conversation) {
			tell := func(leader int32) {
				ask(c, func(r *kmsg.UpdateMetadataRequest) {
					p := kmsg.NewUpdateMetadataRequestTopicPartition()
					p.ControllerEpoch, p.Leader, p.LeaderEpoch, p.ISR, p.Replicas = 1, leader, 4, []int32{7}, []int32{7, 1}
					if c.version < 5 {
						p.Topic = c.topic("ghost")
						r.PartitionStates = append(r.PartitionStates, p)
						return
					}
					t := kmsg.NewUpdateMetadataRequestTopicState()
					t.Topic, t.TopicID = c.topic("ghost"), invented
					t.PartitionStates = append(t.PartitionStates, p)
					r.TopicStates = append(r.TopicStates, t)
				})
				req := kmsg.NewPtrMetadataRequest()
				req.SetVersion(12)
				req.Topics = byName(c.topic("ghost"))
				c.ask(req)
			}
			tell(7)
			tell(-1)
			tell(-2)
		}},
	}
}

func stopReplicaCases() []spec {
	ask := func(c *conversation, change func(*kmsg.StopReplicaRequest), topic string, partition, leaderEpoch int32, del bool) {
		req := kmsg.NewPtrStopReplicaRequest()
		req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = 1, 1, -1
		req.DeletePartitions = del
		t := kmsg.NewStopReplicaRequestTopic()
		t.Topic, t.Partition, t.Partitions = topic, partition, []int32{partition}
		s := kmsg.NewStopReplicaRequestTopicPartitionState()
		s.Partition, s.LeaderEpoch, s.Delete = partition, leaderEpoch, del
		t.PartitionStates = append(t.PartitionStates, s)
		req.Topics = append(req.Topics, t)
		if change != nil {
			change(req)
		}
		c.ask(req)
	}
	return []spec{
		{"stale controller", 0, 0, func(c *conversation) {
			ask(c, func(r *kmsg.StopReplicaRequest) { r.ControllerEpoch = 0 }, c.create("a", 1), 0, 0, false)
		}},
		{"stale broker epoch", 1, 0, func(c *conversation) {
			ask(c, func(r *kmsg.StopReplicaRequest) { r.BrokerEpoch = 0 }, c.create("a", 1), 0, 0, false)
		}},
		{"unknown partition", 0, 0, func(c *conversation) {
			ask(c, nil, c.topic("z"), 0, 0, false)
			ask(c, nil, c.topic("z"), 0, 0, true)
		}},
		{"stop, start, delete", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			ask(c, nil, a, 0, 0, false)
			c.quietly(offsetsQuiet(a))
			ask(c, nil, a, 0, -2, true)
			ask(c, nil, a, 0, -2, true)
		}},
		{"nothing", 0, 0, func(c *conversation) {
			ask(c, func(r *kmsg.StopReplicaRequest) { r.Topics = nil }, "", 0, 0, false)
		}},
	}
}

func offsetsQuiet(topic string) kmsg.Request { return offsetsAt(topic, 0, -1) }

func allocateProducerIDsCases() []spec {
	ask := func(c *conversation, broker int32, epoch int64) {
		req := kmsg.NewPtrAllocateProducerIDsRequest()
		req.BrokerID, req.BrokerEpoch = broker, epoch
		c.ask(req)
	}
	return []spec{
		{"epochs and ids", 0, 0, func(c *conversation) {
			ask(c, 1, -1)
			ask(c, 1, 0)
			ask(c, 7, 0)
			ask(c, -1, -1)
		}},
	}
}

// What is accepted takes the broker's epoch, which no client is told.
func alterPartitionCases() []spec {
	ask := func(c *conversation, broker int32, epoch int64, topics ...kmsg.AlterPartitionRequestTopic) {
		req := kmsg.NewPtrAlterPartitionRequest()
		req.BrokerID, req.BrokerEpoch, req.Topics = broker, epoch, topics
		c.ask(req)
	}
	return []spec{
		{"brokers and epochs", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			t := kmsg.NewAlterPartitionRequestTopic()
			t.Topic, t.TopicID = a, c.id(a)
			p := kmsg.NewAlterPartitionRequestTopicPartition()
			p.NewISR, p.NewEpochISR = []int32{1}, []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{{BrokerID: 1, BrokerEpoch: -1}}
			t.Partitions = append(t.Partitions, p)
			for _, epoch := range []int64{-1, 0, 1 << 40} {
				ask(c, 1, epoch, t)
				ask(c, 7, epoch, t)
				ask(c, -1, epoch)
			}
		}},
	}
}

// Kafka never takes back that a broker is about to go: only what is refused is asked.
func controlledShutdownCases() []spec {
	ask := func(c *conversation, broker int32, epoch int64) {
		req := kmsg.NewPtrControlledShutdownRequest()
		req.BrokerID, req.BrokerEpoch = broker, epoch
		c.ask(req)
	}
	return []spec{
		{"unknown broker", 0, 0, func(c *conversation) {
			ask(c, 7, -1)
			ask(c, -1, -1)
		}},
		{"broker epochs", 2, 0, func(c *conversation) {
			ask(c, 1, 0)
			ask(c, 7, 0)
			ask(c, 7, 1<<40)
		}},
	}
}
