package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// newTxnWorld is newWorld with coordinators of groups and transactions, and topic t.
func newTxnWorld(t testing.TB, properties ...string) *world {
	t.Helper()
	w := newGroupWorld(t, append([]string{"transaction.state.log.num.partitions=2"}, properties...)...)
	w.lead(protocol.TransactionStateTopic, 2, 0)
	for call[*kmsg.ListTransactionsResponse](w, 1, kmsg.NewPtrListTransactionsRequest()).ErrorCode == kerr.CoordinatorLoadInProgress.Code {
	}
	w.lead("t", 2, 0)
	return w
}

// producer is a transactional producer.
type producer struct {
	w        *world
	name     string
	id       int64
	epoch    int16
	sequence map[int32]int32 // by partition of topic t
}

// begin makes a producer, as the newest one of its transactional id.
func (w *world) begin(name string) *producer {
	w.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &name, 60_000
	resp := call[*kmsg.InitProducerIDResponse](w, 5, req)
	if resp.ErrorCode != 0 {
		w.t.Fatalf("InitProducerId: %d", resp.ErrorCode)
	}
	return &producer{w: w, name: name, id: resp.ProducerID, epoch: resp.ProducerEpoch, sequence: map[int32]int32{}}
}

func (p *producer) add(version int16, partitions ...int32) []int16 {
	p.w.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	one := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: p.name, ProducerID: p.id, ProducerEpoch: p.epoch,
		Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "t", Partitions: partitions}}}
	if version >= 4 {
		req.Transactions = append(req.Transactions, one)
	} else {
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.name, p.id, p.epoch
		req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: partitions}}
	}
	resp := call[*kmsg.AddPartitionsToTxnResponse](p.w, version, req)
	var codes []int16
	for _, t := range resp.Topics {
		for _, q := range t.Partitions {
			codes = append(codes, q.ErrorCode)
		}
	}
	for _, t := range resp.Transactions {
		for _, q := range t.Topics[0].Partitions {
			codes = append(codes, q.ErrorCode)
		}
	}
	return codes
}

// send produces one record to a partition of t, and returns the partition's answer.
func (p *producer) send(version int16, partition int32, value string) kmsg.ProduceResponseTopicPartition {
	p.w.t.Helper()
	b := record.NewBuilder().SetProducer(p.id, p.epoch, p.sequence[partition]).SetTransactional(true)
	b.Append(1, nil, []byte(value))
	records, err := b.Build()
	if err != nil {
		p.w.t.Fatal(err)
	}
	req := produceOne("t", partition, -1, records)
	req.TransactionID = &p.name
	resp := call[*kmsg.ProduceResponse](p.w, version, req).Topics[0].Partitions[0]
	if resp.ErrorCode == 0 {
		p.sequence[partition]++
	}
	return resp
}

func (p *producer) must(partition int32, value string) {
	p.w.t.Helper()
	if resp := p.send(11, partition, value); resp.ErrorCode != 0 {
		p.w.t.Fatalf("%s: %+v", value, resp)
	}
}

func (p *producer) end(version int16, commit bool) int16 {
	p.w.t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.name, p.id, p.epoch, commit
	return call[*kmsg.EndTxnResponse](p.w, version, req).ErrorCode
}

// ended ends the transaction and waits until every partition has its marker.
func (p *producer) ended(commit bool) {
	p.w.t.Helper()
	if code := p.end(4, commit); code != 0 {
		p.w.t.Fatalf("EndTxn: %d", code)
	}
	p.settled()
}

// settled waits until the transaction has ended everywhere.
func (p *producer) settled() {
	p.w.t.Helper()
	for {
		s := call[*kmsg.DescribeTransactionsResponse](p.w, 0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{p.name}}).TransactionStates[0]
		if s.State == "CompleteCommit" || s.State == "CompleteAbort" {
			return
		}
		if s.ErrorCode != 0 || s.State != "PrepareCommit" && s.State != "PrepareAbort" {
			p.w.t.Fatalf("%+v", s)
		}
	}
}

// committed are the values that a read_committed consumer finds in a partition of t, and
// the last stable offset.
func (w *world) committed(partition int32) (values []string, lastStable int64) {
	w.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.IsolationLevel = 1<<20, 1
	q := kmsg.NewFetchRequestTopicPartition()
	q.Partition, q.PartitionMaxBytes = partition, 1<<20
	req.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{q}}}
	p := call[*kmsg.FetchResponse](w, 12, req).Topics[0].Partitions[0]
	ahead := p.AbortedTransactions
	skipped := map[int64]bool{} // producers whose aborted transaction is being passed
	for rest := p.RecordBatches; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			w.t.Fatal(err)
		}
		rest = next
		for len(ahead) > 0 && ahead[0].FirstOffset <= b.BaseOffset() {
			skipped[ahead[0].ProducerID] = true
			ahead = ahead[1:]
		}
		if b.IsControl() {
			delete(skipped, b.ProducerID())
			continue
		}
		if b.IsTransactional() && skipped[b.ProducerID()] {
			continue
		}
		for r := range b.Records(1 << 20) {
			values = append(values, string(r.Value))
		}
	}
	return values, p.LastStableOffset
}

func (w *world) expectCommitted(partition int32, lastStable int64, values ...string) {
	w.t.Helper()
	got, at := w.committed(partition)
	if at != lastStable || !slices.Equal(got, values) {
		w.t.Errorf("partition %d: committed %q, stable below %d, want %q and %d", partition, got, at, values, lastStable)
	}
}

func TestTransaction(t *testing.T) {
	w := newTxnWorld(t)
	for version := range int16(6) {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			p := w.begin(fmt.Sprint("tx", version))
			if codes := p.add(version, 0, 1); !slices.Equal(codes, []int16{0, 0}) {
				t.Fatalf("AddPartitionsToTxn: %d", codes)
			}
			if codes := p.add(version, 0, 7); !slices.Equal(codes, []int16{kerr.OperationNotAttempted.Code, kerr.UnknownTopicOrPartition.Code}) {
				t.Errorf("a partition that is not there: %d", codes)
			}
			p.ended(false)
		})
	}
	p := w.begin("tx")
	p.add(3, 0, 1)
	base, _ := w.committed(0)
	if len(base) != 0 {
		t.Fatalf("%q", base)
	}
	start := p.send(11, 0, "a").BaseOffset
	p.must(1, "b")
	w.expectCommitted(0, start)
	p.ended(true)
	w.expectCommitted(0, start+2, "a")
	p.add(3, 0)
	p.must(0, "c")
	p.ended(false)
	w.expectCommitted(0, start+4, "a")
	p.add(3, 0)
	p.must(0, "d")
	p.ended(true)
	w.expectCommitted(0, start+6, "a", "d")
}

// A batch of a transaction that its coordinator does not know of is not appended, whatever
// the version, and nothing else of the request is kept back.
func TestProduceIsVerified(t *testing.T) {
	w := newTxnWorld(t)
	p := w.begin("tx")
	for version := int16(3); version <= 11; version++ {
		want := kerr.InvalidTxnState.Code
		if version >= 11 {
			want = kerr.TransactionAbortable.Code
		}
		if got := p.send(version, 0, "x"); got.ErrorCode != want || got.LogStartOffset > 0 {
			t.Errorf("version %d, not in the transaction: %+v, want %d", version, got, want)
		}
	}
	p.add(3, 0)
	p.must(0, "a")
	if got := p.send(10, 1, "x"); got.ErrorCode != kerr.InvalidTxnState.Code || *got.ErrorMessage != "Partition was not added to the transaction" {
		t.Errorf("the other partition: %+v", got)
	}
	p.ended(true)
	if got := p.send(11, 0, "late"); got.ErrorCode != kerr.TransactionAbortable.Code {
		t.Errorf("after the end: %+v", got)
	}
	w.expectCommitted(0, 2, "a")

	newer := w.begin("tx")
	if newer.epoch != p.epoch+1 {
		t.Errorf("epoch %d after %d", newer.epoch, p.epoch)
	}
	if got := p.send(11, 0, "fenced"); got.ErrorCode != kerr.InvalidProducerEpoch.Code {
		t.Errorf("of the older producer: %+v", got)
	}
	unknown := *p
	unknown.name = "nobody"
	if got := unknown.send(11, 0, "x"); got.ErrorCode != kerr.InvalidProducerIDMapping.Code {
		t.Errorf("of nobody: %+v", got)
	}
}

// Without verification the first batch is taken as it comes, as with Kafka.
func TestProduceIsNotVerified(t *testing.T) {
	w := newTxnWorld(t, "transaction.partition.verification.enable=false")
	w.begin("tx").must(0, "a")
	w.expectCommitted(0, 0)
}

func TestEndTxnErrors(t *testing.T) {
	w := newTxnWorld(t)
	p := w.begin("tx")
	for version := range int16(5) {
		fenced := kerr.ProducerFenced.Code
		if version < 2 {
			fenced = kerr.InvalidProducerEpoch.Code
		}
		older := *p
		older.epoch--
		other := *p
		other.id++
		for _, c := range []struct {
			name string
			p    *producer
			want int16
		}{{"nothing begun", p, kerr.InvalidTxnState.Code}, {"fenced", &older, fenced}, {"another id", &other, kerr.InvalidProducerIDMapping.Code}} {
			if got := c.p.end(version, true); got != c.want {
				t.Errorf("version %d, %s: %d, want %d", version, c.name, got, c.want)
			}
		}
		if got := older.add(min(version, 3), 0); got[0] != fenced {
			t.Errorf("version %d: added for a fenced producer: %d", version, got)
		}
	}
}

// txnOffsets commits an offset of t-0 for a group, in the producer's transaction.
func (p *producer) txnOffsets(version int16, group string, offset int64) int16 {
	p.w.t.Helper()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = p.name, group, p.id, p.epoch
	q := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	q.Offset = offset
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{q}}}
	return call[*kmsg.TxnOffsetCommitResponse](p.w, version, req).Topics[0].Partitions[0].ErrorCode
}

func (p *producer) addOffsets(version int16, group string) int16 {
	p.w.t.Helper()
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = p.name, group, p.id, p.epoch
	return call[*kmsg.AddOffsetsToTxnResponse](p.w, version, req).ErrorCode
}

// offset is what a group has committed for t-0, and the code of who wants it stable.
func (w *world) offset(group string) (plain int64, stable int16) {
	w.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: group, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}}}
	plain = call[*kmsg.OffsetFetchResponse](w, 8, req).Groups[0].Topics[0].Partitions[0].Offset
	req.RequireStable = true
	return plain, call[*kmsg.OffsetFetchResponse](w, 8, req).Groups[0].Topics[0].Partitions[0].ErrorCode
}

func TestTxnOffsetCommit(t *testing.T) {
	w := newTxnWorld(t)
	p := w.begin("tx")
	for version := range int16(5) {
		want := kerr.InvalidTxnState.Code
		if version >= 4 {
			want = kerr.TransactionAbortable.Code
		}
		if got := p.txnOffsets(version, "g", 1); got != want {
			t.Errorf("version %d, group not in the transaction: %d, want %d", version, got, want)
		}
		if got := p.addOffsets(version, "g"); got != 0 {
			t.Fatalf("AddOffsetsToTxn version %d: %d", version, got)
		}
		before, _ := w.offset("g")
		if got := p.txnOffsets(version, "g", int64(version)+10); got != 0 {
			t.Fatalf("version %d: %d", version, got)
		}
		if at, stable := w.offset("g"); at != before || stable != kerr.UnstableOffsetCommit.Code {
			t.Errorf("version %d, not ended: offset %d, was %d, stable: %d", version, at, before, stable)
		}
		commit := version%2 == 0
		p.ended(commit)
		want64 := before
		if commit {
			want64 = int64(version) + 10
		}
		if at, stable := w.offset("g"); at != want64 || stable != 0 {
			t.Errorf("version %d, ended: offset %d, want %d, stable: %d", version, at, want64, stable)
		}
	}
	nobody := *p
	nobody.id = -1
	if got := nobody.txnOffsets(4, "g", 1); got != kerr.InvalidProducerIDMapping.Code {
		t.Errorf("no producer id: %d", got)
	}
	nobody.id, nobody.epoch = p.id, -1
	if got := nobody.txnOffsets(4, "g", 1); got != kerr.InvalidProducerEpoch.Code {
		t.Errorf("no epoch: %d", got)
	}
}

// An operator can end a transaction that hangs, as Kafka's TransactionsCommand does.
func TestWriteTxnMarkersOfAnOperator(t *testing.T) {
	w := newTxnWorld(t)
	p := w.begin("tx")
	p.add(3, 0)
	p.must(0, "a")
	describe := kmsg.NewPtrDescribeProducersRequest()
	describe.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0, 9}}}
	found := call[*kmsg.DescribeProducersResponse](w, 0, describe).Topics[0].Partitions
	if a := found[0].ActiveProducers; found[1].ErrorCode != kerr.UnknownTopicOrPartition.Code || len(a) != 1 || a[0].ProducerID != p.id || a[0].CurrentTxnStartOffset != 0 || a[0].CoordinatorEpoch != -1 {
		t.Fatalf("%+v", found)
	}
	for version := range int16(2) {
		req := kmsg.NewPtrWriteTxnMarkersRequest()
		for _, id := range []int64{p.id, -1} {
			m := kmsg.NewWriteTxnMarkersRequestMarker()
			m.ProducerID, m.ProducerEpoch = id, p.epoch
			m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{0, 9}}}
			req.Markers = append(req.Markers, m)
		}
		resp := call[*kmsg.WriteTxnMarkersResponse](w, version, req)
		var codes []int16
		for _, m := range resp.Markers {
			for _, q := range m.Topics[0].Partitions {
				codes = append(codes, q.ErrorCode)
			}
		}
		if !slices.Equal(codes, []int16{0, kerr.UnknownTopicOrPartition.Code, kerr.UnknownServerError.Code, kerr.UnknownTopicOrPartition.Code}) {
			t.Errorf("version %d: %d", version, codes)
		}
	}
	w.expectCommitted(0, 3)
}
