package api

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// The highest versions that the hand-written codecs know.
const (
	maxProduce = 11
	maxFetch   = 17
)

func randomName(r *rand.Rand) string {
	return strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(200))
}

func randomProduce(r *rand.Rand, version int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version = version
	if version >= 3 && r.IntN(2) == 0 {
		req.TransactionID = kmsg.StringPtr(randomName(r))
	}
	req.Acks = int16(r.IntN(3) - 1)
	req.TimeoutMillis = r.Int32()
	for range r.IntN(4) {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = randomName(r)
		for range r.IntN(4) {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition = r.Int32()
			if r.IntN(4) > 0 {
				p.Records = bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(300))
			}
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// readProduce collects what the iterator yields.
func readProduce(p *produceRequest) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = p.version, p.acks, p.timeoutMS
	if p.transactionalID != nil {
		req.TransactionID = kmsg.StringPtr(string(p.transactionalID))
	}
	for p.nextTopic() {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = string(p.topic)
		for p.nextPartition() {
			q := kmsg.NewProduceRequestTopicPartition()
			q.Partition, q.Records = p.partition, p.records
			t.Partitions = append(t.Partitions, q)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

func TestProduceRequestAgainstKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for version := int16(0); version <= maxProduce; version++ {
		for range 200 {
			want := randomProduce(r, version)
			body := want.AppendTo(nil)
			var p produceRequest
			if err := p.decode(version, body); err != nil {
				t.Fatalf("v%d: %v", version, err)
			}
			topics, partitions, size := 0, 0, 0
			for _, topic := range want.Topics {
				topics += min(1, len(topic.Partitions))
				partitions += len(topic.Partitions)
				for _, q := range topic.Partitions {
					size += len(q.Records)
				}
			}
			if p.topics != topics || p.allPartitions != partitions || p.recordBytes != size {
				t.Fatalf("v%d: counted %d topics, %d partitions, %d bytes", version, p.topics, p.allPartitions, p.recordBytes)
			}
			got := readProduce(&p)
			if !bytes.Equal(got.AppendTo(nil), body) {
				t.Fatalf("v%d:\n got %+v\nwant %+v", version, got, want)
			}
			for cut := range body { // every cut is noticed, except that of trailing tags
				if err := p.decode(version, body[:cut]); err == nil {
					t.Fatalf("v%d: %d of %d bytes were accepted", version, cut, len(body))
				}
				if len(body) > 300 && cut > 60 {
					break
				}
			}
		}
	}
}

func FuzzProduceRequest(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for version := int16(0); version <= maxProduce; version++ {
		f.Add(version, randomProduce(r, version).AppendTo(nil))
	}
	f.Add(int16(3), []byte{0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 0 || version > maxProduce {
			return
		}
		var p produceRequest
		if p.decode(version, body) != nil {
			return
		}
		want := kmsg.NewPtrProduceRequest()
		want.Version = version
		if err := want.ReadFrom(body); err != nil {
			t.Fatalf("accepted what kmsg refuses: %v", err)
		}
		if got := readProduce(&p); !reflect.DeepEqual(got.Topics, withoutTags(want).Topics) {
			t.Fatalf("\n got %+v\nwant %+v", got.Topics, want.Topics)
		}
	})
}

// withoutTags drops unknown tagged fields, which the iterators skip.
func withoutTags(req *kmsg.ProduceRequest) *kmsg.ProduceRequest {
	if len(req.Topics) == 0 {
		req.Topics = nil
	}
	for i := range req.Topics {
		req.Topics[i].UnknownTags = kmsg.Tags{}
		if len(req.Topics[i].Partitions) == 0 {
			req.Topics[i].Partitions = nil
		}
		for j := range req.Topics[i].Partitions {
			req.Topics[i].Partitions[j].UnknownTags = kmsg.Tags{}
		}
	}
	return req
}

// encoded returns the bytes of a reply behind its size.
func encoded(t testing.TB, reply *server.Reply) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := reply.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[4:]
}

func TestProduceResponseAgainstKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for version := int16(0); version <= maxProduce; version++ {
		for range 200 {
			want := kmsg.NewPtrProduceResponse()
			want.Version = version
			reply := server.NewReplyPool().NewReply()
			n := r.IntN(4)
			w := newProduceResponse(reply, version, n)
			for range n {
				topic := kmsg.NewProduceResponseTopic()
				topic.Topic = randomName(r)
				m := r.IntN(4)
				w.beginTopic([]byte(topic.Topic), m)
				for range m {
					q, p := randomProduceResult(r, version)
					topic.Partitions = append(topic.Partitions, q)
					at := w.partition(&p)
					putInt16(reply.Buf[at:], q.ErrorCode) // what a wait that ends badly does
				}
				w.endTopic()
				want.Topics = append(want.Topics, topic)
			}
			var nodes []nodeEndpoint
			for i := range r.IntN(3) {
				rack := "r"
				nodes = append(nodes, nodeEndpoint{id: int32(i), host: "::1", port: 9092, rack: &rack})
				if version < 10 {
					continue
				}
				want.Brokers = append(want.Brokers, kmsg.ProduceResponseBroker{NodeID: int32(i), Host: "::1", Port: 9092, Rack: &rack})
			}
			w.end(nodes)
			if version >= 1 && reply.ThrottleAt == 0 {
				t.Errorf("v%d: no place for the throttle time", version)
			}
			if got, want := encoded(t, reply), want.AppendTo(nil); !bytes.Equal(got, want) {
				t.Fatalf("v%d:\n got %x\nwant %x", version, got, want)
			}
		}
	}
}

func randomProduceResult(r *rand.Rand, version int16) (kmsg.ProduceResponseTopicPartition, producePartition) {
	q := kmsg.NewProduceResponseTopicPartition()
	q.Partition, q.ErrorCode, q.BaseOffset, q.LogAppendTime, q.LogStartOffset = r.Int32(), int16(r.IntN(100)), r.Int64(), r.Int64(), r.Int64()
	p := producePartition{partition: q.Partition, code: -7, baseOffset: q.BaseOffset, appendTimeMS: q.LogAppendTime, logStart: q.LogStartOffset, currentLeader: noHint}
	if r.IntN(2) == 0 {
		q.ErrorMessage = kmsg.StringPtr(randomName(r))
		p.message = q.ErrorMessage
	}
	for i := range r.IntN(3) {
		e := record.RecordError{BatchIndex: int32(i), Message: randomName(r)}
		p.recordErrors = append(p.recordErrors, e)
		q.ErrorRecords = append(q.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: e.BatchIndex, ErrorMessage: &e.Message})
	}
	if r.IntN(2) == 0 {
		p.currentLeader = leaderHint{id: r.Int32(), epoch: int32(r.IntN(10))}
	}
	if version >= 10 && p.currentLeader.epoch >= 0 { // kmsg would write the tag before the version that has it
		q.CurrentLeader.LeaderID, q.CurrentLeader.LeaderEpoch = p.currentLeader.id, p.currentLeader.epoch
	}
	return q, p
}

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
		if version < 15 {
			want.ReplicaState = kmsg.NewFetchRequestReplicaState()
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
