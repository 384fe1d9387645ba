package txn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// A transaction from its beginning to its markers, and the next.
func TestTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		pid, epoch := l.producer(x)
		if pid != 1000 || epoch != 0 {
			t.Fatalf("producer %d epoch %d", pid, epoch)
		}
		is(t, "add", <-l.add(x, pid, epoch, "t-0", "t-1"), nil)
		is(t, "verify", l.verify(x, pid, epoch, "t-1"), nil)
		is(t, "verify", l.verify(x, pid, epoch, "u-0"), kerr.TransactionAbortable)
		is(t, "commit", <-l.end(x, pid, epoch, true), nil)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
		l.expectIn("t-0", "commit 1000/0")
		l.expectIn("t-1", "commit 1000/0")
		is(t, "add", <-l.add(x, pid, epoch, "t-1", "u-0"), nil)
		is(t, "abort", <-l.end(x, pid, epoch, false), nil)
		synctest.Wait()
		l.expect(x, "CompleteAbort 1000/0")
		l.expectIn("t-0", "commit 1000/0")
		l.expectIn("t-1", "commit 1000/0, abort 1000/0")
		l.expectIn("u-0", "abort 1000/0")
		if l.brokers.fenced[partitionsNamed("u-0")[0]] != 5 {
			t.Error("markers have another coordinator epoch than the leadership's")
		}
	})
}

// What every request is asked first.
func TestWhoCoordinates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		log.Reads = make(chan struct{})
		l := newLab(t, log, newBrokers())
		x := idIn(1)
		all := func(want error) {
			t.Helper()
			is(t, "init", (<-l.init(fromNothing(x))).Err, want)
			is(t, "add", <-l.add(x, 1, 0, "t-0"), want)
			is(t, "verify", l.verify(x, 1, 0, "t-0"), want)
			is(t, "end", <-l.end(x, 1, 0, true), want)
			_, err := l.c.Describe(x)
			is(t, "describe", err, want)
		}
		all(kerr.NotCoordinator)
		l.leads(0, 5)
		all(kerr.NotCoordinator)
		l.leads(1, 5)
		all(kerr.CoordinatorLoadInProgress)
		_, err := l.c.List(Filter{AnyState: true, LongerMS: -1})
		is(t, "list", err, kerr.CoordinatorLoadInProgress)
		close(log.Reads)
		synctest.Wait()

		// Ids that are not known, or cannot be.
		is(t, "add", <-l.add(x, 1, 0, "t-0"), kerr.InvalidProducerIDMapping)
		is(t, "verify", l.verify(x, 1, 0, "t-0"), kerr.InvalidProducerIDMapping)
		is(t, "end", <-l.end(x, 1, 0, true), kerr.InvalidProducerIDMapping)
		_, err = l.c.Describe(x)
		is(t, "describe", err, kerr.TransactionalIDNotFound)
		for _, id := range []string{"", strings.Repeat("x", 1<<15)} {
			is(t, "init", (<-l.init(fromNothing(id))).Err, kerr.InvalidRequest)
			is(t, "add", <-l.add(id, 1, 0, "t-0"), kerr.InvalidRequest)
			is(t, "verify", l.verify(id, 1, 0, "t-0"), kerr.InvalidRequest)
			is(t, "end", <-l.end(id, 1, 0, true), kerr.InvalidRequest)
			_, err = l.c.Describe(id)
			is(t, "describe", err, kerr.InvalidRequest)
		}
		is(t, "init", (<-l.init(InitRequest{ID: x, TimeoutMS: 1, ProducerID: 1, Epoch: NoEpoch})).Err, kerr.InvalidRequest)
		is(t, "init", (<-l.init(InitRequest{ID: x, TimeoutMS: 1, ProducerID: NoProducerID, Epoch: 1})).Err, kerr.InvalidRequest)
		for _, ms := range []int32{-1, 0, 900001} {
			is(t, "init", (<-l.init(InitRequest{ID: x, TimeoutMS: ms, ProducerID: NoProducerID, Epoch: NoEpoch})).Err, kerr.InvalidTransactionTimeout)
		}
		is(t, "init", (<-l.init(InitRequest{ID: x, TimeoutMS: 900000, ProducerID: NoProducerID, Epoch: NoEpoch})).Err, nil)
		is(t, "add", <-l.add(x, 1000, 0, strings.Repeat("t", 250)+"-0"), kerr.InvalidRequest)

		l.follows(1, 6)
		all(kerr.NotCoordinator)
		l.stop()
		all(kerr.CoordinatorNotAvailable)
		_, err = l.c.List(Filter{AnyState: true, LongerMS: -1})
		is(t, "list", err, kerr.CoordinatorNotAvailable)
	})
}

// Nothing is answered, nor shown, that its record has not made durable.
func TestNothingIsSaidBeforeItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		durable := func(what string, before string, answered func() bool, after string) {
			t.Helper()
			synctest.Wait()
			if answered() {
				t.Errorf("%s is answered before its record", what)
			}
			l.expect(x, before)
			l.log.Acknowledge(nil, true)
			synctest.Wait()
			if !answered() {
				t.Errorf("%s is not answered", what)
			}
			l.expect(x, after)
		}
		l.log.Hold(true)
		r := l.init(fromNothing(x))
		durable("init", "TRANSACTIONAL_ID_NOT_FOUND", func() bool { return len(r) == 1 }, "Empty 1000/0")
		e := l.add(x, 1000, 0, "t-0")
		durable("add", "Empty 1000/0", func() bool { return len(e) == 1 }, "Ongoing 1000/0 [t-0]")
		e = l.end(x, 1000, 0, true)
		synctest.Wait()
		l.expectIn("t-0", "")
		durable("commit", "Ongoing 1000/0 [t-0]", func() bool { return len(e) == 1 }, "PrepareCommit 1000/0 [t-0]")
		l.expectIn("t-0", "commit 1000/0")
		l.log.Acknowledge(nil, false)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
	})
}

// Leadership comes and goes with epochs: what is late does nothing.
func TestResignation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		pid, epoch := l.producer(x)
		is(t, "add", <-l.add(x, pid, epoch, "t-0"), nil)
		l.log.Hold(true)
		onWay := l.end(x, pid, epoch, true)
		waits := l.init(fromNothing(x))
		synctest.Wait()
		l.c.RoleChanged(role(1, replica.Follower, 4, replica.LeaderAndISR)) // old news
		l.c.RoleChanged(role(1, replica.Leader, 6, replica.LeaderAndISR))   // the same leadership goes on
		synctest.Wait()
		if len(onWay) != 0 || len(waits) != 0 {
			t.Fatal("answered on old news")
		}
		l.follows(1, 7)
		is(t, "commit on its way", <-onWay, kerr.NotCoordinator)
		is(t, "init that waits", (<-waits).Err, kerr.NotCoordinator)
		l.log.Acknowledge(nil, false) // late: it was in the log
		synctest.Wait()
		l.expectIn("t-0", "")
		l.leads(1, 8)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
		l.expectIn("t-0", "commit 1000/0")

		// A deleted topic begins with epoch 0 again.
		l.log.Lead(1, -1)
		l.c.RoleChanged(role(1, replica.None, 8, replica.Deleted))
		l.c.PartitionsDeleted([]protocol.TopicPartition{{Topic: protocol.TransactionStateTopic, Partition: 1}})
		l.expect(x, "NOT_COORDINATOR")
		l.leads(1, 0)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
	})
}

// A request that meets markers waits for them, but not for ever.
func TestRequestsWaitForMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		pid, epoch := l.producer(x)
		is(t, "add", <-l.add(x, pid, epoch, "t-0", "t-1"), nil)
		hung := make(chan struct{})
		l.brokers.set(func() { l.brokers.hung[2] = hung })
		is(t, "commit", <-l.end(x, pid, epoch, true), nil)
		waits := l.add(x, pid, epoch, "u-0")
		synctest.Wait()
		is(t, "verify", l.verify(x, pid, epoch, "t-0"), kerr.ConcurrentTransactions)
		if len(waits) != 0 || l.c.Stats().Waiting != 1 || l.c.Stats().Marking != 1 {
			t.Errorf("it does not wait: %+v", l.c.Stats())
		}
		close(hung)
		is(t, "add", <-waits, nil)
		l.expect(x, "Ongoing 1000/0 [u-0]")

		l.brokers.set(func() { l.brokers.down[1] = true })
		is(t, "commit", <-l.end(x, pid, epoch, true), nil)
		began := time.Now()
		is(t, "add", <-l.add(x, pid, epoch, "u-0"), kerr.ConcurrentTransactions)
		if waited := time.Since(began); waited != maxWait {
			t.Errorf("it has waited for %v", waited)
		}
		// A seventeenth finds no place.
		var all []<-chan error
		for range maxWaiting {
			all = append(all, l.add(x, pid, epoch, "u-0"))
		}
		is(t, "add", <-l.add(x, pid, epoch, "u-0"), kerr.ConcurrentTransactions)
		if time.Since(began) != maxWait {
			t.Error("the seventeenth has waited")
		}
		l.brokers.set(func() { l.brokers.down[1] = false })
		for _, c := range all {
			is(t, "add", <-c, nil)
		}
	})
}

// A transaction that takes too long is aborted when somebody looks, its producer is
// fenced, and ids that nobody uses are forgotten.
func TestScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		pid, epoch := l.producer(x)
		is(t, "add", <-l.add(x, pid, epoch, "t-0"), nil)
		time.Sleep(time.Minute)
		l.expect(x, "Ongoing 1000/0 [t-0]")
		time.Sleep(11 * time.Second)
		l.expect(x, "CompleteAbort 1000/1")
		l.expectIn("t-0", "abort 1000/1")
		is(t, "commit", <-l.end(x, pid, epoch, true), kerr.ProducerFenced)
		if n := l.c.Stats().TimedOut; n != 1 {
			t.Errorf("%d have timed out", n)
		}
		time.Sleep(7*24*time.Hour - time.Minute)
		l.expect(x, "CompleteAbort 1000/1")
		time.Sleep(time.Hour)
		l.expect(x, "TRANSACTIONAL_ID_NOT_FOUND")
		l.follows(1, 6)
		l.leads(1, 7)
		synctest.Wait()
		l.expect(x, "TRANSACTIONAL_ID_NOT_FOUND")
		if pid, epoch := l.producer(x); pid != 1001 || epoch != 0 {
			t.Errorf("producer %d epoch %d", pid, epoch)
		}
	})
}

// An id that comes while its tombstone is on its way is a new one.
func TestInitMeetsTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		l.producer(x)
		time.Sleep(7*24*time.Hour - 30*time.Minute)
		l.log.Hold(true)
		time.Sleep(30*time.Minute + time.Second)
		r, e := l.init(fromNothing(x)), l.add(x, 1000, 0, "t-0")
		synctest.Wait()
		if len(r) != 0 || len(e) != 0 || l.log.Held() != 1 {
			t.Fatal("they do not wait for the tombstone")
		}
		l.log.Acknowledge(nil, false)
		if got := <-r; got.Err != nil || got.ProducerID != 1001 || got.Epoch != 0 {
			t.Errorf("%+v", got)
		}
		is(t, "add", <-e, kerr.InvalidProducerIDMapping)
	})
}

// Producer ids may be late, or not come at all.
func TestProducerIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := make(chan error)
		l, x := newLeader(t, func(c *Config) {
			next := c.NextProducerID
			c.NextProducerID = func(ctx context.Context) (int64, error) {
				select {
				case err := <-ids:
					if err != nil {
						return 0, err
					}
					return next(ctx)
				case <-ctx.Done():
					return 0, errNotCoordinator
				}
			}
		})
		r := l.init(fromNothing(x))
		ids <- kerr.CoordinatorLoadInProgress
		is(t, "init", (<-r).Err, kerr.CoordinatorLoadInProgress)
		l.expect(x, "TRANSACTIONAL_ID_NOT_FOUND")
		first, second := l.init(fromNothing(x)), l.init(fromNothing(x))
		ids <- nil
		synctest.Wait()
		ids <- nil
		if a, b := <-first, <-second; a.ProducerID != b.ProducerID || a.Epoch+b.Epoch != 1 {
			t.Errorf("%+v, %+v", a, b)
		}
		r = l.init(fromNothing(idIn(1) + "x"))
		l.stop()
		if err := (<-r).Err; !errors.Is(err, kerr.NotCoordinator) && !errors.Is(err, kerr.CoordinatorNotAvailable) {
			t.Error(err)
		}
	})
}

// What would be too much is refused; what is there goes on.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t, func(c *Config) { c.MemoryBytes = idFootprint + 200 })
		defer l.stop()
		pid, epoch := l.producer(x)
		is(t, "add", <-l.add(x, pid, epoch, "t-0"), nil)
		is(t, "add", <-l.add(x, pid, epoch, "t-0", "t-1", "t-2", "t-3", "t-4"), kerr.CoordinatorNotAvailable)
		is(t, "add", <-l.add(x, pid, epoch, "t-0", "t-1"), nil)
		other := x + "y"
		for i := 0; l.c.led.All()[1] == nil || idPartition(other) != 1; i++ {
			other += "y"
		}
		is(t, "init", (<-l.init(fromNothing(other))).Err, nil) // there is a little room left
		is(t, "init", (<-l.init(fromNothing(other))).Err, nil)
		third := other + "y"
		for idPartition(third) != 1 {
			third += "y"
		}
		is(t, "init", (<-l.init(fromNothing(third))).Err, kerr.CoordinatorNotAvailable)
		is(t, "commit", <-l.end(x, pid, epoch, true), nil)
		synctest.Wait()
		l.expectIn("t-1", "commit 1000/0")
	})
}
