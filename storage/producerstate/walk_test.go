package producerstate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// model answers every question about producers by looking through the whole
// history, with no state that could go stale.
type model struct{ log []entry }

type entry struct {
	spec
	first, last int64
}

func (m *model) of(pid int64) []entry {
	var out []entry
	for _, e := range m.log {
		if e.pid == pid {
			out = append(out, e)
		}
	}
	return out
}

// openAt is where the producer's open transaction begins, −1 if none is.
func openAt(history []entry) int64 {
	open := int64(-1)
	for _, e := range history {
		switch {
		case e.marker != "":
			open = -1
		case e.txn && open < 0:
			open = e.first
		}
	}
	return open
}

// lastSequence is the last sequence number of the newest epoch's batches.
func (e entry) lastSequence() int32 {
	return int32((int64(e.seq) + e.last - e.first) % (math.MaxInt32 + 1))
}

func (m *model) check(s spec) (dup *entry, err error) {
	h := m.of(s.pid)
	if len(h) == 0 {
		return nil, nil
	}
	epoch := h[len(h)-1].epoch // epochs never go back in a leader's log
	var data []entry           // the batches of that epoch, newest last
	coordinator := int32(-1)
	for _, e := range h {
		if e.marker != "" {
			coordinator = e.coordEpo
		} else if e.epoch == epoch {
			data = append(data, e)
		}
	}
	if s.marker != "" {
		switch {
		case s.epoch < epoch:
			return nil, kerr.InvalidProducerEpoch
		case s.coordEpo < coordinator:
			return nil, kerr.TransactionCoordinatorFenced
		}
		return nil, nil
	}
	if s.epoch == epoch {
		for _, e := range data[max(0, len(data)-5):] {
			if e.seq == s.seq && e.last-e.first == int64(s.n-1) {
				return &e, nil
			}
		}
	}
	switch {
	case s.epoch < epoch:
		return nil, kerr.InvalidProducerEpoch
	case s.epoch > epoch && s.seq != 0, s.epoch == epoch && len(data) == 0 && s.seq != 0:
		return nil, kerr.OutOfOrderSequenceNumber
	case s.epoch == epoch && len(data) > 0:
		if last := data[len(data)-1].lastSequence(); s.seq != last+1 && (s.seq != 0 || last != math.MaxInt32) {
			return nil, kerr.OutOfOrderSequenceNumber
		}
	}
	if openAt(h) >= 0 && !s.txn {
		return nil, kerr.InvalidTxnState
	}
	return nil, nil
}

// firstUnstable looks at every offset of the log: one is stable if it belongs to
// no transaction or to one whose marker is below the high watermark.
func (m *model) firstUnstable(hw int64) int64 {
	for i, e := range m.log {
		if !e.txn || e.marker != "" {
			continue
		}
		ended := int64(math.MaxInt64)
		for _, later := range m.log[i:] {
			if later.pid == e.pid && later.marker != "" {
				ended = later.first
				break
			}
		}
		if ended >= hw {
			return e.first
		}
	}
	return -1
}

// TestRandomWalk drives State and model through the same appends, restarts from
// snapshots included.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			p, m := newPartition(t), &model{}
			hw := int64(0)
			// A snapshot keeps of a producer's batches only the newest, and of
			// timestamps only the producer's, which may be a marker's.
			restarted := map[int64]bool{}
			accepted, duplicates := 0, 0
			for step := range 400 {
				s := randomSpec(r, m)
				offset := p.EndOffset()
				wantDup, wantErr := m.check(s)
				dup, _, err := p.client(s)
				switch {
				case !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil):
					if !restarted[s.pid] || wantDup == nil {
						t.Fatalf("step %d: %+v at %d: %v, want %v", step, s, offset, err, wantErr)
					}
				case dup != nil:
					duplicates++
					sameTime := wantDup != nil && dup.Timestamp == wantDup.ts || restarted[s.pid]
					if wantDup == nil || dup.FirstOffset() != wantDup.first || dup.LastOffset != wantDup.last || !sameTime {
						t.Fatalf("step %d: %+v is a repetition of %+v, want %+v", step, s, dup, wantDup)
					}
				case wantDup != nil:
					t.Fatalf("step %d: %+v was appended, it repeats %+v", step, s, wantDup)
				case err == nil:
					accepted++
					m.log = append(m.log, entry{s, offset, p.EndOffset() - 1})
				}
				if r.IntN(3) == 0 {
					hw += r.Int64N(p.EndOffset() - hw + 1)
				}
				got, ok := p.FirstUnstableOffset(hw)
				if !ok {
					got = -1
				}
				if want := m.firstUnstable(hw); got != want {
					t.Fatalf("step %d: first unstable offset %d at high watermark %d, want %d", step, got, hw, want)
				}
				if r.IntN(60) == 0 {
					hw = p.EndOffset() // a snapshot does not hold markers that are not replicated
					producers, err := Decode(p.Encode())
					if err != nil {
						t.Fatal(err)
					}
					p.Load(producers, p.EndOffset(), 0)
					for id := range int64(4) {
						restarted[id] = true
					}
				}
			}
			if accepted < 50 || duplicates == 0 {
				t.Errorf("the walk tested little: %d appends, %d repetitions", accepted, duplicates)
			}
		})
	}
}

// randomSpec mostly continues a producer's sequence, and sometimes repeats,
// skips, changes epochs, or ends a transaction.
func randomSpec(r *rand.Rand, m *model) spec {
	s := spec{pid: r.Int64N(4), n: 1 + r.IntN(3), ts: r.Int64N(1000)}
	h := m.of(s.pid)
	if len(h) == 0 {
		s.seq = []int32{0, 5, math.MaxInt32 - 3}[r.IntN(3)]
		s.txn = r.IntN(2) == 0
		return s
	}
	last := h[len(h)-1]
	s.epoch, s.coordEpo = last.epoch, last.coordEpo
	s.txn = openAt(h) >= 0 || r.IntN(3) == 0
	for _, e := range h {
		if e.marker == "" && e.epoch == s.epoch {
			s.seq = record.AddSequence(e.lastSequence(), 1)
		}
	}
	switch r.IntN(12) {
	case 0:
		s.seq = max(0, s.seq+int32(r.IntN(7))-3)
	case 1:
		s.epoch += int16(r.IntN(3)) - 1
	case 2:
		s.epoch, s.seq = s.epoch+1, 0
	case 3:
		s.txn = !s.txn
	case 4, 5:
		s = h[max(0, len(h)-1-r.IntN(7))].spec
	case 6, 7, 8:
		s.marker = []string{"commit", "abort"}[r.IntN(2)]
		s.coordEpo += int32(r.IntN(4)) / 2 * int32(r.IntN(3)-1)
	}
	return s
}
