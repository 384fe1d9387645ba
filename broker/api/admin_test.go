package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

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
		{77, "1", kerr.InvalidRequest, "malformed"},
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
	incremental := kmsg.NewPtrIncrementalAlterConfigsRequest()
	incremental.Resources = []kmsg.IncrementalAlterConfigsRequestResource{topic("a", set{Name: "x", Value: value})}
	req.ValidateOnly, incremental.ValidateOnly = true, true
	w.topics.ops = nil
	call[*kmsg.AlterConfigsResponse](w, 2, req)
	call[*kmsg.IncrementalAlterConfigsResponse](w, 1, incremental)
	if len(w.topics.ops) != 2 || len(w.topics.ops["validate: replace a"]) != 1 || len(w.topics.ops["validate: change a"]) != 1 {
		t.Errorf("asked for %+v", w.topics.ops)
	}
	w.topics.err = fmt.Errorf("Unknown topic config name: x: %w", kerr.InvalidConfig)
	if r := call[*kmsg.AlterConfigsResponse](w, 2, req).Resources[0]; r.ErrorCode != kerr.InvalidConfig.Code || *r.ErrorMessage != "Unknown topic config name: x" {
		t.Errorf("%+v", r)
	}
}
