package api

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
)

func fetchOne(topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.SessionEpoch = 1<<20, 1, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: topicID(topic), Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
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

// Only brokers are followers: by a listener for clients, nobody is.
func TestFollowersComeByTheBrokersListener(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 4, self, 2)
	w.produce("t", 0, batch(5, 1)) // not committed
	clients := w.dial(w.clients)
	defer clients.Close()
	for version := int16(4); version <= 17; version++ {
		for _, topic := range []string{"t", "no"} {
			for _, id := range []int32{-1, -2, 1, 2} {
				req := fetchOne(topic, 0, 0)
				if req.ReplicaID = id; version >= 15 {
					req.ReplicaState.ID = id
				}
				w.send(clients, req, version)
				p := w.receive(clients, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
				switch {
				case id >= 0:
					if p.ErrorCode != kerr.TopicAuthorizationFailed.Code || p.HighWatermark != -1 || p.LastStableOffset != -1 || p.LogStartOffset != -1 || p.AbortedTransactions == nil || len(p.RecordBatches) != 0 {
						t.Errorf("v%d, replica %d of %s by the clients' listener: %+v", version, id, topic, p)
					}
				case topic == "t" && (p.ErrorCode != 0 || len(p.RecordBatches) != 0):
					t.Errorf("v%d, replica %d of %s by the clients' listener: %+v", version, id, topic, p)
				}
				if id != 2 || topic != "t" {
					continue
				}
				if p := call[*kmsg.FetchResponse](w, version, req).Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
					t.Errorf("v%d, a broker: %+v", version, p)
				}
			}
		}
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

// fetchFirst fetches from the first partitions of a topic, from their beginning.
func fetchFirst(topic string, partitions int32) *kmsg.FetchRequest {
	req := fetchOne(topic, 0, 0)
	for i := int32(1); i < partitions; i++ {
		p := req.Topics[0].Partitions[0]
		p.Partition = i
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
	}
	return req
}

func TestFetchSession(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 3, 0)
	for _, version := range []int16{7, 12, 17} {
		req := fetchFirst("t", 3)
		req.SessionEpoch = 0
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

// A fetch that waits gets all that one request has produced, not only the first partition.
func TestProducedTogetherIsFetchedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lead("t", 3, 0)
		c := w.dial(w.brokers)
		defer c.Close()
		req := fetchFirst("t", 3)
		req.MaxWaitMillis = 60_000
		for offset := range int64(50) {
			for i := range req.Topics[0].Partitions {
				req.Topics[0].Partitions[i].FetchOffset = offset
			}
			w.send(c, req, 12)
			synctest.Wait()
			produce := produceOne("t", 0, 1, batch(1, 1))
			for i := int32(1); i < 3; i++ {
				produce.Topics[0].Partitions = append(produce.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: i, Records: batch(1, 1)})
			}
			call[*kmsg.ProduceResponse](w, 9, produce)
			for _, p := range w.receive(c, req).(*kmsg.FetchResponse).Topics[0].Partitions {
				if len(p.RecordBatches) == 0 {
					t.Fatalf("round %d: nothing of partition %d", offset, p.Partition)
				}
			}
		}
	})
}

// Fetches wait only within the memory that is set aside for it; one beyond is answered
// with what there is, as if its time were up, and so until another has ended.
func TestFetchesThatMayNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = 3
		w := newWorldWithin(t, server.Config{WorkBytes: 2*each*fetchCost - 1})
		w.lead("t", each, 0)
		req := fetchOne("t", 0, 0)
		req.MaxWaitMillis = 10_000
		for p := int32(1); p < each; p++ {
			more := req.Topics[0].Partitions[0]
			more.Partition = p
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, more)
		}
		a, b := w.dial(w.brokers), w.dial(w.brokers)
		defer a.Close()
		defer b.Close()
		w.send(a, req, 12)
		synctest.Wait()
		begin := time.Now()
		w.send(b, req, 12)
		w.receive(b, req)
		if d := time.Since(begin); d != 0 {
			t.Errorf("the second fetch was answered after %v", d)
		}
		time.Sleep(time.Second)
		w.produce("t", 0, batch(1, 1))
		w.receive(a, req)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("the first fetch was answered after %v", d)
		}
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].FetchOffset = 1
		}
		req.Topics[0].Partitions = req.Topics[0].Partitions[:1]
		w.send(b, req, 12)
		w.receive(b, req)
		if d := time.Since(begin); d != 11*time.Second {
			t.Errorf("a fetch with nobody else waiting was answered after %v", d-time.Second)
		}
	})
}

// A fetch returns records of one segment: behind its end there may be more than
// the fetch waits for, so that waiting for more is for nothing, as in Kafka.
func TestFetchDoesNotWaitAtTheEndOfASegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "log.segment.bytes=1000")
		w.lead("t", 1, 0)
		for range 3 { // two fit a segment
			w.produce("t", 0, batch(1, 400))
		}
		c := w.dial(w.brokers)
		defer c.Close()
		for _, tt := range []struct {
			offset   int64
			maxBytes int32
			waits    time.Duration
		}{
			{0, 1 << 20, 0},
			{1, 1 << 20, 0},
			{2, 1 << 20, 5 * time.Second}, // the newest segment
			{0, 500, 5 * time.Second},     // the client's own limit
		} {
			req := fetchOne("t", 0, tt.offset)
			req.MinBytes, req.MaxWaitMillis = 10_000, 5_000
			req.Topics[0].Partitions[0].PartitionMaxBytes = tt.maxBytes
			begin := time.Now()
			w.send(c, req, 12)
			resp := w.receive(c, req).(*kmsg.FetchResponse)
			if d := time.Since(begin); d != tt.waits || len(resp.Topics[0].Partitions[0].RecordBatches) < 400 {
				t.Errorf("%+v: answered after %v", tt, d)
			}
		}
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
