package replica

import (
	"errors"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// follows makes this broker follow broker 2.
func (w *world) follows(epoch int32) (*Partition, *role) {
	w.t.Helper()
	w.apply(RoleChange{Partition: t0, TopicID: tID, Leader: 2, LeaderEpoch: epoch, PartitionEpoch: epoch, Replicas: []int32{self, 2}, ISR: []int32{self, 2}, IsNew: epoch == 0})
	p, err := w.replicas.Partition(t0)
	if err != nil {
		w.t.Fatal(err)
	}
	return p, p.role.Load()
}

// copiedBatch is a batch as a leader has it.
func copiedBatch(t testing.TB, base int64, epoch int32, n int) []byte {
	b := record.Batch(batch(t, 1000, n))
	b.SetBaseOffset(base)
	b.SetLeaderEpoch(epoch)
	return b
}

// What comes from an old leader after the role has changed is not written: neither
// records nor a cut.
func TestNothingOfAnOldLeader(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"follows in a new epoch": func(w *world) { w.follows(1) },
		"leads":                  func(w *world) { w.leads(t0, 1, self, 2) },
		"deleted": func(w *world) {
			if _, err := w.replicas.StopReplicas(1, []StopChange{{Partition: t0, LeaderEpoch: -2, Delete: true}}); err != nil {
				w.t.Fatal(err)
			}
		},
		"stopped": func(w *world) {
			if _, err := w.replicas.StopReplicas(1, []StopChange{{Partition: t0, LeaderEpoch: 0}}); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p, old := w.follows(0)
			if err := p.applyFetched(old, 0, fetchedData{records: copiedBatch(t, 0, 0, 3), highWatermark: 2, logStart: 0}); err != nil {
				t.Fatal(err)
			}
			log := old.log
			if log.EndOffset() != 3 || log.HighWatermark() != 2 {
				t.Fatalf("ends at %d, high watermark %d", log.EndOffset(), log.HighWatermark())
			}
			change(w)
			if err := p.applyFetched(old, 3, fetchedData{records: copiedBatch(t, 3, 0, 3), highWatermark: 6}); !errors.Is(err, errNotFollowing) {
				t.Errorf("records: %v", err)
			}
			if err := p.applyDivergence(old, Divergence{0, 1}); !errors.Is(err, errNotFollowing) {
				t.Errorf("divergence: %v", err)
			}
			if log.EndOffset() != 3 {
				t.Errorf("ends at %d", log.EndOffset())
			}
		})
	}
}

// A torn batch at the end of a response waits for the next one; a damaged one is not
// written.
func TestFetchedRecordsAreChecked(t *testing.T) {
	w := newWorld(t)
	p, r := w.follows(0)
	two := append(copiedBatch(t, 0, 0, 3), copiedBatch(t, 3, 0, 3)...)
	if err := p.applyFetched(r, 0, fetchedData{records: two[:len(two)-1], highWatermark: 0}); err != nil || r.log.EndOffset() != 3 {
		t.Fatalf("ends at %d, error %v", r.log.EndOffset(), err)
	}
	damaged := copiedBatch(t, 3, 0, 3)
	damaged[len(damaged)-1]++
	if err := p.applyFetched(r, 3, fetchedData{records: damaged}); err == nil || r.log.EndOffset() != 3 {
		t.Errorf("damaged: ends at %d, error %v", r.log.EndOffset(), err)
	}
	if err := p.applyFetched(r, 3, fetchedData{records: copiedBatch(t, 2, 0, 3)}); !errors.Is(err, commitlog.ErrUnexpectedOffset) {
		t.Errorf("overlapping: %v", err)
	}
}
