package api

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

func fetchOne(topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.SessionEpoch = 1<<20, 1, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: topicID(topic), Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
}

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
	for version := int16(3); version <= 11; version++ {
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
		b := record.NewBuilder().SetProducer(9, 0, 0).SetTransactional()
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
		{"internal", produceOne("__consumer_offsets", 0, 1, good()), kerr.InvalidTopicException, 0, -1, false},
		{"corrupt", produceOne("t", 0, 1, corrupt), kerr.CorruptMessage, -1, -1, false},
		{"empty", produceOne("t", 0, 1, []byte{}), kerr.InvalidRecord, -1, -1, false},
		{"null", produceOne("t", 0, 1, nil), kerr.InvalidRecord, -1, -1, false},
		{"two batches", produceOne("t", 0, 1, append(good(), good()...)), kerr.InvalidRecord, -1, -1, false},
		{"too large", produceOne("t", 0, 1, batch(1, 1<<20)), kerr.MessageTooLarge, -1, -1, false},
		{"no transaction", func() *kmsg.ProduceRequest {
			r := produceOne("t", 0, 1, transactional())
			r.TransactionID = kmsg.StringPtr("tx")
			return r
		}(), kerr.InvalidTxnState, 0, -1, false},
		{"no transactional id", produceOne("t", 0, 1, transactional()), kerr.TransactionalIDAuthorizationFailed, -1, -1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for version := int16(3); version <= 11; version++ {
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
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = txn, id, epoch
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
		{5, &empty, -1, -1, 42}, {0, &tx, -1, -1, 35},
	} {
		if got := ask(tt.version, tt.txn, tt.id, tt.epoch); got != tt.want {
			t.Errorf("v%d %v %d/%d: %d, want %d", tt.version, tt.txn, tt.id, tt.epoch, got, tt.want)
		}
	}
}

func TestProduceWithoutAcknowledgement(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	c := w.dial(w.brokers)
	defer c.Close()
	w.send(c, produceOne("t", 0, 0, batch(2, 1)), 9)
	req := produceOne("t", 0, 1, batch(2, 1)) // its reply is the first one
	w.send(c, req, 9)
	if p := w.receive(c, req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.BaseOffset != 2 {
		t.Errorf("%+v", p)
	}
	w.send(c, produceOne("no", 0, 0, batch(2, 1)), 9)
	w.expectClosed(c)
}

// With a second replica in sync, acks=all waits for it: here until it leaves the
// ISR, until time is up, or until another broker leads. Produces behind it are
// appended meanwhile, and answered after it.
func TestProduceWaitsForReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lead("t", 1, 0, 1, 2)
		c := w.dial(w.brokers)
		defer c.Close()
		begin := time.Now()
		all, leader := produceOne("t", 0, -1, batch(2, 1)), produceOne("t", 0, 1, batch(2, 1))
		w.send(c, all, 9)
		w.send(c, leader, 9)
		time.Sleep(300 * time.Millisecond)
		w.lead("t", 1, 1, 1) // the other one has left the ISR
		p := w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if d := time.Since(begin); d != 300*time.Millisecond || p.ErrorCode != 0 || p.BaseOffset != 0 {
			t.Errorf("after %v: %+v", d, p)
		}
		p = w.receive(c, leader).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.BaseOffset != 2 {
			t.Errorf("%+v", p)
		}
		// Alone again, nothing waits.
		w.send(c, all, 9)
		if p = w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 4 {
			t.Errorf("%+v", p)
		}
		// Time is up: the records are in the log, and that is what is told.
		w.lead("t", 1, 2, 1, 2)
		begin = time.Now()
		w.send(c, all, 9)
		w.send(c, fetchOne("t", 0, 0), 9) // held back until the produce is answered
		p = w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if d := time.Since(begin); d != time.Second || p.ErrorCode != kerr.RequestTimedOut.Code || p.BaseOffset != 6 {
			t.Errorf("after %v: %+v", d, p)
		}
		req := fetchOne("t", 0, 0)
		req.SetVersion(9)
		w.receive(c, req)
		// Another broker leads now: nobody knows whether the records will stay.
		w.send(c, all, 9)
		synctest.Wait()
		w.assign("t", 1, 2, 3, []int32{1, 2})
		p = w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != kerr.NotLeaderForPartition.Code || p.BaseOffset != 8 {
			t.Errorf("%+v", p)
		}
	})
}

func TestFetchErrors(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 4)
	w.assign("elsewhere", 1, 2, 7, []int32{2})
	w.produce("t", 0, batch(5, 1))
	at := func(topic string, partition int32, offset int64, epoch int32) *kmsg.FetchRequest {
		req := fetchOne(topic, partition, offset)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
		return req
	}
	tests := []struct {
		name        string
		req         *kmsg.FetchRequest
		names, byID *kerr.Error // before version 13, since
		leader      int32
	}{
		{"no topic", at("no", 0, 0, -1), kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, -1},
		{"no name, no id", func() *kmsg.FetchRequest {
			req := at("", 0, 0, -1)
			req.Topics[0].TopicID = [16]byte{}
			return req
		}(), kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, -1},
		{"no partition", at("t", 3, 0, -1), kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition, -1},
		{"other leader", at("elsewhere", 0, 0, -1), kerr.NotLeaderForPartition, kerr.NotLeaderForPartition, 2},
		{"fenced", at("t", 0, 0, 3), kerr.FencedLeaderEpoch, kerr.FencedLeaderEpoch, 1},
		{"future epoch", at("t", 0, 0, 5), kerr.UnknownLeaderEpoch, kerr.UnknownLeaderEpoch, -1},
		{"beyond the end", at("t", 0, 6, -1), kerr.OffsetOutOfRange, kerr.OffsetOutOfRange, -1},
		{"negative", at("t", 0, -3, -1), kerr.OffsetOutOfRange, kerr.OffsetOutOfRange, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for version := int16(9); version <= 17; version++ {
				resp := call[*kmsg.FetchResponse](w, version, tt.req)
				want := tt.names
				if version >= 13 {
					want = tt.byID
				}
				p := resp.Topics[0].Partitions[0]
				if p.ErrorCode != want.Code || p.HighWatermark != -1 || p.LogStartOffset != -1 || p.LastStableOffset != -1 || len(p.RecordBatches) != 0 {
					t.Errorf("v%d: %+v", version, p)
				}
				if version >= 16 && tt.leader >= 0 {
					if p.CurrentLeader.LeaderID != tt.leader || len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != tt.leader {
						t.Errorf("v%d: %+v %+v", version, p.CurrentLeader, resp.Brokers)
					}
				} else if len(resp.Brokers) != 0 {
					t.Errorf("v%d: brokers %+v", version, resp.Brokers)
				}
			}
		})
	}
}

// The leader's endpoint is that of the listener the request came by.
func TestHintsAreForTheListener(t *testing.T) {
	w := newWorld(t)
	w.assign("elsewhere", 1, 2, 7, []int32{2})
	c := w.dial(w.clients)
	defer c.Close()
	for _, req := range []kmsg.Request{produceOne("elsewhere", 0, 1, batch(1, 1)), fetchOne("elsewhere", 0, 0)} {
		w.send(c, req, req.MaxVersion()-2)
		port := int32(0)
		switch resp := w.receive(c, req).(type) {
		case *kmsg.ProduceResponse:
			port = resp.Brokers[0].Port
		case *kmsg.FetchResponse:
			port = resp.Brokers[0].Port
		}
		if port != 9093 {
			t.Errorf("port %d", port)
		}
	}
}

func TestFetchSession(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 3, 0)
	for _, version := range []int16{7, 12, 17} {
		req := fetchOne("t", 0, 0)
		req.SessionEpoch = 0
		for i := int32(1); i < 3; i++ {
			p := req.Topics[0].Partitions[0]
			p.Partition = i
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
		}
		resp := call[*kmsg.FetchResponse](w, version, req)
		if resp.SessionID == 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 3 {
			t.Fatalf("v%d: %+v", version, resp)
		}
		next := kmsg.NewPtrFetchRequest()
		next.SessionID, next.SessionEpoch, next.MaxBytes, next.MinBytes = resp.SessionID, 1, 1<<20, 1
		// What earlier rounds have left is told again until the client moves on.
		had := len(call[*kmsg.FetchResponse](w, version, next).Topics)
		w.produce("t", 2, batch(1, 1))
		next.SessionEpoch = 2
		next.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", TopicID: topicID("t"), Partitions: []int32{0}}}
		resp = call[*kmsg.FetchResponse](w, version, next)
		if had > 1 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != 2 {
			t.Fatalf("v%d: %+v", version, resp)
		}
		resp = call[*kmsg.FetchResponse](w, version, next) // the same epoch again
		if resp.ErrorCode != kerr.InvalidFetchSessionEpoch.Code || resp.SessionID != 0 || len(resp.Topics) != 0 {
			t.Fatalf("v%d: %+v", version, resp)
		}
	}
}

// A fetch that waits holds nothing of its request, and is answered when records
// come.
func TestFetchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lead("t", 1, 0)
		c := w.dial(w.brokers)
		defer c.Close()
		req := fetchOne("t", 0, 0)
		req.MaxWaitMillis = 60_000
		begin := time.Now()
		w.send(c, req, 12)
		time.Sleep(time.Second)
		w.produce("t", 0, batch(3, 1))
		resp := w.receive(c, req).(*kmsg.FetchResponse)
		if d := time.Since(begin); d != time.Second || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 {
			t.Errorf("after %v: %+v", d, resp)
		}
		// Somebody who goes away does not leave a fetch behind: the world's end
		// waits for all goroutines.
		req.Topics[0].Partitions[0].FetchOffset = 3
		w.send(c, req, 12)
		synctest.Wait()
	})
}

func TestFetchFirstBatchComesWhole(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 2, 0)
	large := batch(1, 5000)
	w.produce("t", 0, bytes.Clone(large))
	w.produce("t", 1, bytes.Clone(large))
	req := fetchOne("t", 0, 0)
	req.MaxBytes = 100
	req.Topics[0].Partitions[0].PartitionMaxBytes = 100
	second := req.Topics[0].Partitions[0]
	second.Partition = 1
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
	p := call[*kmsg.FetchResponse](w, 12, req).Topics[0].Partitions
	if len(p[0].RecordBatches) != len(large) || len(p[1].RecordBatches) != 0 || p[1].HighWatermark != 1 {
		t.Errorf("%d and %d bytes", len(p[0].RecordBatches), len(p[1].RecordBatches))
	}
}

func TestReadCommittedHasAList(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	w.produce("t", 0, batch(1, 1))
	req := fetchOne("t", 0, 0)
	req.IsolationLevel = 1
	if p := call[*kmsg.FetchResponse](w, 12, req).Topics[0].Partitions[0]; p.AbortedTransactions == nil || len(p.RecordBatches) == 0 {
		t.Errorf("%+v", p)
	}
}

func TestListOffsets(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 4)
	w.assign("elsewhere", 1, 2, 7, []int32{2})
	w.produce("t", 0, batch(5, 1)) // timestamps 1700000000000 to …4
	ask := func(version int16, topic string, ts int64, change func(*kmsg.ListOffsetsRequest)) kmsg.ListOffsetsResponseTopicPartition {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = ts
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		if change != nil {
			change(req)
		}
		return call[*kmsg.ListOffsetsResponse](w, version, req).Topics[0].Partitions[0]
	}
	for _, tt := range []struct {
		since             int16
		ts, offset, found int64
		epoch             int32
	}{
		{1, -1, 5, -1, 4}, {1, -2, 0, -1, 4}, {7, -3, 4, 1700000000004, 4}, {8, -4, 0, -1, 4}, {9, -5, -1, -1, -1},
		{1, 0, 0, 1700000000000, 4}, {1, 1700000000003, 3, 1700000000003, 4}, {1, 1700000000005, -1, -1, -1},
	} {
		for version := int16(1); version <= 9; version++ {
			p := ask(version, "t", tt.ts, nil)
			if version < tt.since {
				if p.ErrorCode != kerr.UnsupportedVersion.Code || p.Offset != -1 || p.Timestamp != -1 {
					t.Errorf("v%d at %d: %+v", version, tt.ts, p)
				}
				continue
			}
			epoch := tt.epoch
			if version < 4 {
				epoch = -1
			}
			if p.ErrorCode != 0 || p.Offset != tt.offset || p.Timestamp != tt.found || p.LeaderEpoch != epoch {
				t.Errorf("v%d at %d: %+v", version, tt.ts, p)
			}
		}
	}
	for _, tt := range []struct {
		topic  string
		change func(*kmsg.ListOffsetsRequest)
		want   *kerr.Error
	}{
		{"no", nil, kerr.UnknownTopicOrPartition},
		{"elsewhere", nil, kerr.NotLeaderForPartition},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 3 }, kerr.FencedLeaderEpoch},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 5 }, kerr.UnknownLeaderEpoch},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics = append(r.Topics, r.Topics...) }, kerr.InvalidRequest},
		{"t", func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].Timestamp = -6 }, kerr.UnsupportedVersion},
	} {
		if p := ask(9, tt.topic, -1, tt.change); p.ErrorCode != tt.want.Code || p.Offset != -1 || p.LeaderEpoch != -1 {
			t.Errorf("%s: %+v, want %s", tt.topic, p, tt.want.Message)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 4)
	w.produce("t", 0, batch(5, 1))
	w.lead("t", 1, 6)
	w.produce("t", 0, batch(2, 1))
	for version := int16(0); version <= 4; version++ {
		for _, tt := range []struct {
			epoch, found int32
			end          int64
		}{{4, 4, 5}, {5, 4, 5}, {6, 6, 7}, {9, -1, -1}} {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.LeaderEpoch = tt.epoch
			req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
			got := call[*kmsg.OffsetForLeaderEpochResponse](w, version, req).Topics[0].Partitions[0]
			found := tt.found
			if version == 0 {
				found = -1
			}
			if got.ErrorCode != 0 || got.LeaderEpoch != found || got.EndOffset != tt.end {
				t.Errorf("v%d, epoch %d: %+v", version, tt.epoch, got)
			}
		}
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.CurrentLeaderEpoch = 5
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}, {Topic: "no", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	resp := call[*kmsg.OffsetForLeaderEpochResponse](w, 4, req)
	if a, b := resp.Topics[0].Partitions[0], resp.Topics[1].Partitions[0]; a.ErrorCode != kerr.FencedLeaderEpoch.Code || a.EndOffset != -1 || b.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%+v %+v", a, b)
	}
}

func TestDeleteRecords(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	for range 2 {
		w.produce("t", 0, batch(5, 1))
	}
	ask := func(topic string, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
		return call[*kmsg.DeleteRecordsResponse](w, 2, req).Topics[0].Partitions[0]
	}
	if p := ask("t", 3); p.ErrorCode != 0 || p.LowWatermark != 3 {
		t.Errorf("%+v", p)
	}
	if p := ask("t", 11); p.ErrorCode != kerr.OffsetOutOfRange.Code || p.LowWatermark != -1 {
		t.Errorf("%+v", p)
	}
	if p := ask("no", 1); p.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%+v", p)
	}
	if p := ask("t", -1); p.ErrorCode != 0 || p.LowWatermark != 10 {
		t.Errorf("%+v", p)
	}
	if p := call[*kmsg.FetchResponse](w, 12, fetchOne("t", 0, 3)).Topics[0].Partitions[0]; p.ErrorCode != kerr.OffsetOutOfRange.Code {
		t.Errorf("%+v", p)
	}
}

func TestDescribeLogDirs(t *testing.T) {
	w := newWorld(t)
	w.lead("b", 2, 0)
	w.lead("a", 1, 0)
	w.produce("a", 0, batch(1, 100))
	all := kmsg.NewPtrDescribeLogDirsRequest()
	resp := call[*kmsg.DescribeLogDirsResponse](w, 4, all)
	d := resp.Dirs[0]
	if len(resp.Dirs) != 1 || d.ErrorCode != 0 || d.Dir != "/data" || len(d.Topics) != 2 || d.Topics[0].Topic != "a" || d.Topics[0].Partitions[0].Size == 0 || len(d.Topics[1].Partitions) != 2 {
		t.Errorf("%+v", resp)
	}
	one := kmsg.NewPtrDescribeLogDirsRequest()
	one.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "b", Partitions: []int32{1, 7}}}
	if d := call[*kmsg.DescribeLogDirsResponse](w, 1, one).Dirs[0]; len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 1 || d.Topics[0].Partitions[0].Partition != 1 {
		t.Errorf("%+v", d)
	}
	none := kmsg.NewPtrDescribeLogDirsRequest()
	none.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	if d := call[*kmsg.DescribeLogDirsResponse](w, 4, none).Dirs[0]; len(d.Topics) != 0 {
		t.Errorf("%+v", d)
	}
}

// A topic without partitions is not answered, as in Kafka.
func TestProduceToNoPartition(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	req := produceOne("t", 0, 1, batch(1, 1))
	req.Topics = append([]kmsg.ProduceRequestTopic{{Topic: "t"}}, req.Topics...)
	for version := int16(3); version <= 11; version++ {
		resp := call[*kmsg.ProduceResponse](w, version, req)
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", version, resp.Topics)
		}
	}
}
