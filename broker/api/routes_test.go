package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

// What is announced, by key: lowest and highest version. 3.9 announces the same,
// except that its Fetch begins at 0.
var announced = map[protocol.APIKey][2]int16{
	protocol.Produce: {0, 11}, protocol.Fetch: {0, 17}, protocol.ListOffsets: {0, 9}, protocol.Metadata: {0, 12},
	protocol.LeaderAndIsr: {0, 7}, protocol.StopReplica: {0, 4}, protocol.UpdateMetadata: {0, 8},
	protocol.ApiVersions: {0, 4}, protocol.CreateTopics: {0, 7}, protocol.DeleteTopics: {0, 6}, protocol.DeleteRecords: {0, 2},
	protocol.InitProducerId: {0, 5}, protocol.OffsetForLeaderEpoch: {0, 4}, protocol.DescribeConfigs: {0, 4},
	protocol.AlterConfigs: {0, 2}, protocol.DescribeLogDirs: {0, 4}, protocol.CreatePartitions: {0, 3},
	protocol.IncrementalAlterConfigs: {0, 1}, protocol.DescribeCluster: {0, 1}, protocol.AllocateProducerIds: {0, 0},
	protocol.OffsetCommit: {0, 9}, protocol.OffsetFetch: {0, 9}, protocol.JoinGroup: {0, 9}, protocol.Heartbeat: {0, 4}, protocol.LeaveGroup: {0, 5},
	protocol.SyncGroup: {0, 5}, protocol.DescribeGroups: {0, 5}, protocol.ListGroups: {0, 5}, protocol.DeleteGroups: {0, 2}, protocol.OffsetDelete: {0, 0},
	protocol.ElectLeaders: {0, 2}, protocol.AlterPartition: {0, 3}, protocol.ControlledShutdown: {0, 3},
	protocol.FindCoordinator:    {0, 6},
	protocol.AddPartitionsToTxn: {0, 5}, protocol.AddOffsetsToTxn: {0, 4}, protocol.EndTxn: {0, 4}, protocol.TxnOffsetCommit: {0, 4},
	protocol.WriteTxnMarkers: {0, 1}, protocol.DescribeProducers: {0, 0}, protocol.DescribeTransactions: {0, 0}, protocol.ListTransactions: {0, 1},
}

func TestApiVersionsIsTheTable(t *testing.T) {
	w := newWorld(t)
	for version := range int16(5) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "a-client", "1.2.3"
		resp := call[*kmsg.ApiVersionsResponse](w, version, req)
		got := map[protocol.APIKey][2]int16{}
		for i, k := range resp.ApiKeys {
			got[protocol.APIKey(k.ApiKey)] = [2]int16{k.MinVersion, k.MaxVersion}
			if i > 0 && k.ApiKey <= resp.ApiKeys[i-1].ApiKey {
				t.Error("keys are not in order")
			}
		}
		if resp.ErrorCode != 0 || len(got) != len(announced) {
			t.Errorf("v%d: error %d, %d keys", version, resp.ErrorCode, len(got))
		}
		for k, v := range announced {
			if got[k] != v {
				t.Errorf("v%d: %s has versions %v, want %v", version, k, got[k], v)
			}
		}
		if version >= 3 && resp.FinalizedFeaturesEpoch != 5 {
			t.Errorf("v%d: feature epoch %d", version, resp.FinalizedFeaturesEpoch)
		}
	}
}

func TestApiVersionsOfTheFuture(t *testing.T) {
	w := newWorld(t)
	req := kmsg.NewPtrApiVersionsRequest()
	w.send(w.conn, req, 3)
	w.receive(w.conn, req)
	// A version that nobody knows, with a body that nobody can read.
	for _, version := range []int16{5, 126, -1} {
		frame := protocol.EncodeRequest(nil, 9, "c", req)
		frame[6], frame[7] = byte(version>>8), byte(version)
		if _, err := w.conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		reply, err := protocol.ReadFrame(w.conn, 1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp := kmsg.NewPtrApiVersionsResponse()
		if err := resp.ReadFrom(reply[4:]); err != nil {
			t.Fatal(err)
		}
		if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != int16(protocol.ApiVersions) || resp.ApiKeys[0].MaxVersion != 4 {
			t.Errorf("%+v", resp)
		}
	}
}

func TestApiVersionsRefusesNames(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"", "a b", "-a", "a-", "ä"} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = name, "1"
		if resp := call[*kmsg.ApiVersionsResponse](w, 3, req); resp.ErrorCode != kerr.InvalidRequest.Code || len(resp.ApiKeys) != 0 {
			t.Errorf("%q: error %d, %d keys", name, resp.ErrorCode, len(resp.ApiKeys))
		}
	}
}

// Every version of every key is answered in its own layout: call compares each
// response with what kmsg would write. Requests are as kmsg makes them, with
// nothing in them, and with something.
func TestEveryVersionIsAnswered(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 2, 0)
	for _, r := range w.routes {
		for version := r.Min; version <= r.Max; version++ {
			for _, fill := range []bool{false, true} {
				req := kmsg.RequestForKey(int16(r.Key))
				if d, ok := req.(interface{ Default() }); ok {
					d.Default()
				}
				if p, ok := req.(*kmsg.ProduceRequest); ok {
					p.Acks = 1 // 0, the default, has no answer
				}
				if fill {
					fillRequest(req)
				}
				call[kmsg.Response](w, version, req)
			}
		}
	}
}

// fillRequest puts elements into a request's arrays.
func fillRequest(req kmsg.Request) {
	name := "t"
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		*r = *produceOne(name, 0, 1, batch(2, 10))
	case *kmsg.FetchRequest:
		r.MaxBytes = 1 << 20
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes = 1 << 20
		r.Topics = []kmsg.FetchRequestTopic{{Topic: name, TopicID: topicID(name), Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	case *kmsg.ListOffsetsRequest:
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = -1
		r.ReplicaID = -1
		r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	case *kmsg.OffsetForLeaderEpochRequest:
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	case *kmsg.MetadataRequest:
		r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	case *kmsg.CreateTopicsRequest:
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = "new", 1, 1
		r.Topics = append(r.Topics, t)
	case *kmsg.DeleteTopicsRequest:
		r.TopicNames = []string{name}
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
	case *kmsg.CreatePartitionsRequest:
		r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: 3}}
	case *kmsg.ElectLeadersRequest:
		r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: name, Partitions: []int32{0, 1}}}
	case *kmsg.AlterPartitionRequest:
		p := kmsg.NewAlterPartitionRequestTopicPartition()
		p.NewISR, p.NewEpochISR = []int32{1}, []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{{BrokerID: 1}}
		r.Topics = []kmsg.AlterPartitionRequestTopic{{Topic: name, TopicID: topicID(name), Partitions: []kmsg.AlterPartitionRequestTopicPartition{p}}}
	case *kmsg.DeleteRecordsRequest:
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{}}}}
	case *kmsg.DescribeConfigsRequest:
		r.IncludeSynonyms, r.IncludeDocumentation = true, true
		r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}, {ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}
	case *kmsg.AlterConfigsRequest:
		r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}}
	case *kmsg.IncrementalAlterConfigsRequest:
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}}
	case *kmsg.OffsetCommitRequest:
		*r = *committing("g", name+"/0=1")
	case *kmsg.OffsetFetchRequest:
		*r = *fetching("g", name+"/0")
	case *kmsg.OffsetDeleteRequest:
		r.Group = "g"
		r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: name, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
	case *kmsg.JoinGroupRequest:
		*r = *joining("g", "member")
	case *kmsg.SyncGroupRequest:
		*r = *syncing("g", &kmsg.JoinGroupResponse{MemberID: "member"}, "member")
	case *kmsg.HeartbeatRequest:
		*r = *beating("g", "member", 1)
	case *kmsg.LeaveGroupRequest:
		r.Group, r.MemberID, r.Members = "g", "member", []kmsg.LeaveGroupRequestMember{{MemberID: "member"}}
	case *kmsg.DescribeGroupsRequest:
		r.Groups = []string{"g"}
	case *kmsg.DeleteGroupsRequest:
		r.Groups = []string{"g"}
	case *kmsg.ListGroupsRequest:
		r.StatesFilter, r.TypesFilter = []string{"Empty"}, []string{"classic"}
	case *kmsg.ApiVersionsRequest:
		r.ClientSoftwareName, r.ClientSoftwareVersion = "x", "1"
	}
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	for _, r := range w.routes {
		if r.Key == protocol.ApiVersions {
			continue // below version 3 it has no body
		}
		for _, version := range []int16{r.Min, r.Max} {
			c := w.dial(w.brokers)
			req := kmsg.RequestForKey(int16(r.Key))
			req.SetVersion(version)
			fillRequest(req)
			frame := protocol.EncodeRequest(nil, 1, "c", req)
			cut := frame[:len(frame)-1]
			cut[3]-- // a frame may be cut anywhere; here the last byte of the body is missing
			if cut[3] == 0xff {
				cut[2]--
			}
			if _, err := c.Write(cut); err != nil {
				t.Fatal(err)
			}
			w.expectClosed(c)
			c.Close()
		}
	}
}

// What only brokers send is not for listeners of clients.
func TestClientListener(t *testing.T) {
	w := newWorld(t)
	for _, r := range w.routes {
		if !r.InterBroker {
			continue
		}
		c := w.dial(w.clients)
		w.send(c, kmsg.RequestForKey(int16(r.Key)), r.Max)
		w.expectClosed(c)
		c.Close()
	}
}
