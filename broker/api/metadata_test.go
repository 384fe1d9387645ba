package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
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

// What is answered to those who ask for all topics is kept, so it must be kept
// apart by everything that it depends on.
func TestMetadataOfAllTopics(t *testing.T) {
	w := newWorld(t)
	w.lead("a", 3, 5)
	ask := func(version int16, change func(*kmsg.MetadataRequest)) *kmsg.MetadataResponse {
		req := kmsg.NewPtrMetadataRequest()
		if change != nil {
			change(req)
		}
		return call[*kmsg.MetadataResponse](w, version, req)
	}
	for range 2 {
		for version := int16(1); version <= 12; version++ {
			if got := ask(version, nil); len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 3 {
				t.Fatalf("v%d: %+v", version, got.Topics)
			}
		}
		operations := func(req *kmsg.MetadataRequest) {
			req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = true, true
		}
		if got := ask(9, operations); got.AuthorizedOperations != clusterOperations || got.Topics[0].AuthorizedOperations != topicOperations {
			t.Errorf("operations were asked for: %+v", got)
		}
		if got := ask(9, nil); got.AuthorizedOperations != noOperations || got.Topics[0].AuthorizedOperations != noOperations {
			t.Errorf("operations were not asked for: %+v", got)
		}
	}
	conn := w.dial(w.clients)
	defer conn.Close()
	w.conn, conn = conn, w.conn
	if got := ask(12, nil); got.Brokers[0].Port != 9093 {
		t.Errorf("on another listener: %+v", got)
	}
	w.conn, conn = conn, w.conn
	b := kmsg.NewUpdateMetadataRequestTopicState()
	b.Topic, b.TopicID = "b", topicID("b")
	for i := range int32(5000) { // more than is sent from memory in one piece
		b.PartitionStates = append(b.PartitionStates, kmsg.UpdateMetadataRequestTopicPartition{Partition: i, Leader: 2, Replicas: []int32{2}, ISR: []int32{2}})
	}
	w.update(1, b)
	for range 2 {
		got := ask(12, nil)
		if len(got.Topics) != 2 || len(got.Topics[0].Partitions)+len(got.Topics[1].Partitions) != 5003 {
			t.Fatalf("after a change: %d topics", len(got.Topics))
		}
	}
}

// tenThousand is a cluster of 1,000 topics with 10 partitions each.
func tenThousand() *cluster.View {
	u := cluster.Update{Brokers: []cluster.Broker{{ID: 1, Endpoints: []cluster.Endpoint{{Listener: "PLAINTEXT", Host: "host", Port: 9092}}}}}
	for i := range 1000 {
		name := fmt.Sprintf("topic-%d", i)
		t := cluster.TopicUpdate{Name: name, ID: topicID(name)}
		for j := range int32(10) {
			t.Partitions = append(t.Partitions, cluster.Partition{ID: j, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}})
		}
		u.Topics = append(u.Topics, t)
	}
	v := cluster.NewView()
	v.Apply(u)
	return v
}

func BenchmarkMetadata10k(b *testing.B) {
	view := tenThousand()
	w := metadataWriter{snapshot: view.Snapshot(), listener: "PLAINTEXT", version: 12, flexible: true}
	var bodies metadataBodies
	size := len(bodies.all(&w, clusterID))
	b.Run("all, kept", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			bodies.all(&w, clusterID)
		}
	})
	b.Run("all, after a change", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			bodies = metadataBodies{}
			bodies.all(&w, clusterID)
		}
	})
	b.Run("one topic", func(b *testing.B) {
		topic, _ := w.snapshot.Topic("topic-7")
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf = w.end(w.topic(w.head(buf[:0], clusterID), topic))
		}
	})
}

// With many clients that ask for all topics, the answer is written once.
func TestMetadataBodiesAreShared(t *testing.T) {
	w := metadataWriter{snapshot: tenThousand().Snapshot(), listener: "PLAINTEXT", version: 12, flexible: true}
	var bodies metadataBodies
	bodies.all(&w, clusterID)
	if n := testing.AllocsPerRun(10, func() { bodies.all(&w, clusterID) }); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}
