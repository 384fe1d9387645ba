package differential

import (
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func apis() []api {
	return []api{
		{18, "api_versions", apiVersionsCases()},
		{3, "metadata", metadataCases()},
		{60, "describe_cluster", describeClusterCases()},
		{19, "create_topics", createTopicsCases()},
		{20, "delete_topics", deleteTopicsCases()},
		{37, "create_partitions", createPartitionsCases()},
		{43, "elect_leaders", electLeadersCases()},
		{0, "produce", produceCases()},
		{1, "fetch", fetchCases()},
		{2, "list_offsets", listOffsetsCases()},
		{23, "offset_for_leader_epoch", offsetForLeaderEpochCases()},
		{21, "delete_records", deleteRecordsCases()},
		{22, "init_producer_id", append(initProducerIDCases(), transactionalIDCases()...)},
		{32, "describe_configs", describeConfigsCases()},
		{33, "alter_configs", alterConfigsCases()},
		{44, "incremental_alter_configs", incrementalAlterConfigsCases()},
		{35, "describe_log_dirs", describeLogDirsCases()},
		{4, "leader_and_isr", leaderAndISRCases()},
		{6, "update_metadata", updateMetadataCases()},
		{5, "stop_replica", stopReplicaCases()},
		{67, "allocate_producer_ids", allocateProducerIDsCases()},
		{56, "alter_partition", alterPartitionCases()},
		{7, "controlled_shutdown", controlledShutdownCases()},

		{10, "find_coordinator", findCoordinatorCases()}, // makes the topic of offsets
		{11, "join_group", joinGroupCases()},
		{14, "sync_group", syncGroupCases()},
		{12, "heartbeat", heartbeatCases()},
		{13, "leave_group", leaveGroupCases()},
		{8, "offset_commit", offsetCommitCases()},
		{9, "offset_fetch", offsetFetchCases()},
		{47, "offset_delete", offsetDeleteCases()},
		{16, "list_groups", listGroupsCases()},
		{15, "describe_groups", describeGroupsCases()},
		{42, "delete_groups", deleteGroupsCases()},

		{24, "add_partitions_to_txn", addPartitionsToTxnCases()},
		{25, "add_offsets_to_txn", addOffsetsToTxnCases()},
		{26, "end_txn", endTxnCases()},
		{28, "txn_offset_commit", txnOffsetCommitCases()},
		{27, "write_txn_markers", writeTxnMarkersCases()},
		{61, "describe_producers", describeProducersCases()},
		{65, "describe_transactions", describeTransactionsCases()},
		{66, "list_transactions", listTransactionsCases()},
	}
}

func apiVersionsCases() []spec {
	named := func(name, version string) func(c *conversation) {
		return func(c *conversation) {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = name, version
			c.ask(req)
		}
	}
	return []spec{
		{"all", 0, 0, named("differential", "1.0")},
		{"name of software: empty", 3, 0, named("", "1.0")},
		{"name of software: invalid", 3, 0, named("a b", "1.0")},
		{"version of software: empty", 3, 0, named("a", "")},
		{"version of software: invalid", 3, 0, named("a", "-1")},
		{"name of software: odd but valid", 3, 0, named("a.b-c.9", "1")},
		{"twice on a connection", 0, 0, func(c *conversation) {
			named("a", "1")(c)
			named("b", "2")(c)
		}},
		{"unknown version", 0, 1, func(c *conversation) {
			req := kmsg.NewPtrApiVersionsRequest()
			for _, v := range []int16{5, 99, 32767} {
				req.Version = v
				c.key = -1 // leave the version as it is
				c.exchange(req, true)
			}
			c.raw(req, []byte{0, 18, 0, 99, 0, 0, 0, 4})
			c.raw(req, []byte{0, 18, 0xff, 0xff, 0, 0, 0, 5, 0xff, 0xff})
		}},
		{"frames that are none", 0, 1, func(c *conversation) {
			req := kmsg.NewPtrApiVersionsRequest()
			c.raw(req, nil)
			c.raw(req, []byte{0})
			c.raw(req, []byte{0, 18, 0, 0})
			c.raw(req, []byte{0, 18, 0, 0, 0, 0, 0, 9})
			c.raw(req, []byte{0, 18, 0, 0, 0, 0, 0, 9, 0, 9, 'a'})
			c.raw(req, []byte{0, 99, 0, 0, 0, 0, 0, 9, 0, 1, 'a'})
			c.raw(req, []byte{0xff, 0xff, 0, 0, 0, 0, 0, 9, 0, 1, 'a'})
			c.raw(req, []byte{0, 3, 0, 99, 0, 0, 0, 9, 0, 1, 'a'})
			c.raw(req, []byte{0, 3, 0xff, 0xff, 0, 0, 0, 9, 0, 1, 'a'})
			c.bytes(req, []byte{0xff, 0xff, 0xff, 0xff})
			c.bytes(req, []byte{0x7f, 0xff, 0xff, 0xff})
			c.bytes(req, []byte{0x80, 0, 0, 0})
			c.bytes(req, []byte("GET / HTTP/1.1\r\n\r\n"))
			c.bytes(req, []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3})
		}},
		{"bodies that are none", 0, 0, func(c *conversation) {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = "a", "1"
			req.SetVersion(c.version)
			header, body := encode(req, 1)
			c.correl = 0
			c.raw(req, append(append([]byte{}, header...), append(body, 1, 2, 3)...))
			if len(body) > 0 {
				c.close()
				c.correl = 0
				c.raw(req, append(append([]byte{}, header...), body[:len(body)-1]...))
			}
		}},
	}
}

func (c *conversation) metadata(topics []kmsg.MetadataRequestTopic, change ...func(*kmsg.MetadataRequest)) *kmsg.MetadataResponse {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = topics
	for _, f := range change {
		f(req)
	}
	resp, _ := c.ask(req).(*kmsg.MetadataResponse)
	return resp
}

func byName(names ...string) []kmsg.MetadataRequestTopic {
	out := []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		out = append(out, kmsg.MetadataRequestTopic{Topic: ptr(n)})
	}
	return out
}

func noCreation(r *kmsg.MetadataRequest) { r.AllowAutoTopicCreation = false }
func creation(r *kmsg.MetadataRequest)   { r.AllowAutoTopicCreation = true }

func metadataCases() []spec {
	return []spec{
		{"a topic", 0, 0, func(c *conversation) {
			c.metadata(byName(c.create("a", 3)), noCreation)
		}},
		{"two topics, one twice", 0, 0, func(c *conversation) {
			a, b := c.create("a", 1), c.create("b", 2)
			c.metadata(byName(b, a, b), noCreation)
		}},
		{"all topics", 1, 0, func(c *conversation) {
			c.create("a", 1)
			c.norm.own = true
			c.metadata(nil)
		}},
		{"all topics, as version 0 asks", 0, 1, func(c *conversation) {
			c.create("a", 1)
			c.norm.own = true
			c.metadata([]kmsg.MetadataRequestTopic{})
		}},
		{"no topics", 1, 0, func(c *conversation) { c.metadata([]kmsg.MetadataRequestTopic{}) }},
		{"unknown topic without creation", 4, 0, func(c *conversation) { c.metadata(byName(c.topic("a")), noCreation) }},
		{"unknown topic with creation", 0, 0, func(c *conversation) {
			c.metadata(byName(c.topic("a")), creation)
			c.appears(c.topic("a"))
			c.metadata(byName(c.topic("a")), creation)
		}},
		{"internal topic", 4, 0, func(c *conversation) { c.metadata(byName("__transaction_state_not"), noCreation) }},
		{"invalid names", 0, 0, func(c *conversation) {
			for _, create := range []func(*kmsg.MetadataRequest){noCreation, creation} {
				for _, n := range []string{"", ".", "..", "a b", "a/b", "ä", strings.Repeat("x", 250)} {
					c.metadata(byName(n), create)
				}
			}
		}},
		{"collision", 0, 0, func(c *conversation) {
			c.create("a.b", 1)
			c.metadata(byName(c.topic("a_b")), creation)
		}},
		{"known, unknown and invalid", 0, 0, func(c *conversation) {
			c.metadata(byName(c.topic("z"), c.create("a", 1), "a b"), noCreation)
		}},
		{"authorized operations", 8, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.metadata(byName(a, c.topic("unknown")), noCreation, func(r *kmsg.MetadataRequest) {
				r.IncludeClusterAuthorizedOperations, r.IncludeTopicAuthorizedOperations = c.version <= 10, true
			})
		}},
		{"by id", 10, 0, func(c *conversation) {
			a := c.create("a", 1)
			id := c.id(a)
			c.metadata([]kmsg.MetadataRequestTopic{{TopicID: id}}, noCreation)
			c.metadata([]kmsg.MetadataRequestTopic{{TopicID: invented}}, noCreation)
			c.metadata([]kmsg.MetadataRequestTopic{{TopicID: invented}, {TopicID: id}}, creation)
			c.metadata([]kmsg.MetadataRequestTopic{{TopicID: id, Topic: &a}}, noCreation)
			c.metadata([]kmsg.MetadataRequestTopic{{TopicID: id}, {Topic: &a}}, noCreation)
			c.metadata([]kmsg.MetadataRequestTopic{{}}, noCreation)
		}},
		{"a deleted topic", 0, 0, func(c *conversation) {
			a := c.create("a", 1)
			c.remove(a)
			c.metadata(byName(a), noCreation)
		}},
		{"null name", 0, 9, func(c *conversation) { c.metadata([]kmsg.MetadataRequestTopic{{}}, noCreation) }},
	}
}

// appears waits until a topic that is being created has a leader.
func (c *conversation) appears(topic string) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; wait() {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = byName(topic)
		resp := c.quietly(req).(*kmsg.MetadataResponse)
		if p := resp.Topics[0].Partitions; len(p) > 0 && p[0].ErrorCode == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %s does not appear", c.target.name, topic)
		}
	}
}

// remove deletes a topic and waits until it is gone.
func (c *conversation) remove(topic string) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 15000
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &topic}}
	resp := c.quietly(req).(*kmsg.DeleteTopicsResponse)
	if code := resp.Topics[0].ErrorCode; code != 0 {
		c.t.Fatalf("%s: cannot delete: error code %d", c.target.name, code)
	}
}

func describeClusterCases() []spec {
	return []spec{
		{"plain", 0, 0, func(c *conversation) { c.ask(kmsg.NewPtrDescribeClusterRequest()) }},
		{"authorized operations", 0, 0, func(c *conversation) {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.IncludeClusterAuthorizedOperations = true
			c.ask(req)
		}},
		{"endpoint types", 1, 0, func(c *conversation) {
			for _, e := range []int8{0, 1, 2, 3, -1} {
				req := kmsg.NewPtrDescribeClusterRequest()
				req.EndpointType = e
				c.ask(req)
			}
		}},
	}
}
