package api

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// offsets lists base offset and record count of the batches in a response.
func offsets(t *testing.T, records []byte) (out [][2]int64) {
	t.Helper()
	for len(records) > 0 {
		b, rest, err := record.Next(records)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, [2]int64{b.BaseOffset(), int64(b.Count())})
		records = rest
	}
	return out
}

func TestProduceAndFetchInEveryVersion(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 2, 0)
	next := int64(0)
	for version := int16(0); version <= 11; version++ {
		for _, acks := range []int16{1, -1} {
			resp := call[*kmsg.ProduceResponse](w, version, produceOne("t", 1, acks, batch(3, 10)))
			p := resp.Topics[0].Partitions[0]
			if resp.Topics[0].Topic != "t" || p.Partition != 1 || p.ErrorCode != 0 || p.BaseOffset != next || p.LogAppendTime != -1 {
				t.Fatalf("v%d: %+v", version, resp)
			}
			next += 3
		}
	}
	for version := int16(4); version <= 17; version++ {
		resp := call[*kmsg.FetchResponse](w, version, fetchOne("t", 1, 10))
		if len(resp.Topics) != 1 || resp.ErrorCode != 0 || version < 13 && resp.Topics[0].Topic != "t" || version >= 13 && resp.Topics[0].TopicID != topicID("t") {
			t.Fatalf("v%d: %+v", version, resp)
		}
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.HighWatermark != next || p.LastStableOffset != next || p.AbortedTransactions != nil || p.PreferredReadReplica != -1 {
			t.Fatalf("v%d: %+v", version, p)
		}
		got := offsets(t, p.RecordBatches)
		if int64(len(got)) != next/3-3 || got[0] != [2]int64{9, 3} {
			t.Fatalf("v%d: batches %v", version, got)
		}
	}
}

func TestProduceErrors(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	w.assign("elsewhere", 1, 2, 7, []int32{2})
	w.lead("__consumer_offsets", 1, 0)
	good := func() []byte { return batch(1, 1) }
	corrupt := good()
	corrupt[len(corrupt)-1] ^= 1
	transactional := func() []byte {
		b := record.NewBuilder().SetProducer(9, 0, 0).SetTransactional(true)
		b.Append(1, nil, []byte("x"))
		out, _ := b.Build()
		return out
	}
	tests := []struct {
		name    string
		req     *kmsg.ProduceRequest
		code    *kerr.Error
		start   int64
		leader  int32
		message bool
	}{
		{"no topic", produceOne("no", 0, 1, good()), kerr.UnknownTopicOrPartition, -1, -1, false},
		{"no partition", produceOne("t", 9, 1, good()), kerr.UnknownTopicOrPartition, -1, -1, false},
		{"other leader", produceOne("elsewhere", 0, 1, good()), kerr.NotLeaderForPartition, -1, 2, false},
		{"acks", produceOne("t", 0, 2, good()), kerr.InvalidRequiredAcks, -1, -1, false},
		{"internal", produceOne("__consumer_offsets", 0, 1, good()), kerr.InvalidTopicException, -1, -1, false},
		{"corrupt", produceOne("t", 0, 1, corrupt), kerr.CorruptMessage, -1, -1, false},
		{"empty", produceOne("t", 0, 1, []byte{}), kerr.InvalidRecord, -1, -1, false},
		{"null", produceOne("t", 0, 1, nil), kerr.InvalidRecord, -1, -1, false},
		{"two batches", produceOne("t", 0, 1, append(good(), good()...)), kerr.InvalidRecord, -1, -1, false},
		{"too large", produceOne("t", 0, 1, batch(1, 1<<20)), kerr.MessageTooLarge, -1, -1, false},
		{"no transaction", func() *kmsg.ProduceRequest {
			r := produceOne("t", 0, 1, transactional())
			r.TransactionID = kmsg.StringPtr("tx")
			return r
		}(), kerr.NotEnoughReplicas, -1, -1, false},
		{"no transactional id", produceOne("t", 0, 1, transactional()), kerr.TransactionalIDAuthorizationFailed, -1, -1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for version := int16(0); version <= 11; version++ {
				if version < 3 && (len(tt.req.Topics[0].Partitions[0].Records) == 0 || tt.req.TransactionID != nil) {
					continue // a message set may be empty, and there is no transactional id
				}
				resp := call[*kmsg.ProduceResponse](w, version, tt.req)
				p := resp.Topics[0].Partitions[0]
				if p.ErrorCode != tt.code.Code || p.BaseOffset != -1 || p.LogAppendTime != -1 {
					t.Errorf("v%d: %+v, want %s", version, p, tt.code.Message)
				}
				if version >= 5 && p.LogStartOffset != tt.start {
					t.Errorf("v%d: log start %d, want %d", version, p.LogStartOffset, tt.start)
				}
				if version >= 10 && tt.leader >= 0 {
					if p.CurrentLeader.LeaderID != tt.leader || p.CurrentLeader.LeaderEpoch != 7 || len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != 2 || resp.Brokers[0].Host != "host2" || resp.Brokers[0].Port != 9092 {
						t.Errorf("v%d: leader %+v at %+v", version, p.CurrentLeader, resp.Brokers)
					}
				} else if len(resp.Brokers) != 0 || p.CurrentLeader.LeaderEpoch != -1 {
					t.Errorf("v%d: a hint where none belongs: %+v", version, resp)
				}
			}
		})
	}
}

// Faults of single records are told one by one (KIP-467).
func TestProduceRecordErrors(t *testing.T) {
	w := newWorld(t, "log.cleanup.policy=compact")
	w.lead("t", 1, 0)
	b := record.NewBuilder()
	b.Append(1, []byte("k"), nil)
	b.Append(1, nil, nil) // a compacted topic wants keys
	records, _ := b.Build()
	p := call[*kmsg.ProduceResponse](w, 11, produceOne("t", 0, 1, records)).Topics[0].Partitions[0]
	if p.ErrorCode != kerr.InvalidRecord.Code || len(p.ErrorRecords) != 1 || p.ErrorRecords[0].RelativeOffset != 1 || p.ErrorMessage == nil || p.LogStartOffset != 0 {
		t.Errorf("%+v", p)
	}
}

// What is told of single records is bounded for a response as a whole: faulty
// records compress well, and a request has room for very many.
func TestProduceRecordErrorsAreBounded(t *testing.T) {
	w := newWorld(t, "log.cleanup.policy=compact")
	w.lead("t", 1, 0)
	b := record.NewBuilder().SetCodec(record.Zstd, record.DefaultLevel)
	for range 1000 {
		b.Append(1, nil, nil)
	}
	records, _ := b.Build()
	req := produceOne("t", 0, 1, records)
	for range 99 {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	}
	described := 0
	for i, p := range call[*kmsg.ProduceResponse](w, 11, req).Topics[0].Partitions {
		described += len(p.ErrorRecords)
		if p.ErrorCode != kerr.InvalidRecord.Code || p.ErrorMessage == nil || i == 0 && len(p.ErrorRecords) != 1000 {
			t.Fatalf("partition %d: %+v", i, p)
		}
	}
	if described != maxDescribed {
		t.Errorf("%d records are described, in answer to a request of %d bytes", described, 100*len(records))
	}
}

func TestIdempotentProducer(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	id := call[*kmsg.InitProducerIDResponse](w, 5, req)
	if id.ErrorCode != 0 || id.ProducerID != 1 || id.ProducerEpoch != 0 {
		t.Fatalf("%+v", id)
	}
	send := func(sequence int32) kmsg.ProduceResponseTopicPartition {
		b := record.NewBuilder().SetProducer(id.ProducerID, 0, sequence)
		b.Append(5, nil, []byte("x"))
		records, _ := b.Build()
		return call[*kmsg.ProduceResponse](w, 11, produceOne("t", 0, -1, records)).Topics[0].Partitions[0]
	}
	for i, want := range []int64{0, 1} {
		if p := send(int32(i)); p.ErrorCode != 0 || p.BaseOffset != want {
			t.Errorf("%+v", p)
		}
	}
	if p := send(0); p.ErrorCode != 0 || p.BaseOffset != 0 || p.LogAppendTime != 5 { // as Kafka: the time of the original batch
		t.Errorf("duplicate: %+v", p)
	}
	if p := send(7); p.ErrorCode != kerr.OutOfOrderSequenceNumber.Code {
		t.Errorf("gap: %+v", p)
	}
}

func TestInitProducerIDErrors(t *testing.T) {
	w := newWorld(t)
	ask := func(version int16, txn *string, id int64, epoch int16) int16 {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = txn, 60_000, id, epoch
		resp := call[*kmsg.InitProducerIDResponse](w, version, req)
		if resp.ErrorCode != 0 && (resp.ProducerID != -1 || resp.ProducerEpoch != -1) {
			t.Errorf("an id beside an error: %+v", resp)
		}
		return resp.ErrorCode
	}
	tx, empty := "tx", ""
	for _, tt := range []struct {
		version int16
		txn     *string
		id      int64
		epoch   int16
		want    int16
	}{
		{5, nil, -1, -1, 0}, {5, nil, 5, 3, 0}, {5, nil, 5, -1, 42}, {3, nil, -1, 2, 42}, {2, nil, -1, -1, 0},
		{5, &empty, -1, -1, 42}, {0, &tx, -1, -1, 16},
	} {
		if got := ask(tt.version, tt.txn, tt.id, tt.epoch); got != tt.want {
			t.Errorf("v%d %v %d/%d: %d, want %d", tt.version, tt.txn, tt.id, tt.epoch, got, tt.want)
		}
	}
}

// A topic without partitions is not answered, as in Kafka.
func TestProduceToNoPartition(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	req := produceOne("t", 0, 1, batch(1, 1))
	req.Topics = append([]kmsg.ProduceRequestTopic{{Topic: "t"}}, req.Topics...)
	for version := int16(0); version <= 11; version++ {
		resp := call[*kmsg.ProduceResponse](w, version, req)
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", version, resp.Topics)
		}
	}
}

// Where no batch can be told, nothing of the request is taken, as with Kafka.
func TestProduceOfWhatIsNoBatch(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 2, 0)
	for version := int16(0); version <= 11; version++ {
		req := produceOne("t", 0, 1, batch(1, 1))
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: 1, Records: make([]byte, 61)})
		for _, p := range call[*kmsg.ProduceResponse](w, version, req).Topics[0].Partitions {
			if p.ErrorCode != kerr.CorruptMessage.Code || p.BaseOffset != -1 {
				t.Errorf("v%d: %+v", version, p)
			}
			if version >= 8 && (p.ErrorMessage == nil || *p.ErrorMessage != "Record size 0 is less than the minimum record overhead (14)") {
				t.Errorf("v%d: %v", version, p.ErrorMessage)
			}
		}
	}
	if at := w.produce("t", 0, batch(1, 1)); at != 0 {
		t.Errorf("%d records were appended", at)
	}
}

// messageSet is the records of batch(n, size) as a message set.
func messageSet(n, size int, magic int8) []byte {
	set, err := record.DownConvert(nil, batch(n, size), magic, 0, 1<<20, 1<<20)
	if err != nil {
		panic(err)
	}
	return set
}

// What old producers send is stored as one batch of today.
func TestProduceMessageSets(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	w.topics.own["stamped"] = map[string]string{"message.timestamp.type": "LogAppendTime"}
	w.lead("stamped", 1, 0)
	next := int64(0)
	for version := int16(0); version < 3; version++ {
		for magic := int8(0); magic < 2; magic++ {
			for _, acks := range []int16{1, -1} {
				p := call[*kmsg.ProduceResponse](w, version, produceOne("t", 0, acks, messageSet(3, 10, magic))).Topics[0].Partitions[0]
				if p.ErrorCode != 0 || p.BaseOffset != next || p.LogAppendTime != -1 {
					t.Fatalf("v%d, format %d: %+v", version, magic, p)
				}
				next += 3
			}
		}
		before := time.Now().UnixMilli()
		p := call[*kmsg.ProduceResponse](w, version, produceOne("stamped", 0, 1, messageSet(1, 1, 1))).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || (p.LogAppendTime >= before) != (version == 2) {
			t.Errorf("v%d: %+v", version, p)
		}
		// Nothing that is whole: no error, and no offset.
		p = call[*kmsg.ProduceResponse](w, version, produceOne("t", 0, -1, messageSet(1, 1, 1)[:20])).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.BaseOffset != -1 {
			t.Errorf("v%d: %+v", version, p)
		}
	}
	for version := int16(3); version <= 11; version++ {
		if p := call[*kmsg.ProduceResponse](w, version, produceOne("t", 0, 1, messageSet(1, 1, 1))).Topics[0].Partitions[0]; p.ErrorCode != kerr.InvalidRecord.Code {
			t.Errorf("v%d: %+v", version, p)
		}
	}
	for _, b := range offsets(t, call[*kmsg.FetchResponse](w, 12, fetchOne("t", 0, 0)).Topics[0].Partitions[0].RecordBatches) {
		if b[1] != 3 {
			t.Errorf("batch of %d records", b[1])
		}
		next -= b[1]
	}
	if next != 0 {
		t.Errorf("%d records are missing", next)
	}
}
