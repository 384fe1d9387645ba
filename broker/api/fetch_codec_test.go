package api

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/internal/traffic"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

func randomFetch(r *rand.Rand, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	req.ReplicaID = -1
	if r.IntN(2) == 0 {
		if version >= 15 {
			req.ReplicaState.ID, req.ReplicaState.Epoch = 5, r.Int64()
		} else {
			req.ReplicaID = 5
		}
	}
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = r.Int32(), r.Int32(), r.Int32()
	req.IsolationLevel = int8(r.IntN(2))
	req.SessionID, req.SessionEpoch = r.Int32(), r.Int32()
	req.Rack = randomName(r)
	if version >= 12 && r.IntN(2) == 0 {
		req.ClusterID = kmsg.StringPtr("c")
	}
	for range r.IntN(4) {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = randomTopic(r, version)
		for range r.IntN(4) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.Int32(), r.Int64(), r.Int32()
			if version >= 5 {
				p.LogStartOffset = r.Int64()
			}
			if version >= 9 {
				p.CurrentLeaderEpoch = r.Int32()
			}
			if version >= 12 {
				p.LastFetchedEpoch = r.Int32()
			}
			if version >= 17 && r.IntN(2) == 0 {
				p.ReplicaDirectoryID = protocol.NewTopicID()
			}
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	if version >= 7 {
		for range r.IntN(3) {
			t := kmsg.NewFetchRequestForgottenTopic()
			t.Topic, t.TopicID = randomTopic(r, version)
			for range r.IntN(4) {
				t.Partitions = append(t.Partitions, r.Int32())
			}
			req.ForgottenTopics = append(req.ForgottenTopics, t)
		}
	}
	return req
}

func randomTopic(r *rand.Rand, version int16) (name string, id [16]byte) {
	if version >= 13 {
		return "", protocol.NewTopicID()
	}
	return randomName(r), id
}

// readFetch collects what the iterators yield.
func readFetch(f *fetchRequest) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = f.version
	req.ReplicaID = f.replicaID
	if f.version >= 15 {
		req.ReplicaState.ID, req.ReplicaState.Epoch = f.replicaID, f.replicaEpoch
	}
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = f.maxWaitMS, f.minBytes, f.maxBytes
	if f.readCommitted {
		req.IsolationLevel = 1
	}
	req.SessionID, req.SessionEpoch, req.Rack = f.sessionID, f.sessionEpoch, string(f.rack)
	for f.nextTopic() {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = string(f.topic), f.topicID
		for f.nextPartition() {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = f.partition.partition, f.partition.offset, f.partition.maxBytes
			p.LogStartOffset, p.CurrentLeaderEpoch, p.LastFetchedEpoch = f.partition.logStart, f.partition.currentLeaderEpoch, f.partition.lastFetchedEpoch
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	for f.nextForgottenTopic() {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.Topic, t.TopicID = string(f.topic), f.topicID
		for f.nextForgotten() {
			t.Partitions = append(t.Partitions, f.partition.partition)
		}
		req.ForgottenTopics = append(req.ForgottenTopics, t)
	}
	return req
}

// plainFetch drops what the iterator does not read.
func plainFetch(req *kmsg.FetchRequest) *kmsg.FetchRequest {
	req.ClusterID = nil
	req.UnknownTags = kmsg.Tags{}
	req.ReplicaState.UnknownTags = kmsg.Tags{}
	for i := range req.Topics {
		req.Topics[i].UnknownTags = kmsg.Tags{}
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			p.ReplicaDirectoryID, p.HighWatermark, p.UnknownTags = [16]byte{}, 1<<63-1, kmsg.Tags{}
		}
	}
	for i := range req.ForgottenTopics {
		req.ForgottenTopics[i].UnknownTags = kmsg.Tags{}
	}
	return req
}

func TestFetchRequestAgainstKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for version := int16(0); version <= maxFetch; version++ {
		for range 50 {
			want := randomFetch(r, version)
			body := want.AppendTo(nil)
			var f fetchRequest
			if err := f.decode(version, body); err != nil {
				t.Fatalf("v%d: %v", version, err)
			}
			got := readFetch(&f).AppendTo(nil)
			if want := plainFetch(want).AppendTo(nil); !bytes.Equal(got, want) {
				t.Fatalf("v%d:\n got %x\nwant %x", version, got, want)
			}
			for cut := range body[:min(len(body), 100)] {
				if err := f.decode(version, body[:cut]); err == nil {
					t.Fatalf("v%d: %d of %d bytes were accepted", version, cut, len(body))
				}
			}
		}
	}
}

func FuzzFetchRequest(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for version := int16(0); version <= maxFetch; version++ {
		f.Add(version, randomFetch(r, version).AppendTo(nil))
	}
	for _, frame := range traffic.Requests(f, int16(protocol.Fetch)) {
		_, body, err := protocol.ParseRequestHeader(frame.Bytes)
		if err != nil {
			f.Fatalf("%s: %v", frame.Origin, err)
		}
		f.Add(frame.Version, body)
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 0 || version > maxFetch {
			return
		}
		var q fetchRequest
		if q.decode(version, body) != nil {
			return
		}
		want := kmsg.NewPtrFetchRequest()
		want.Version = version
		if err := want.ReadFrom(body); err != nil {
			t.Fatalf("accepted what kmsg refuses: %v", err)
		}
		if want.IsolationLevel != 1 {
			want.IsolationLevel = 0
		}
		if got, want := readFetch(&q).AppendTo(nil), plainFetch(want).AppendTo(nil); !bytes.Equal(got, want) {
			t.Fatalf("\n got %x\nwant %x", got, want)
		}
	})
}

func TestFetchResponseAgainstKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for version := int16(0); version <= maxFetch; version++ {
		for range 50 {
			want, results, nodes := randomFetchResponse(r, version)
			reply := server.NewReplyPool().NewReply()
			appendFetchResponse(reply, version, want.ErrorCode, want.SessionID, results, nodes, nil)
			if got, want := encoded(t, reply), want.AppendTo(nil); !bytes.Equal(got, want) {
				t.Fatalf("v%d:\n got %x\nwant %x", version, got, want)
			}
		}
	}
}

func randomFetchResponse(r *rand.Rand, version int16) (*kmsg.FetchResponse, []fetchResult, []nodeEndpoint) {
	want := kmsg.NewPtrFetchResponse()
	want.Version = version
	want.ErrorCode, want.SessionID = int16(r.IntN(100)), r.Int32()
	var results []fetchResult
	for i := range r.IntN(4) {
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = randomTopic(r, version)
		topic.Topic += strings.Repeat("x", i) // neighbours must differ
		if version >= 13 {
			topic.Topic = ""
		}
		for range 1 + r.IntN(4) {
			q := kmsg.NewFetchResponseTopicPartition()
			q.Partition, q.ErrorCode, q.HighWatermark, q.LastStableOffset, q.LogStartOffset = r.Int32(), int16(r.IntN(100)), r.Int64(), r.Int64(), r.Int64()
			q.PreferredReadReplica = r.Int32()
			q.RecordBatches = bytes.Repeat([]byte{7}, r.IntN(100))
			if r.IntN(20) == 0 {
				q.RecordBatches = bytes.Repeat([]byte{8}, 100<<10)
			}
			res := fetchResult{topic: topic.Topic, topicID: topic.TopicID, partition: q.Partition, code: q.ErrorCode,
				highWatermark: q.HighWatermark, lastStable: q.LastStableOffset, logStart: q.LogStartOffset,
				divergingEpoch: -1, currentLeader: noHint, preferredReplica: q.PreferredReadReplica,
				records: server.Range{File: bytes.NewReader(q.RecordBatches), Len: len(q.RecordBatches)}}
			if r.IntN(2) == 0 {
				res.aborted = []commitlog.AbortedTxn{}
				q.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
				for range r.IntN(3) {
					a := kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: r.Int64(), FirstOffset: r.Int64()}
					q.AbortedTransactions = append(q.AbortedTransactions, a)
					res.aborted = append(res.aborted, commitlog.AbortedTxn{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
				}
			}
			if r.IntN(2) == 0 {
				res.divergingEpoch, res.divergingEndOffset = int32(r.IntN(9)), r.Int64()
				q.DivergingEpoch.Epoch, q.DivergingEpoch.EndOffset = res.divergingEpoch, res.divergingEndOffset
			}
			if r.IntN(2) == 0 {
				res.currentLeader = leaderHint{r.Int32(), int32(r.IntN(9))}
				q.CurrentLeader.LeaderID, q.CurrentLeader.LeaderEpoch = res.currentLeader.id, res.currentLeader.epoch
			}
			topic.Partitions = append(topic.Partitions, q)
			results = append(results, res)
		}
		want.Topics = append(want.Topics, topic)
	}
	var nodes []nodeEndpoint
	for i := range r.IntN(3) {
		nodes = append(nodes, nodeEndpoint{id: int32(i), host: "h", port: 9092})
		if version < 16 {
			continue
		}
		want.Brokers = append(want.Brokers, kmsg.FetchResponseBroker{NodeID: int32(i), Host: "h", Port: 9092})
	}
	return want, results, nodes
}

// A range that cannot be read is that partition's error and nobody else's.
func TestFetchResponseWithUnreadableRange(t *testing.T) {
	ok := fetchResult{topic: "t", partition: 1, divergingEpoch: -1, currentLeader: noHint, records: server.Range{File: strings.NewReader("ok"), Len: 2}}
	bad := ok
	bad.partition, bad.records = 2, server.Range{File: strings.NewReader(""), Len: 10}
	reply := server.NewReplyPool().NewReply()
	appendFetchResponse(reply, 12, 0, 0, []fetchResult{ok, bad, ok}, nil, func(r *fetchResult, err error) int16 { return 56 })
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 12
	if err := resp.ReadFrom(encoded(t, reply)); err != nil {
		t.Fatal(err)
	}
	p := resp.Topics[0].Partitions
	if len(p) != 3 || string(p[0].RecordBatches) != "ok" || p[1].ErrorCode != 56 || len(p[1].RecordBatches) != 0 || string(p[2].RecordBatches) != "ok" {
		t.Errorf("%+v", p)
	}
}
