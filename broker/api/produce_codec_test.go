package api

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/internal/traffic"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
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
	for _, frame := range traffic.Requests(f, int16(protocol.Produce)) {
		_, body, err := protocol.ParseRequestHeader(frame.Bytes)
		if err != nil {
			f.Fatalf("%s: %v", frame.Origin, err)
		}
		f.Add(frame.Version, body)
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
