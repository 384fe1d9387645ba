package differential

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const offsetsTopic = "__consumer_offsets"

// Kinds of coordinators.
const (
	ofGroup int8 = iota
	ofTransaction
	ofShare
)

// lookFor is a request for coordinators: for all keys from version 4 on, for the first
// one before.
func (c *conversation) lookFor(kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType = kind
	if c.version >= 4 {
		req.CoordinatorKeys = keys
	} else {
		req.CoordinatorKey = keys[0]
	}
	return req
}

// coordinated waits until there is a coordinator of that kind, for which its topic may
// have to be made.
func (c *conversation) coordinated(kind int8) {
	c.t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = kind, []string{"any"}
	for range 300 {
		if code := c.quietly(req).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode; code != 15 {
			return
		}
		wait()
	}
	c.t.Fatalf("%s: no coordinator of kind %d", c.target.name, kind)
}

// askIn sends a request of another key, in a version of that, and puts the reply on
// record.
func (c *conversation) askIn(version int16, req kmsg.Request) {
	c.t.Helper()
	req.SetVersion(version)
	c.exchange(req, true)
}

// withoutOffsets deletes the topic of committed offsets, if there is one.
func (c *conversation) withoutOffsets() {
	c.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis, req.Topics = 15000, []kmsg.DeleteTopicsRequestTopic{deleting(offsetsTopic)}
	for range 300 {
		resp := c.quietly(req).(*kmsg.DeleteTopicsResponse)
		if resp.Topics[0].ErrorCode == 3 {
			return
		}
		wait()
	}
	c.t.Fatalf("%s: %s is not deleted", c.target.name, offsetsTopic)
}

func findCoordinatorCases() []spec {
	return []spec{
		{"no topic of offsets", 0, 0, func(c *conversation) {
			c.withoutOffsets()
			c.ask(c.lookFor(ofGroup, "g", "h"))
			c.coordinated(ofGroup)
			c.ask(c.lookFor(ofGroup, "g", "h"))
		}},
		{"keys", 0, 0, func(c *conversation) {
			c.coordinated(ofGroup)
			for _, key := range []string{"g", "", " ", "ä€😀", "a/b", strings.Repeat("x", 300)} {
				c.ask(c.lookFor(ofGroup, key))
			}
		}},
		{"several keys, one twice", 4, 0, func(c *conversation) {
			c.coordinated(ofGroup)
			c.ask(c.lookFor(ofGroup, "h", "g", "h", "", "i"))
			c.ask(c.lookFor(ofGroup))
		}},
		{"key and keys", 0, 0, func(c *conversation) {
			c.coordinated(ofGroup)
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"h"}
			c.ask(req)
		}},
		{"transactions", 1, 0, func(c *conversation) {
			c.coordinated(ofTransaction)
			c.ask(c.lookFor(ofTransaction, "t", "u"))
		}},
		{"shares", 1, 0, func(c *conversation) {
			for _, key := range []string{"g", "", "g:AAAAAAAAAAAAAAAAAAAAAQ:0", "g:x:y"} {
				c.ask(c.lookFor(ofShare, key, "h"))
			}
		}},
		{"kinds that there are not", 1, 0, func(c *conversation) {
			for _, kind := range []int8{-1, 3, 127, -128} {
				c.ask(c.lookFor(kind, "g", "h"))
			}
		}},

		// The topic itself, which is not for clients to write to.
		{"topic of offsets: metadata", 6, 0, func(c *conversation) {
			c.withoutOffsets()
			look := func(version int16, creates func(*kmsg.MetadataRequest)) {
				req := kmsg.NewPtrMetadataRequest()
				req.Topics = byName(offsetsTopic)
				creates(req)
				c.askIn(version, req)
			}
			look(12, noCreation)
			look(9, creation)
			c.coordinated(ofGroup)
			look(1, noCreation)
			look(12, noCreation)
		}},
		{"topic of offsets: configuration", 6, 0, func(c *conversation) {
			c.coordinated(ofGroup)
			req := describe(topicResource, offsetsTopic, []string{"cleanup.policy", "compression.type", "segment.bytes", "retention.ms"})
			c.askIn(4, req)
			c.askIn(1, change(topicResource, offsetsTopic, "retention.ms", 0, ptr("604800000")))
		}},
		{"topic of offsets: produce", 6, 0, func(c *conversation) {
			c.coordinated(ofGroup)
			for _, version := range []int16{0, 3, 9, 11} {
				c.askIn(version, produceTo(offsetsTopic, 0, newBatch("a").bytes()))
			}
			req := produceTo(offsetsTopic, 0, newBatch("a").bytes())
			req.SetVersion(11)
			c.raw(req, kmsg.NewRequestFormatter(kmsg.FormatterClientID("__admin_client")).AppendRequest(nil, req, c.correl+1)[4:])
			c.withoutOffsets() // no coordinator could read that
		}},
		{"topic of offsets: create, expand, delete", 6, 0, func(c *conversation) {
			c.coordinated(ofGroup)
			create := kmsg.NewPtrCreateTopicsRequest()
			create.TimeoutMillis, create.Topics = 15000, []kmsg.CreateTopicsRequestTopic{newTopic(offsetsTopic, 2, 1)}
			c.askIn(7, create)
			for _, n := range []int32{50, 49, 51} {
				expand := kmsg.NewPtrCreatePartitionsRequest()
				expand.TimeoutMillis, expand.Topics = 15000, []kmsg.CreatePartitionsRequestTopic{growing(offsetsTopic, n)}
				c.askIn(3, expand)
			}
			remove := kmsg.NewPtrDeleteTopicsRequest()
			remove.TimeoutMillis, remove.Topics = 15000, []kmsg.DeleteTopicsRequestTopic{deleting(offsetsTopic)}
			c.askIn(6, remove)
			c.withoutOffsets()
			made := c.quietly(create).(*kmsg.CreateTopicsResponse)
			for made.Topics[0].ErrorCode == 36 { // it is being deleted still
				wait()
				made = c.quietly(create).(*kmsg.CreateTopicsResponse)
			}
			c.note(true, c.norm.reply(made))
			c.withoutOffsets()
		}},
		{"topic of offsets: delete records", 6, 0, func(c *conversation) {
			c.coordinated(ofGroup)
			req := kmsg.NewPtrDeleteRecordsRequest()
			t := kmsg.NewDeleteRecordsRequestTopic()
			t.Topic, t.Partitions = offsetsTopic, []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 0}}
			req.Topics, req.TimeoutMillis = append(req.Topics, t), 1000
			c.askIn(2, req)
		}},
	}
}
