package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

func metadataFor(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(n)})
	}
	return req
}

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	w.lead("a", 3, 5)
	w.assign("b", 1, 2, 6, []int32{2, 1})
	for version := int16(0); version <= 12; version++ {
		all := kmsg.NewPtrMetadataRequest() // null: all topics
		if version == 0 {
			all.Topics = []kmsg.MetadataRequestTopic{}
		}
		resp := call[*kmsg.MetadataResponse](w, version, all)
		if len(resp.Brokers) != 2 || resp.Brokers[1].NodeID != 2 || resp.Brokers[1].Host != "host2" || resp.Brokers[1].Port != 9092 {
			t.Errorf("v%d: brokers %+v", version, resp.Brokers)
		}
		if version >= 1 && (resp.ControllerID != self || *resp.Brokers[0].Rack != "rack") || version >= 2 && *resp.ClusterID != clusterID {
			t.Errorf("v%d: %+v", version, resp)
		}
		if len(resp.Topics) != 2 {
			t.Fatalf("v%d: %d topics", version, len(resp.Topics))
		}
		resp = call[*kmsg.MetadataResponse](w, version, metadataFor("b", "a", "b"))
		if len(resp.Topics) != 2 || *resp.Topics[0].Topic != "b" || *resp.Topics[1].Topic != "a" {
			t.Fatalf("v%d: %+v", version, resp.Topics)
		}
		b, a := resp.Topics[0], resp.Topics[1]
		if version >= 10 && b.TopicID != topicID("b") {
			t.Errorf("v%d: id %v", version, b.TopicID)
		}
		p := b.Partitions[0]
		if b.ErrorCode != 0 || p.ErrorCode != 0 || p.Leader != 2 || !slices.Equal(p.Replicas, []int32{2, 1}) || len(a.Partitions) != 3 || version >= 7 && p.LeaderEpoch != 6 {
			t.Errorf("v%d: %+v", version, b)
		}
		if version > 0 {
			if resp = call[*kmsg.MetadataResponse](w, version, metadataFor()); len(resp.Topics) != 0 {
				t.Errorf("v%d: no topics were asked for, %d came", version, len(resp.Topics))
			}
		}
	}
	req := metadataFor("a")
	req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = true, true
	for version := int16(8); version <= 12; version++ {
		resp := call[*kmsg.MetadataResponse](w, version, req)
		if resp.Topics[0].AuthorizedOperations != 3576 || version <= 10 && resp.AuthorizedOperations != 8096 {
			t.Errorf("v%d: operations %d and %d", version, resp.Topics[0].AuthorizedOperations, resp.AuthorizedOperations)
		}
	}
}

func TestMetadataByID(t *testing.T) {
	w := newWorld(t)
	w.lead("a", 1, 5)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{TopicID: topicID("x")}, {TopicID: topicID("a")}, {Topic: kmsg.StringPtr("ignored")}}
	resp := call[*kmsg.MetadataResponse](w, 12, req)
	if len(resp.Topics) != 2 || resp.Topics[0].ErrorCode != kerr.UnknownTopicID.Code || resp.Topics[0].Topic != nil || resp.Topics[1].ErrorCode != 0 || *resp.Topics[1].Topic != "a" {
		t.Errorf("%+v", resp.Topics)
	}
	// Versions 10 and 11 have the field and refuse it.
	req.Topics = []kmsg.MetadataRequestTopic{{TopicID: topicID("a"), Topic: kmsg.StringPtr("a")}}
	resp = call[*kmsg.MetadataResponse](w, 10, req)
	if resp.Topics[0].ErrorCode != kerr.InvalidRequest.Code || len(resp.Brokers) != 0 {
		t.Errorf("%+v", resp)
	}
}

func TestMetadataCreatesTopics(t *testing.T) {
	w := newWorld(t)
	ask := func(version int16, allow bool, name string) int16 {
		req := metadataFor(name)
		req.AllowAutoTopicCreation = allow
		topic := call[*kmsg.MetadataResponse](w, version, req).Topics[0]
		if *topic.Topic != name || len(topic.Partitions) != 0 {
			t.Errorf("%+v", topic)
		}
		return topic.ErrorCode
	}
	for _, tt := range []struct {
		version int16
		allow   bool
		name    string
		fail    error
		want    *kerr.Error
		created bool
	}{
		{12, false, "n", nil, kerr.UnknownTopicOrPartition, false},
		{12, true, "n", nil, kerr.LeaderNotAvailable, true},
		{3, false, "n", nil, kerr.LeaderNotAvailable, true}, // older clients cannot say no
		{12, true, "bad name", nil, kerr.InvalidTopicException, false},
		{12, false, "bad name", nil, kerr.InvalidTopicException, false},
		{12, true, "n", fmt.Errorf("n: %w", kerr.TopicAlreadyExists), kerr.LeaderNotAvailable, true},
		{12, true, "n", fmt.Errorf("n: %w", kerr.InvalidReplicationFactor), kerr.InvalidReplicationFactor, true},
	} {
		w.topics.auto, w.topics.err = nil, tt.fail
		if got := ask(tt.version, tt.allow, tt.name); got != tt.want.Code || (len(w.topics.auto) == 1) != tt.created {
			t.Errorf("v%d %v %q: %d, created %v", tt.version, tt.allow, tt.name, got, w.topics.auto)
		}
	}
	off := newWorld(t, "auto.create.topics.enable=false")
	req := metadataFor("n")
	req.AllowAutoTopicCreation = true
	if got := call[*kmsg.MetadataResponse](off, 12, req).Topics[0].ErrorCode; got != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("with auto-creation off: %d", got)
	}
}

// A partition whose leader this client cannot reach.
func TestMetadataWithoutLeader(t *testing.T) {
	w := newWorld(t)
	w.assign("gone", 1, 9, 1, []int32{1, 9})
	w.assign("none", 1, -1, 1, []int32{1, 2})
	// Broker 2 leads and does not listen where this client is.
	req := kmsg.NewPtrUpdateMetadataRequest()
	req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = self, 3, -1
	one, two := kmsg.NewUpdateMetadataRequestLiveBroker(), kmsg.NewUpdateMetadataRequestLiveBroker()
	one.ID, two.ID = 1, 2
	one.Endpoints = []kmsg.UpdateMetadataRequestLiveBrokerEndpoint{{ListenerName: "PLAINTEXT", Host: "h", Port: 1}}
	two.Endpoints = []kmsg.UpdateMetadataRequestLiveBrokerEndpoint{{ListenerName: "OTHER", Host: "h", Port: 1}}
	req.LiveBrokers = []kmsg.UpdateMetadataRequestLiveBroker{one, two}
	state := kmsg.NewUpdateMetadataRequestTopicState()
	state.Topic, state.TopicID = "hidden", topicID("hidden")
	state.PartitionStates = []kmsg.UpdateMetadataRequestTopicPartition{{Leader: 2, Replicas: []int32{2}, ISR: []int32{2}}}
	req.TopicStates = []kmsg.UpdateMetadataRequestTopicState{state}
	call[*kmsg.UpdateMetadataResponse](w, 8, req)
	for version := int16(0); version <= 12; version++ {
		resp := call[*kmsg.MetadataResponse](w, version, metadataFor("gone", "none", "hidden"))
		for i, want := range []int16{kerr.LeaderNotAvailable.Code, kerr.LeaderNotAvailable.Code, kerr.ListenerNotFound.Code} {
			if i == 2 && version < 6 {
				want = kerr.LeaderNotAvailable.Code
			}
			p := resp.Topics[i].Partitions[0]
			if p.ErrorCode != want || p.Leader != -1 {
				t.Errorf("v%d %s: %+v", version, *resp.Topics[i].Topic, p)
			}
			if version == 0 && i == 0 && !slices.Equal(p.Replicas, []int32{1}) {
				t.Errorf("v0 lists replicas %v that it does not describe", p.Replicas)
			}
		}
		if len(resp.Brokers) != 1 {
			t.Errorf("v%d: brokers %+v", version, resp.Brokers)
		}
	}
}

func TestDescribeCluster(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	resp := call[*kmsg.DescribeClusterResponse](w, 1, req)
	if resp.ErrorCode != 0 || resp.ClusterID != clusterID || resp.ControllerID != 1 || len(resp.Brokers) != 2 || resp.EndpointType != 1 || resp.ClusterAuthorizedOperations != 8096 {
		t.Errorf("%+v", resp)
	}
	req.EndpointType = 2
	if resp = call[*kmsg.DescribeClusterResponse](w, 1, req); resp.ErrorCode != kerr.MismatchedEndpointType.Code || resp.ErrorMessage == nil {
		t.Errorf("%+v", resp)
	}
	req.EndpointType = 3
	if resp = call[*kmsg.DescribeClusterResponse](w, 1, req); resp.ErrorCode != kerr.UnsupportedEndpointType.Code {
		t.Errorf("%+v", resp)
	}
}

func TestCreateTopics(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range []string{"ok", "twice", "twice", "__cluster_metadata"} {
		c := kmsg.NewCreateTopicsRequestTopic()
		c.Topic, c.NumPartitions, c.ReplicationFactor = name, -1, -1
		c.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("7")}}
		c.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1}}, {Partition: 0, Replicas: []int32{2}}}
		req.Topics = append(req.Topics, c)
	}
	resp := call[*kmsg.CreateTopicsResponse](w, 7, req)
	codes := []int16{}
	for _, c := range resp.Topics {
		codes = append(codes, c.ErrorCode)
	}
	if !slices.Equal(codes, []int16{0, 42, 42, 42}) {
		t.Errorf("codes %v", codes)
	}
	if c := w.topics.created; len(c) != 1 || c[0].Name != "ok" || len(c[0].Assignment) != 2 || c[0].Assignment[0][0] != 2 || c[0].Configs[0].Name != "retention.ms" {
		t.Errorf("asked for %+v", c)
	}
	ok := resp.Topics[0]
	if ok.TopicID != topicID("ok") || ok.NumPartitions != 1 || ok.ReplicationFactor != 1 || ok.ErrorMessage != nil {
		t.Errorf("%+v", ok)
	}
	i := slices.IndexFunc(ok.Configs, func(c kmsg.CreateTopicsResponseTopicConfig) bool { return c.Name == "retention.ms" })
	if i < 0 || *ok.Configs[i].Value != "7" || ok.Configs[i].Source != int8(kmsg.ConfigSourceDynamicTopicConfig) || len(ok.Configs) < 20 {
		t.Errorf("configurations %+v", ok.Configs)
	}
	if m := resp.Topics[1].ErrorMessage; m == nil || *m != "Found multiple entries for this topic." || resp.Topics[1].NumPartitions != -1 {
		t.Errorf("%+v", resp.Topics[1])
	}
	w.topics.err = fmt.Errorf("Topic 'ok' already exists.: %w", kerr.TopicAlreadyExists)
	req.Topics = req.Topics[:1]
	c := call[*kmsg.CreateTopicsResponse](w, 7, req).Topics[0]
	if c.ErrorCode != kerr.TopicAlreadyExists.Code || c.ErrorMessage == nil || *c.ErrorMessage != "Topic 'ok' already exists." || c.NumPartitions != -1 {
		t.Errorf("%+v", c)
	}
	w.control.active = false
	if c := call[*kmsg.CreateTopicsResponse](w, 4, req).Topics[0]; c.ErrorCode != kerr.NotController.Code {
		t.Errorf("%+v", c)
	}
}

func TestDeleteTopics(t *testing.T) {
	w := newWorld(t)
	w.lead("a", 1, 0)
	w.lead("b", 1, 0)
	old := kmsg.NewPtrDeleteTopicsRequest()
	old.TopicNames = []string{"a", "no"}
	resp := call[*kmsg.DeleteTopicsResponse](w, 5, old)
	if resp.Topics[0].ErrorCode != 0 || *resp.Topics[1].Topic != "no" || resp.Topics[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%+v", resp.Topics)
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: topicID("b")}, {TopicID: topicID("x")}, {Topic: kmsg.StringPtr("a")}, {}}
	resp = call[*kmsg.DeleteTopicsResponse](w, 6, req)
	for i, want := range []int16{0, kerr.UnknownTopicID.Code, 0, kerr.TopicAuthorizationFailed.Code} {
		if resp.Topics[i].ErrorCode != want {
			t.Errorf("%d: %+v", i, resp.Topics[i])
		}
	}
	if *resp.Topics[0].Topic != "b" || !slices.Equal(w.topics.deleted, []string{"a", "b", "a"}) {
		t.Errorf("deleted %v, answered %+v", w.topics.deleted, resp.Topics)
	}
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: topicID("b"), Topic: kmsg.StringPtr("b")}}
	if resp = call[*kmsg.DeleteTopicsResponse](w, 6, req); resp.Topics[0].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("%+v", resp.Topics)
	}
	w.control.active = false
	if resp = call[*kmsg.DeleteTopicsResponse](w, 5, old); resp.Topics[0].ErrorCode != kerr.NotController.Code {
		t.Errorf("%+v", resp.Topics)
	}
	off := newWorld(t, "delete.topic.enable=false")
	for version, want := range map[int16]int16{2: kerr.InvalidRequest.Code, 3: kerr.TopicDeletionDisabled.Code} {
		if resp = call[*kmsg.DeleteTopicsResponse](off, version, old); resp.Topics[0].ErrorCode != want {
			t.Errorf("v%d: %+v", version, resp.Topics)
		}
	}
}

func TestCreatePartitions(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = []kmsg.CreatePartitionsRequestTopic{
		{Topic: "twice", Count: 1}, {Topic: "a", Count: 5, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1, 2}}}}, {Topic: "twice", Count: 2}}
	resp := call[*kmsg.CreatePartitionsResponse](w, 3, req)
	if len(resp.Topics) != 2 || resp.Topics[0].ErrorCode != kerr.InvalidRequest.Code || *resp.Topics[0].ErrorMessage != "Duplicate topic in request." || resp.Topics[1].ErrorCode != 0 {
		t.Errorf("%+v", resp.Topics)
	}
	if g := w.topics.grown; len(g) != 1 || g[0].Count != 5 || !slices.Equal(g[0].Assignment[0], []int32{1, 2}) {
		t.Errorf("asked for %+v", g)
	}
	w.control.active = false
	if resp = call[*kmsg.CreatePartitionsResponse](w, 0, req); resp.Topics[0].ErrorCode != kerr.NotController.Code {
		t.Errorf("%+v", resp.Topics)
	}
}

func TestDescribeConfigs(t *testing.T) {
	w := newWorld(t, "log.retention.ms=1234")
	w.lead("a", 1, 0)
	w.topics.own["a"] = map[string]string{"segment.ms": "99"}
	ask := func(version int16, kind kmsg.ConfigResourceType, name string, keys ...string) kmsg.DescribeConfigsResponseResource {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms = true
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
		return call[*kmsg.DescribeConfigsResponse](w, version, req).Resources[0]
	}
	for version := int16(0); version <= 4; version++ {
		r := ask(version, kmsg.ConfigResourceTypeTopic, "a", "segment.ms", "retention.ms")
		if r.ErrorCode != 0 || len(r.Configs) != 2 {
			t.Fatalf("v%d: %+v", version, r)
		}
		retention, segment := r.Configs[0], r.Configs[1]
		if retention.Name != "retention.ms" || *retention.Value != "1234" || *segment.Value != "99" {
			t.Errorf("v%d: %+v", version, r.Configs)
		}
		if version >= 1 && (retention.Source != kmsg.ConfigSourceStaticBrokerConfig || segment.Source != kmsg.ConfigSourceDynamicTopicConfig || len(segment.ConfigSynonyms) == 0) {
			t.Errorf("v%d: %+v", version, r.Configs)
		}
	}
	if r := ask(4, kmsg.ConfigResourceTypeBroker, "1"); r.ErrorCode != 0 || len(r.Configs) < 50 {
		t.Errorf("broker: error %d, %d configurations", r.ErrorCode, len(r.Configs))
	}
	for _, tt := range []struct {
		kind kmsg.ConfigResourceType
		name string
		want *kerr.Error
		text string
	}{
		{kmsg.ConfigResourceTypeTopic, "no", kerr.UnknownTopicOrPartition, ""},
		{kmsg.ConfigResourceTypeTopic, "b d", kerr.InvalidTopicException, "b d"},
		{kmsg.ConfigResourceTypeBroker, "2", kerr.InvalidRequest, "Unexpected broker id, expected 1 or empty string, but received 2"},
		{kmsg.ConfigResourceTypeBroker, "x", kerr.InvalidRequest, "Broker id must be an integer, but it is: x"},
		{kmsg.ConfigResourceTypeBrokerLogger, "1", kerr.InvalidRequest, "not supported"},
		{configResourceClientMetrics, "1", kerr.InvalidRequest, "KRaft"},
	} {
		if r := ask(4, tt.kind, tt.name); r.ErrorCode != tt.want.Code || r.ErrorMessage == nil || !strings.Contains(*r.ErrorMessage, tt.text) || len(r.Configs) != 0 {
			t.Errorf("%v %q: %+v", tt.kind, tt.name, r)
		}
	}
}

func TestChangeConfigs(t *testing.T) {
	w := newWorld(t)
	w.lead("a", 1, 0)
	type set = kmsg.IncrementalAlterConfigsRequestResourceConfig
	value := kmsg.StringPtr("1")
	ask := func(resources ...kmsg.IncrementalAlterConfigsRequestResource) []kmsg.IncrementalAlterConfigsResponseResource {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Resources = resources
		return call[*kmsg.IncrementalAlterConfigsResponse](w, 1, req).Resources
	}
	topic := func(name string, ops ...set) kmsg.IncrementalAlterConfigsRequestResource {
		return kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name, Configs: ops}
	}
	got := ask(
		topic("a", set{Name: "x", Op: kmsg.IncrementalAlterConfigOpAppend, Value: value}, set{Name: "y", Op: kmsg.IncrementalAlterConfigOpDelete}),
		topic("no", set{Name: "x", Value: value}),
		kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
		kmsg.IncrementalAlterConfigsRequestResource{ResourceType: configResourceClientMetrics, ResourceName: "1"},
	)
	for i, want := range []int16{0, kerr.UnknownTopicOrPartition.Code, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code} {
		if got[i].ErrorCode != want {
			t.Errorf("%d: %+v", i, got[i])
		}
	}
	if *got[1].ErrorMessage != "The topic 'no' does not exist." {
		t.Errorf("%s", *got[1].ErrorMessage)
	}
	if ops := w.topics.ops["change a"]; len(ops) != 2 || ops[0].Op != kmsg.IncrementalAlterConfigOpAppend || ops[1].Op != kmsg.IncrementalAlterConfigOpDelete {
		t.Errorf("asked for %+v", w.topics.ops)
	}
	for _, bad := range [][]kmsg.IncrementalAlterConfigsRequestResource{
		{topic("a", set{Name: "x", Value: value}, set{Name: "x", Value: value})},
		{topic("a", set{Name: "x"})},
		{topic("a"), topic("a")},
	} {
		w.topics.ops = nil
		for _, r := range ask(bad...) {
			if r.ErrorCode != kerr.InvalidRequest.Code || r.ErrorMessage == nil {
				t.Errorf("%+v", r)
			}
		}
		if w.topics.ops != nil {
			t.Errorf("%+v reached the topic", bad)
		}
	}
	req := kmsg.NewPtrAlterConfigsRequest()
	req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "a", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "x", Value: value}}}}
	if r := call[*kmsg.AlterConfigsResponse](w, 2, req).Resources[0]; r.ErrorCode != 0 || len(w.topics.ops["replace a"]) != 1 {
		t.Errorf("%+v %+v", r, w.topics.ops)
	}
	w.topics.err = fmt.Errorf("Unknown topic config name: x: %w", kerr.InvalidConfig)
	if r := call[*kmsg.AlterConfigsResponse](w, 2, req).Resources[0]; r.ErrorCode != kerr.InvalidConfig.Code || *r.ErrorMessage != "Unknown topic config name: x" {
		t.Errorf("%+v", r)
	}
}

func TestAllocateProducerIDs(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = 1, 30
	if r := call[*kmsg.AllocateProducerIDsResponse](w, 0, req); r.ErrorCode != 0 || r.ProducerIDStart != 5000 || r.ProducerIDLen != 1000 {
		t.Errorf("%+v", r)
	}
	req.BrokerEpoch = 29
	if r := call[*kmsg.AllocateProducerIDsResponse](w, 0, req); r.ErrorCode != kerr.StaleBrokerEpoch.Code || r.ProducerIDStart != 0 {
		t.Errorf("%+v", r)
	}
}

// Controllers of the past are refused, with an entry for every partition.
func TestStaleControllers(t *testing.T) {
	w := newWorld(t) // has heard of controller epoch 3; its broker epoch is 30
	w.lead("t", 1, 0)
	for _, tt := range []struct {
		controller int32
		broker     int64
		want       int16
	}{{2, 30, kerr.StaleControllerEpoch.Code}, {3, 29, kerr.StaleBrokerEpoch.Code}, {3, -1, 0}, {3, 31, 0}} {
		update := kmsg.NewPtrUpdateMetadataRequest()
		update.ControllerID, update.ControllerEpoch, update.BrokerEpoch = 1, tt.controller, tt.broker
		if r := call[*kmsg.UpdateMetadataResponse](w, 8, update); r.ErrorCode != tt.want {
			t.Errorf("UpdateMetadata %+v: %d", tt, r.ErrorCode)
		}
		roles := kmsg.NewPtrLeaderAndISRRequest()
		roles.ControllerEpoch, roles.BrokerEpoch = tt.controller, tt.broker
		roles.TopicStates = []kmsg.LeaderAndISRRequestTopicState{{Topic: "t", TopicID: topicID("t"), PartitionStates: []kmsg.LeaderAndISRRequestTopicPartition{{Leader: 1, LeaderEpoch: 0, Replicas: []int32{1}, ISR: []int32{1}}}}}
		roles.PartitionStates = []kmsg.LeaderAndISRRequestTopicPartition{{Topic: "t", Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}
		for _, version := range []int16{2, 4, 5, 7} {
			r := call[*kmsg.LeaderAndISRResponse](w, version, roles)
			entries := r.Partitions
			if version >= 5 {
				entries = r.Topics[0].Partitions
			}
			want := tt.want
			if want == 0 {
				want = kerr.StaleControllerEpoch.Code // the leader epoch is known already
			}
			if r.ErrorCode != tt.want || len(entries) != 1 || entries[0].ErrorCode != want {
				t.Errorf("LeaderAndIsr v%d %+v: %+v", version, tt, r)
			}
		}
		stop := kmsg.NewPtrStopReplicaRequest()
		stop.ControllerEpoch, stop.BrokerEpoch = tt.controller, tt.broker
		stop.Topics = []kmsg.StopReplicaRequestTopic{{Topic: "t", Partitions: []int32{0}, PartitionStates: []kmsg.StopReplicaRequestTopicPartitionState{{LeaderEpoch: 0}}}}
		for version := int16(1); version <= 4; version++ {
			r := call[*kmsg.StopReplicaResponse](w, version, stop)
			if r.ErrorCode != tt.want || len(r.Partitions) != 1 || r.Partitions[0].ErrorCode != tt.want {
				t.Errorf("StopReplica v%d %+v: %+v", version, tt, r)
			}
		}
	}
}

// The controller's older versions say the same in other words.
func TestOldControllers(t *testing.T) {
	w := newWorld(t)
	for version := int16(0); version <= 8; version++ {
		name := fmt.Sprintf("t%d", version)
		state := kmsg.UpdateMetadataRequestTopicPartition{Topic: name, Partition: 0, Leader: 1, LeaderEpoch: 4, Replicas: []int32{1}, ISR: []int32{1}}
		req := kmsg.NewPtrUpdateMetadataRequest()
		req.ControllerID, req.ControllerEpoch, req.BrokerEpoch = 1, 3, -1
		req.PartitionStates = []kmsg.UpdateMetadataRequestTopicPartition{state}
		req.TopicStates = []kmsg.UpdateMetadataRequestTopicState{{Topic: name, PartitionStates: req.PartitionStates}}
		b := kmsg.NewUpdateMetadataRequestLiveBroker()
		b.ID, b.Host, b.Port = 1, "h", 5
		b.Endpoints = []kmsg.UpdateMetadataRequestLiveBrokerEndpoint{{ListenerName: "PLAINTEXT", Host: "h", Port: 5}}
		req.LiveBrokers = []kmsg.UpdateMetadataRequestLiveBroker{b}
		call[*kmsg.UpdateMetadataResponse](w, version, req)
		s := w.view.Snapshot()
		p, ok := s.Partition(protocol.TopicPartition{Topic: name})
		if !ok || p.LeaderEpoch != 4 {
			t.Errorf("UpdateMetadata v%d: %+v", version, p)
		}
		broker, _ := s.Broker(1)
		if e, ok := broker.Endpoint("PLAINTEXT"); !ok || e.Host != "h" || e.Port != 5 {
			t.Errorf("UpdateMetadata v%d: %+v", version, broker)
		}
	}
	w.update(8)
	for version := int16(0); version <= 4; version++ {
		name := fmt.Sprintf("s%d", version)
		w.lead(name, 1, 0)
		stop := kmsg.NewPtrStopReplicaRequest()
		stop.ControllerEpoch, stop.BrokerEpoch, stop.DeletePartitions = 3, 30, true
		stop.Topics = []kmsg.StopReplicaRequestTopic{{Topic: name, Partitions: []int32{0}, PartitionStates: []kmsg.StopReplicaRequestTopicPartitionState{{LeaderEpoch: -2, Delete: true}}}}
		if r := call[*kmsg.StopReplicaResponse](w, version, stop); r.ErrorCode != 0 || len(r.Partitions) != 1 || r.Partitions[0].Topic != name || r.Partitions[0].ErrorCode != 0 {
			t.Errorf("StopReplica v%d: %+v", version, r)
		}
		if _, here := w.store.Log(protocol.TopicPartition{Topic: name}); here {
			t.Errorf("StopReplica v%d: the log is still there", version)
		}
	}
}
