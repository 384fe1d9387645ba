package group

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// inTransaction is commitOf in the transaction of a producer.
func inTransaction(producer int64, group string, offsets ...int64) *Commit {
	c := commitOf(group, offsets...)
	c.Producer = &Producer{ID: producer, Epoch: 1}
	return c
}

// mark writes the marker of a producer's transaction into partition n, and returns what
// the coordinator is to be told when it is safe there.
func mark(t testing.TB, log *memlog.Log, n int32, producer int64, commit bool) TransactionEnd {
	t.Helper()
	_, end, err := log.Bounds(n)
	if err != nil {
		t.Fatal(err)
	}
	m := record.EndTxnMarker(producer, 1, 1, commit, 1)
	m.SetBaseOffset(end)
	log.Put(n, m)
	return TransactionEnd{ProducerID: producer, Commit: commit, At: end}
}

// Offsets of a transaction are seen when it is committed, and by nobody if it is aborted.
func TestCommitInTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		<-l.commit(commitOf(g, 1))
		<-l.commit(inTransaction(7, g, 2, 3))
		l.expect(g, "t-0=1?")
		l.c.EndTransaction(1, mark(t, log, 1, 8, true)) // somebody else's
		l.expect(g, "t-0=1?")
		l.c.EndTransaction(1, mark(t, log, 1, 7, false))
		l.expect(g, "t-0=1")
		<-l.commit(inTransaction(7, g, 4, 5))
		<-l.commit(commitOf(g, 6)) // the later append counts
		end := mark(t, log, 1, 7, true)
		l.c.EndTransaction(1, end)
		l.c.EndTransaction(1, end)
		l.expect(g, "t-0=6 t-1=5")
		h, _ := l.c.find(g)
		if g := h.group; g.takes != g.measure() || len(g.transactions) != 0 || len(h.of.open) != 0 {
			t.Errorf("%d bytes, measured %d; transactions %v; open %v", g.takes, g.measure(), g.transactions, h.of.open)
		}
		for _, b := range log.Batches(1) {
			if b.IsTransactional() != (b.ProducerID() >= 0) || b.IsTransactional() && !b.IsControl() && (b.ProducerEpoch() != 1 || b.BaseSequence() != 0) {
				t.Errorf("batch of producer %d, epoch %d, sequence %d, transactional: %v", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.IsTransactional())
			}
		}
	})
}

// The log says which of a commit and a marker was first, in whatever order they are
// acknowledged.
func TestMarkerOvertakesCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		log.Hold(true)
		before := l.commit(inTransaction(7, g, 1))
		l.c.EndTransaction(1, mark(t, log, 1, 7, true))
		log.Acknowledge(nil, true)
		<-before
		l.expect(g, "t-0=1")

		aborted := l.commit(inTransaction(7, g, 2))
		l.c.EndTransaction(1, mark(t, log, 1, 7, false))
		after := l.commit(inTransaction(7, g, 3)) // in the next batch, behind the marker
		log.Acknowledge(nil, true)
		<-aborted
		synctest.Wait()
		l.expect(g, "t-0=1?")
		log.Acknowledge(nil, false)
		<-after
		l.expect(g, "t-0=1?")
		l.c.EndTransaction(1, mark(t, log, 1, 7, true))
		l.expect(g, "t-0=3")
	})
}

// A commit that fails leaves nothing of the transaction behind.
func TestCommitInTransactionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		log.Refuse(kerr.NotEnoughReplicas)
		c := inTransaction(7, g, 1)
		<-l.commit(c)
		if !errors.Is(c.Offsets[0].Err, kerr.CoordinatorNotAvailable) {
			t.Errorf("%v", c.Offsets[0].Err)
		}
		l.expect(g, "")
		h, _ := l.c.find(g)
		if len(h.group.transactions) != 0 || h.group.takes != h.group.measure() {
			t.Errorf("%v, %d bytes, measured %d", h.group.transactions, h.group.takes, h.group.measure())
		}
	})
}

// Who commits in a transaction need not say who it is, but if it does, that must be so.
// It may commit while its group rebalances, as in Kafka.
func TestMembersOfTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, g := newLeader(t)
		defer l.stop()
		m := l.member(g) // and waits for its assignment
		for _, c := range []struct {
			member     string
			generation int32
			want       error
		}{
			{"", NoGeneration, nil}, {m.MemberID, m.Generation, nil},
			{m.MemberID, m.Generation + 1, kerr.IllegalGeneration}, {"another", m.Generation, kerr.UnknownMemberID}, {"another", NoGeneration, kerr.UnknownMemberID},
		} {
			q := inTransaction(7, g, 1)
			q.MemberID, q.Generation = c.member, c.generation
			<-l.commit(q)
			is(t, fmt.Sprintf("member %q of generation %d", c.member, c.generation), q.Offsets[0].Err, c.want)
		}
	})
}

// A marker that comes during the load counts, once.
func TestMarkerDuringLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		<-l.commit(inTransaction(7, g, 1))
		<-l.commit(inTransaction(8, g, 2, 3))
		l.follows(1, 6)
		log.Reads = make(chan struct{})
		l.leads(1, 7)
		synctest.Wait()
		seven := mark1(t, log, 7, true, 2)
		l.c.EndTransaction(1, seven) // and the load reads it, too
		close(log.Reads)
		synctest.Wait()
		l.expect(g, "t-0=1?")
		l.c.EndTransaction(1, mark(t, log, 1, 8, true))
		l.expect(g, "t-0=2 t-1=3")
	})
}

// mark1 is mark in partition 1 at a known offset, while the log is not read.
func mark1(t testing.TB, log *memlog.Log, producer int64, commit bool, at int64) TransactionEnd {
	t.Helper()
	m := record.EndTxnMarker(producer, 1, 1, commit, 1)
	m.SetBaseOffset(at)
	log.Put(1, m)
	return TransactionEnd{ProducerID: producer, Commit: commit, At: at}
}

// Whatever happens, the memory says what the log says.
func TestTransactionsAreWhatTheLogSays(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			log, l, g := newLeader(t)
			defer l.stop()
			var markers []TransactionEnd // that the coordinator was not told of yet
			var queued [3]atomic.Int32   // records on their way to the log, by producer
			log.Appended = func(_ int32, b record.Batch) bool {
				if b.IsTransactional() {
					queued[b.ProducerID()].Add(-b.Count())
				}
				return true
			}
			for range 40 {
				producer := int64(rng.IntN(3))
				switch rng.IntN(7) {
				case 0, 1:
					// The next transaction begins after the coordinator was told of the end of the last.
					if !slices.ContainsFunc(markers, func(e TransactionEnd) bool { return e.ProducerID == producer }) {
						queued[producer].Add(2)
						l.commit(inTransaction(producer, g, rng.Int64N(1000), rng.Int64N(1000)))
					}
				case 2:
					l.commit(commitOf(g, rng.Int64N(1000)))
				case 3:
					// What would come behind the marker is refused by the log (KIP-890).
					if synctest.Wait(); queued[producer].Load() == 0 {
						markers = append(markers, mark(t, log, 1, producer, rng.IntN(2) == 0))
					}
				case 4:
					log.Hold(true)
				case 5:
					log.Acknowledge(nil, rng.IntN(2) == 0)
				case 6:
					if len(markers) > 0 {
						l.c.EndTransaction(1, markers[0])
						markers = markers[1:]
					}
				}
				if rng.IntN(2) == 0 {
					synctest.Wait()
				}
			}
			log.Acknowledge(nil, false)
			synctest.Wait()
			for _, e := range markers {
				l.c.EndTransaction(1, e)
			}
			h, err := l.c.find(g)
			if err != nil {
				t.Fatal(err)
			}
			if h != nil && h.group.takes != h.group.measure() {
				t.Errorf("seed %d: takes %d, measured %d", seed, h.group.takes, h.group.measure())
			}
			live := l.committed(g)
			l.follows(1, 6)
			l.leads(1, 7)
			synctest.Wait()
			if loaded := l.committed(g); loaded != live {
				t.Errorf("seed %d: in memory %s, the log says %s", seed, live, loaded)
			}
		})
	}
}
