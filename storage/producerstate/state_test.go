package producerstate

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

const day = 24 * time.Hour

// spec states a batch as a test needs it.
type spec struct {
	pid      int64
	epoch    int16
	seq      int32
	n        int // records, 0 means 1
	ts       int64
	txn      bool
	marker   string // "commit" or "abort"
	coordEpo int32
}

func (s spec) at(t testing.TB, offset int64) record.Batch {
	t.Helper()
	var b record.Batch
	if s.marker != "" {
		b = record.EndTxnMarker(s.pid, s.epoch, s.coordEpo, s.marker == "commit", s.ts)
	} else {
		builder := record.NewBuilder().SetProducer(s.pid, s.epoch, s.seq)
		if s.txn {
			builder.SetTransactional(true)
		}
		for range max(s.n, 1) {
			builder.Append(s.ts, nil, []byte("v"))
		}
		var err error
		if b, err = builder.Build(); err != nil {
			t.Fatal(err)
		}
	}
	b.SetBaseOffset(offset)
	return b
}

// partition appends to a State as a leader's log does.
type partition struct {
	t testing.TB
	*State
}

func newPartition(t testing.TB) *partition { return &partition{t, New(day)} }

func (p *partition) client(s spec) (*CachedBatch, *CompletedTxn, error) {
	p.t.Helper()
	origin := record.Client
	if s.marker != "" {
		origin = record.Coordinator
	}
	return p.leader(s, origin)
}

func (p *partition) leader(s spec, origin Origin) (*CachedBatch, *CompletedTxn, error) {
	b := s.at(p.t, p.EndOffset())
	dup, err := p.Check(b, origin)
	if err != nil || dup != nil {
		return dup, nil, err
	}
	return nil, p.Append(b), nil
}

func (p *partition) must(specs ...spec) *CompletedTxn {
	p.t.Helper()
	var ended *CompletedTxn
	for _, s := range specs {
		dup, e, err := p.client(s)
		if err != nil || dup != nil {
			p.t.Fatalf("%+v at %d: duplicate %v, %v", s, p.EndOffset(), dup, err)
		}
		ended = e
	}
	return ended
}

func TestClientRules(t *testing.T) {
	first := spec{pid: 1, epoch: 5, seq: 0, n: 10}
	for _, c := range []struct {
		name   string
		before []spec
		next   spec
		err    error
	}{
		{"unknown producer, sequence 0", nil, first, nil},
		{"unknown producer, any sequence", nil, spec{pid: 1, epoch: 5, seq: 77}, nil},
		{"unknown producer, epoch below none", nil, spec{pid: 1, epoch: -2, seq: 0}, kerr.InvalidProducerEpoch},
		{"next in sequence", []spec{first}, spec{pid: 1, epoch: 5, seq: 10}, nil},
		{"gap", []spec{first}, spec{pid: 1, epoch: 5, seq: 11}, kerr.OutOfOrderSequenceNumber},
		{"overlap", []spec{first}, spec{pid: 1, epoch: 5, seq: 9}, kerr.OutOfOrderSequenceNumber},
		{"part of a cached batch", []spec{first}, spec{pid: 1, epoch: 5, seq: 0, n: 5}, kerr.OutOfOrderSequenceNumber},
		{"older epoch", []spec{first}, spec{pid: 1, epoch: 4, seq: 10}, kerr.InvalidProducerEpoch},
		{"older epoch, same sequence", []spec{first}, spec{pid: 1, epoch: 4, seq: 0, n: 10}, kerr.InvalidProducerEpoch},
		{"newer epoch from 0", []spec{first}, spec{pid: 1, epoch: 6, seq: 0}, nil},
		{"newer epoch, going on", []spec{first}, spec{pid: 1, epoch: 6, seq: 10}, kerr.OutOfOrderSequenceNumber},
		{"other producer", []spec{first}, spec{pid: 2, epoch: 0, seq: 0}, nil},
		{"wraps to 0", []spec{{pid: 1, seq: math.MaxInt32}}, spec{pid: 1, seq: 0}, nil},
		{"wraps inside a batch", []spec{{pid: 1, seq: math.MaxInt32 - 1, n: 4}}, spec{pid: 1, seq: 2}, nil},
		{"does not wrap to 1", []spec{{pid: 1, seq: math.MaxInt32}}, spec{pid: 1, seq: 1}, kerr.OutOfOrderSequenceNumber},
		{"does not wrap to -2³¹", []spec{{pid: 1, seq: math.MaxInt32}}, spec{pid: 1, seq: math.MinInt32}, kerr.OutOfOrderSequenceNumber},
		{"no producer id", []spec{first}, spec{pid: -1, epoch: -1, seq: -1}, nil},
		{"outside of the open transaction", []spec{{pid: 1, txn: true}}, spec{pid: 1, seq: 1}, kerr.InvalidTxnState},
		{"outside of a closed transaction", []spec{{pid: 1, txn: true}, {pid: 1, marker: "commit"}}, spec{pid: 1, seq: 1}, nil},
		{"in a transaction after others", []spec{first}, spec{pid: 1, epoch: 5, seq: 10, txn: true}, nil},
		{"after a marker with a new epoch, from 0", []spec{first, {pid: 1, epoch: 6, marker: "abort"}}, spec{pid: 1, epoch: 6, seq: 0}, nil},
		{"after a marker with a new epoch, going on", []spec{first, {pid: 1, epoch: 6, marker: "abort"}}, spec{pid: 1, epoch: 6, seq: 10}, kerr.OutOfOrderSequenceNumber},
		{"after a marker with the same epoch", []spec{first, {pid: 1, epoch: 5, marker: "abort"}}, spec{pid: 1, epoch: 5, seq: 10}, nil},
		{"marker of an older epoch", []spec{first}, spec{pid: 1, epoch: 4, marker: "abort"}, kerr.InvalidProducerEpoch},
		{"marker of an older coordinator", []spec{first, {pid: 1, epoch: 5, marker: "abort", coordEpo: 3}}, spec{pid: 1, epoch: 5, marker: "abort", coordEpo: 2}, kerr.TransactionCoordinatorFenced},
		{"marker of the same coordinator", []spec{first, {pid: 1, epoch: 5, marker: "abort", coordEpo: 3}}, spec{pid: 1, epoch: 5, marker: "abort", coordEpo: 3}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPartition(t)
			p.must(c.before...)
			end := p.EndOffset()
			dup, _, err := p.client(c.next)
			if !errors.Is(err, c.err) || dup != nil {
				t.Fatalf("duplicate %v, error %v; want %v", dup, err, c.err)
			}
			if err != nil && p.EndOffset() != end {
				t.Error("a refused batch moved the end offset")
			}
		})
	}
}

func TestDuplicates(t *testing.T) {
	p := newPartition(t)
	p.must(spec{pid: 9, epoch: 0, seq: 0, n: 3}) // offsets 0 to 2
	for i := range int32(6) {
		p.must(spec{pid: 1, epoch: 2, seq: 10 * i, n: 10, ts: 100 + int64(i)})
	}
	for i := range int32(6) {
		dup, _, err := p.client(spec{pid: 1, epoch: 2, seq: 10 * i, n: 10, ts: 555})
		if i == 0 { // pushed out of the cache
			if dup != nil || !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
				t.Errorf("batch 0: %v, %v", dup, err)
			}
			continue
		}
		first := 3 + 10*int64(i)
		if err != nil || dup == nil || dup.FirstOffset() != first || dup.LastOffset != first+9 || dup.Timestamp != 100+int64(i) {
			t.Errorf("batch %d: %+v, %v", i, dup, err)
		}
	}
	if dup, _, err := p.leader(spec{pid: 1, epoch: 2, seq: 50, n: 10}, record.Coordinator); dup != nil || err != nil {
		t.Errorf("a coordinator's batch counts as a repetition: %v, %v", dup, err)
	}
	p.must(spec{pid: 1, epoch: 3, seq: 0, n: 10})
	if dup, _, err := p.client(spec{pid: 1, epoch: 2, seq: 50, n: 10}); dup != nil || !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("repetition of an older epoch: %v, %v", dup, err)
	}
}

func TestDuplicateAcrossWrap(t *testing.T) {
	p := newPartition(t)
	s := spec{pid: 1, seq: math.MaxInt32 - 2, n: 10}
	p.must(s)
	if dup, _, err := p.client(s); err != nil || dup == nil || dup.FirstSequence() != math.MaxInt32-2 || dup.LastSequence != 6 {
		t.Errorf("%+v, %v", dup, err)
	}
}

// TestCoordinatorChecksEpochsOnly: offset commits carry sequence numbers that
// mean nothing.
func TestCoordinatorChecksEpochsOnly(t *testing.T) {
	p := newPartition(t)
	for range 2 {
		if dup, _, err := p.leader(spec{pid: 1, epoch: 3, seq: 0, txn: true}, record.Coordinator); dup != nil || err != nil {
			t.Errorf("%v, %v", dup, err)
		}
	}
	if _, _, err := p.leader(spec{pid: 1, epoch: 2, seq: 0, txn: true}, record.Coordinator); !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("older epoch: %v", err)
	}
}

// TestReplicationAcceptsViolations: what the leader has written is what counts.
func TestReplicationAcceptsViolations(t *testing.T) {
	p := newPartition(t)
	for _, s := range []spec{{pid: 1, epoch: 5, seq: 0}, {pid: 1, epoch: 5, seq: 9}, {pid: 1, epoch: 4, seq: 3}} {
		if dup, _, err := p.leader(s, record.Replication); dup != nil || err != nil {
			t.Errorf("%+v: %v, %v", s, dup, err)
		}
	}
	if got, _ := p.Producer(1); got.Epoch != 4 || got.LastSequence() != 3 || p.EndOffset() != 3 {
		t.Errorf("%+v, end %d", got, p.EndOffset())
	}
}

func TestTransactions(t *testing.T) {
	p := newPartition(t)
	unstable := func(hw, want int64) {
		t.Helper()
		got, ok := p.FirstUnstableOffset(hw)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("first unstable offset at high watermark %d: %d, want %d", hw, got, want)
		}
	}
	unstable(0, -1)
	p.must(spec{pid: 1, seq: 0, n: 5, txn: true}) // 0 to 4
	p.must(spec{pid: 2, seq: 0, n: 5, txn: true}) // 5 to 9
	p.must(spec{pid: 1, seq: 5, n: 5, txn: true}) // 10 to 14
	p.must(spec{pid: 3, seq: 0, n: 5})            // 15 to 19
	unstable(0, 0)
	if !p.HasOpenTransaction(1) || p.HasOpenTransaction(3) || p.HasOpenTransaction(4) {
		t.Error("HasOpenTransaction is wrong")
	}

	got := p.must(spec{pid: 1, marker: "abort", coordEpo: 7, ts: 42}) // 20
	if want := (CompletedTxn{ProducerID: 1, FirstOffset: 0, LastOffset: 20, Aborted: true, LastStableOffset: 5}); got == nil || *got != want {
		t.Fatalf("completed %+v, want %+v", got, want)
	}
	if s, _ := p.Producer(1); s.CoordinatorEpoch != 7 || s.LastTimestamp != 42 || s.TxnFirstOffset != -1 || s.LastSequence() != 9 {
		t.Errorf("producer after the marker: %+v", s)
	}
	unstable(0, 0)                               // the marker may still be lost
	unstable(20, 0)                              // HW 20 does not cover offset 20
	unstable(21, 5)                              // now it does
	got = p.must(spec{pid: 2, marker: "commit"}) // 21
	if want := (CompletedTxn{ProducerID: 2, FirstOffset: 5, LastOffset: 21, LastStableOffset: 22}); got == nil || *got != want {
		t.Fatalf("completed %+v, want %+v", got, want)
	}
	unstable(21, 5)
	unstable(22, -1)
	if got := p.must(spec{pid: 2, marker: "commit"}); got != nil {
		t.Errorf("a marker without data completed %+v", got)
	}
	if got := p.must(spec{pid: 99, epoch: 3, marker: "abort", coordEpo: 1}); got != nil {
		t.Errorf("a marker for an unknown producer completed %+v", got)
	}
	if s, ok := p.Producer(99); !ok || s.Epoch != 3 || s.CoordinatorEpoch != 1 {
		t.Errorf("the marker's epochs were not kept: %+v", s)
	}
}

func TestEmptiedMarkerChangesNothing(t *testing.T) {
	p := newPartition(t)
	p.must(spec{pid: 1, txn: true})
	b, err := record.NewBuilder().SetProducer(1, 0, -1).SetTransactional(true).SetControl().SetBaseOffset(1).Build()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Append(b); got != nil || !p.HasOpenTransaction(1) || p.EndOffset() != 2 {
		t.Errorf("%+v, end %d", got, p.EndOffset())
	}
}

func TestExpire(t *testing.T) {
	p := newPartition(t)
	p.must(spec{pid: 1, ts: 1000}, spec{pid: 2, ts: 1001}, spec{pid: 3, ts: 1000, txn: true},
		spec{pid: 4, ts: 1, txn: true}, spec{pid: 4, ts: 1001, marker: "commit"})
	p.Expire(1000 + day.Milliseconds() - 1)
	if p.Len() != 4 {
		t.Errorf("%d producers before the time", p.Len())
	}
	p.Expire(1000 + day.Milliseconds())
	for id, want := range map[int64]bool{1: false, 2: true, 3: true, 4: true} {
		if _, ok := p.Producer(id); ok != want {
			t.Errorf("producer %d kept: %v", id, ok)
		}
	}
	p.must(spec{pid: 1, seq: 12345}) // forgotten: any sequence will do
}

func TestTruncateBeforeAndReset(t *testing.T) {
	p := newPartition(t)
	p.must(spec{pid: 1, txn: true}, spec{pid: 1, marker: "commit"}, spec{pid: 2})
	p.TruncateBefore(2)
	if _, ok := p.FirstUnstableOffset(0); ok || p.EndOffset() != 3 || p.Len() != 2 {
		t.Errorf("unstable %v, end %d, %d producers", ok, p.EndOffset(), p.Len())
	}
	p.TruncateBefore(10)
	if p.EndOffset() != 10 {
		t.Errorf("end %d", p.EndOffset())
	}
	p.must(spec{pid: 1, seq: 1}) // still knows its sequence
	p.must(spec{pid: 5, txn: true})
	p.Reset(4)
	if _, ok := p.FirstUnstableOffset(0); ok || p.EndOffset() != 4 || p.Len() != 0 {
		t.Errorf("after Reset: unstable %v, end %d, %d producers", ok, p.EndOffset(), p.Len())
	}
}

// TestCheckAllocatesNothing guards the append path.
func TestCheckAllocatesNothing(t *testing.T) {
	p := newPartition(t)
	seq := int32(0)
	b := spec{pid: 1, seq: 0, n: 10}.at(t, 0)
	p.Append(b)
	allocs := testing.AllocsPerRun(100, func() {
		seq += 10
		b[53], b[54], b[55], b[56] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
		if dup, err := p.Check(b, record.Client); dup != nil || err != nil {
			t.Fatal(dup, err)
		}
		p.Append(b)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
