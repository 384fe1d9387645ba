package producerstate

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// What Kafka 3.9's own classes write.
const (
	goldenEmpty = "000148674bc700000000"
	goldenOne   = "0001f4d109c00000000100000000000003e80002000000090000000000000031000000090000018bcfe56800000000070000000000000028"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSnapshotGolden(t *testing.T) {
	if got := New(day).Encode(); !bytes.Equal(got, unhex(t, goldenEmpty)) {
		t.Errorf("empty: %x, want %s", got, goldenEmpty)
	}
	// A marker of coordinator 7, then ten records of an open transaction.
	const ts = 1700000000000
	p := newPartition(t)
	p.Reset(39)
	p.must(spec{pid: 1000, epoch: 2, marker: "commit", coordEpo: 7}, spec{pid: 1000, epoch: 2, seq: 0, n: 10, ts: ts, txn: true})
	if got := p.Encode(); !bytes.Equal(got, unhex(t, goldenOne)) {
		t.Errorf("one: %x\nwant %s", got, goldenOne)
	}
	got, err := Decode(unhex(t, goldenOne))
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	want := Producer{ID: 1000, Epoch: 2, CoordinatorEpoch: 7, LastTimestamp: ts, TxnFirstOffset: 40, cached: 1}
	want.batches[0] = CachedBatch{LastSequence: 9, OffsetDelta: 9, LastOffset: 49, Timestamp: ts}
	if got[0] != want {
		t.Errorf("decoded %+v\nwant    %+v", got[0], want)
	}
}

func TestLoad(t *testing.T) {
	p := newPartition(t)
	p.must(spec{pid: 1, seq: 0, n: 3, ts: 100}, spec{pid: 1, seq: 3, n: 2, ts: 200}, spec{pid: 2, ts: 5, txn: true},
		spec{pid: 3, epoch: 4, ts: 300, marker: "abort"}, spec{pid: 4, ts: 10})
	producers, err := Decode(p.Encode())
	if err != nil {
		t.Fatal(err)
	}
	q := newPartition(t)
	q.must(spec{pid: 77}) // is replaced
	q.Load(producers, p.EndOffset(), 50+day.Milliseconds())
	if q.EndOffset() != p.EndOffset() || q.Len() != 3 {
		t.Errorf("end %d, %d producers", q.EndOffset(), q.Len())
	}
	if _, ok := q.Producer(4); ok {
		t.Error("an expired producer was loaded")
	}
	if first, ok := q.FirstUnstableOffset(0); !ok || first != 5 {
		t.Errorf("first unstable offset %d, %v", first, ok)
	}
	if dup, _, err := q.client(spec{pid: 1, seq: 3, n: 2}); err != nil || dup == nil || dup.LastOffset != 4 || dup.Timestamp != 200 {
		t.Errorf("repetition of the newest batch: %+v, %v", dup, err)
	}
	s, _ := q.Producer(3)
	if _, ok := s.LastBatch(); ok || s.Epoch != 4 || s.LastSequence() != -1 || s.LastTimestamp != 300 {
		t.Errorf("producer without batch: %+v", s)
	}
	q.must(spec{pid: 1, seq: 5}, spec{pid: 3, epoch: 4, seq: 0}, spec{pid: 2, seq: 1, txn: true})
	if ended := q.must(spec{pid: 2, marker: "abort"}); ended == nil || ended.FirstOffset != 5 {
		t.Errorf("completed %+v", ended)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := unhex(t, goldenOne)
	for i := range good {
		if _, err := Decode(good[:i]); !errors.Is(err, ErrSnapshot) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if _, err := Decode(b); !errors.Is(err, ErrSnapshot) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := Decode(append(good, 0)); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(unhex(f, goldenEmpty))
	f.Add(unhex(f, goldenOne))
	kafkas, err := filepath.Glob("../commitlog/testdata/*/*/*.snapshot")
	if err != nil || len(kafkas) == 0 {
		f.Fatalf("no snapshot of a real Kafka: %v", err)
	}
	for _, file := range kafkas {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		producers, err := Decode(in)
		if err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Fatal(err)
			}
			return
		}
		s := New(day)
		s.Load(producers, 0, 0)
		again, err := Decode(s.Encode())
		if err != nil || len(again) != s.Len() {
			t.Fatalf("%d producers of %d: %v", len(again), s.Len(), err)
		}
		for p := range s.Producers() { // no state that was read may make these panic
			b := spec{pid: p.ID, epoch: p.Epoch, seq: p.LastSequence()}.at(t, 0)
			_, _ = s.Check(b, record.Client)
			if !slices.Contains(again, p) {
				t.Fatalf("%+v is not among %+v", p, again)
			}
		}
	})
}
