package txn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/statelog"
)

func idPartition(id string) int32 { return statelog.PartitionFor(id, 2) }

// decided begins a transaction over partitions and commits it.
func (l *lab) decided(id string, partitions ...string) {
	l.t.Helper()
	pid, epoch := l.producer(id)
	is(l.t, "add", <-l.add(id, pid, epoch, partitions...), nil)
	is(l.t, "commit", <-l.end(id, pid, epoch, true), nil)
}

// Markers are tried until they are written, with whoever leads.
func TestMarkersAreTriedAgain(t *testing.T) {
	for _, refusal := range []error{
		kerr.UnknownTopicOrPartition, kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
		kerr.RequestTimedOut, kerr.KafkaStorageError, kerr.ClusterAuthorizationFailed, kerr.UnknownServerError,
	} {
		synctest.Test(t, func(t *testing.T) {
			l, x := newLeader(t)
			defer l.stop()
			l.brokers.set(func() { l.brokers.refuse[partitionsNamed("t-0")[0]] = refusal })
			l.decided(x, "t-0", "t-1")
			synctest.Wait()
			l.expectIn("t-0", "")
			l.expectIn("t-1", "commit 1000/0")
			l.expect(x, "PrepareCommit 1000/0 [t-0 t-1]")
			time.Sleep(markerRetry)
			synctest.Wait()
			l.expectIn("t-0", "commit 1000/0")
			l.expectIn("t-1", "commit 1000/0")
			l.expect(x, "CompleteCommit 1000/0")
		})
	}
}

// The leader changes, is down, is not there, and does not answer.
func TestMarkersFollowTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		l.brokers.set(func() { l.brokers.down[2] = true })
		l.decided(x, "t-0", "t-1")
		time.Sleep(time.Second)
		l.expectIn("t-0", "commit 1000/0")
		l.expectIn("t-1", "")
		l.brokers.leads(1, "t-1")
		time.Sleep(markerRetry)
		synctest.Wait()
		l.expectIn("t-1", "commit 1000/0")
		l.expect(x, "CompleteCommit 1000/0")

		l.brokers.leads(cluster.NoLeader, "t-1")
		l.decided(x, "t-1")
		time.Sleep(time.Minute)
		l.expect(x, "PrepareCommit 1000/1 [t-1]")
		l.brokers.leads(1, "t-1")
		time.Sleep(markerRetry)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/1")

		l.brokers.set(func() { l.brokers.hung[1] = make(chan struct{}) })
		l.decided(x, "t-0")
		time.Sleep(20 * time.Second)
		l.brokers.leads(3, "t-0")
		l.expect(x, "PrepareCommit 1000/2 [t-0]")
		time.Sleep(10*time.Second + markerRetry)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/2")
	})
}

// What is deleted needs no marker; what only the view does not know does.
func TestMarkersOfDeletedPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unknown := errors.New("no ZooKeeper")
		var broken atomic.Bool
		l, x := newLeader(t, func(c *Config) {
			read := c.PartitionsOf
			c.PartitionsOf = func(ctx context.Context, topic string) (int32, error) {
				if broken.Load() {
					return 0, unknown
				}
				return read(ctx, topic)
			}
		})
		defer l.stop()
		l.brokers.set(func() { l.brokers.down[1] = true; l.brokers.down[2] = true })
		l.decided(x, "t-0", "t-1", "u-0")
		synctest.Wait()
		broken.Store(true)
		l.brokers.deleted("u-0", "t-1")
		l.brokers.tell(partitionsNamed("t-0")[0], cluster.LeaderDeleting) // and ZooKeeper has it
		l.brokers.set(func() { l.brokers.down[1] = false })
		time.Sleep(time.Minute)
		l.expect(x, "PrepareCommit 1000/0 [t-0 t-1 u-0]")
		broken.Store(false)
		time.Sleep(time.Minute)
		l.expect(x, "PrepareCommit 1000/0 [t-0 t-1 u-0]")
		l.brokers.leads(1, "t-0")
		time.Sleep(markerRetry)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
		l.expectIn("t-0", "commit 1000/0")

		// Deleted while it is led.
		l.decided(x, "t-0")
		l.brokers.set(func() { l.brokers.down[1] = true })
		l.brokers.deleted("t-0")
		time.Sleep(markerRetry)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/1")
	})
}

// Who does not take markers, ever.
func TestMarkersThatAreNotTaken(t *testing.T) {
	for _, refusal := range []error{kerr.UnsupportedForMessageFormat, kerr.UnsupportedVersion, kerr.InvalidProducerEpoch} {
		synctest.Test(t, func(t *testing.T) {
			l, x := newLeader(t)
			defer l.stop()
			l.brokers.set(func() { l.brokers.refuse[partitionsNamed("t-0")[0]] = refusal })
			l.decided(x, "t-0", "t-1")
			synctest.Wait()
			l.expectIn("t-1", "commit 1000/0")
			l.expect(x, "CompleteCommit 1000/0")
		})
	}
	// Another broker coordinates: this one only has not heard of it yet.
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		l.brokers.set(func() { l.brokers.fenced[partitionsNamed("t-0")[0]] = 6 })
		l.decided(x, "t-0", "t-1")
		time.Sleep(time.Minute)
		l.expect(x, "PrepareCommit 1000/0 [t-0 t-1]")
		l.expectIn("t-0", "")
		if n := l.c.Stats().Marking; n != 0 {
			t.Errorf("%d are tried still", n)
		}
		l.follows(1, 6)
		l.leads(1, 7)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
		l.expectIn("t-0", "commit 1000/0")
	})
}

// A broker has one request on its way, and the markers of all transactions that come
// meanwhile share the next.
func TestMarkersShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		hung := make(chan struct{})
		l.brokers.set(func() { l.brokers.hung[1] = hung })
		l.decided(x, "t-0")
		synctest.Wait()
		var ids []string
		for id := x; len(ids) < 50; {
			if id += "z"; idPartition(id) == 1 {
				ids = append(ids, id)
				l.decided(id, "t-0", "u-0")
			}
		}
		synctest.Wait()
		l.expectIn("t-0", "")
		close(hung)
		synctest.Wait()
		for _, id := range append(ids, x) {
			if s := l.state(id); s[:14] != "CompleteCommit" {
				t.Errorf("%s is %s", id, s)
			}
		}
		if n := l.brokers.requests[1]; n != 2 {
			t.Errorf("%d requests", n)
		}
		if n := len(l.brokers.markers[partitionsNamed("u-0")[0]]); n != 50 {
			t.Errorf("%d markers", n)
		}
	})
}

// A request has so many markers at most.
func TestRequestsHaveALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		var names []string
		for i := range 2*maxMarkers + 1 {
			names = append(names, fmt.Sprintf("w-%d", i))
		}
		var all cluster.TopicUpdate
		l.brokers.set(func() {
			for _, tp := range partitionsNamed(names...) {
				l.brokers.leaders[tp] = 1
				all.Name = tp.Topic
				all.Partitions = append(all.Partitions, cluster.Partition{ID: tp.Partition, Leader: 1})
			}
		})
		l.brokers.view.Apply(cluster.Update{Topics: []cluster.TopicUpdate{all}})
		l.decided(x, names...)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
		if n := l.brokers.requests[1]; n != 3 {
			t.Errorf("%d requests", n)
		}
		l.brokers.mu.Lock()
		defer l.brokers.mu.Unlock()
		for _, tp := range partitionsNamed(names...) {
			if got := l.brokers.markers[tp]; !slices.Equal(got, []string{"commit 1000/0"}) {
				t.Fatalf("%v has %q", tp, got)
			}
		}
	})
}

// A load goes on with the markers of what was decided, in the new epoch; what the
// leadership before had in line is forgotten.
func TestLoadGoesOnWithMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		hung := make(chan struct{})
		l.brokers.set(func() { l.brokers.hung[1] = hung; l.brokers.down[2] = true })
		l.decided(x, "t-0", "t-1")
		synctest.Wait()
		l.decided(x+"x", "u-0") // in line
		synctest.Wait()
		l.follows(1, 6)
		if n := l.c.Stats().Marking; n != 0 {
			t.Errorf("%d are being marked", n)
		}
		close(hung)
		l.brokers.set(func() { l.brokers.down[2] = false })
		time.Sleep(time.Minute)
		l.expectIn("t-0", "commit 1000/0") // it was on its way
		l.expectIn("t-1", "")
		l.expectIn("u-0", "")
		l.leads(1, 7)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
		l.expectIn("t-0", "commit 1000/0, commit 1000/0")
		l.expectIn("t-1", "commit 1000/0")
		if got := l.brokers.fenced[partitionsNamed("t-1")[0]]; got != 7 {
			t.Errorf("coordinator epoch %d", got)
		}
	})
}

// A transaction in no partition needs no markers.
func TestTransactionWithoutPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		defer l.stop()
		l.decided(x)
		synctest.Wait()
		l.expect(x, "CompleteCommit 1000/0")
	})
}

// The load tries again until the log can be read, and passes over what it does not
// understand.
func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		log.Put(1, encoded(t, &change{id: idIn(1), to: value{producerID: 7, epoch: 3, timeoutMS: 1, startMS: -1}, timeMS: 1}))
		b := encoded(t, &change{id: idIn(1) + "?", to: value{producerID: 7, state: Dead}, timeMS: 1})
		b.SetBaseOffset(1)
		log.Put(1, b)
		log.Unread(errors.New("unreadable"))
		l := newLab(t, log, newBrokers())
		defer l.stop()
		l.leads(1, 1)
		time.Sleep(time.Minute)
		l.expect(idIn(1), "COORDINATOR_LOAD_IN_PROGRESS")
		log.Unread(nil)
		time.Sleep(time.Minute)
		l.expect(idIn(1), "Empty 7/3")
		if n := l.c.Stats().Loads; n != 1 {
			t.Errorf("%d loads", n)
		}
	})
}

// What a new leader finds at the end of the log may be there and nowhere else: another
// could come who decides the transaction otherwise. So it waits with the markers, and
// tells nobody of the decision.
func TestLoadOfWhatIsNotCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, b, x := memlog.New(), newBrokers(), idIn(1)
		b.leads(1, "t-0")
		log.Put(1, encoded(t, &change{id: x, to: value{producerID: 7, epoch: 3, timeoutMS: 1, state: PrepareCommit, partitions: partitionsNamed("t-0")}, timeMS: 1}))
		log.Hold(true)
		l := newLab(t, log, b)
		defer l.stop()
		l.leads(1, 1)
		synctest.Wait()
		l.expect(x, "COORDINATOR_LOAD_IN_PROGRESS")
		is(t, "end", <-l.end(x, 7, 3, true), kerr.CoordinatorLoadInProgress)
		if m := b.in("t-0"); m != "" {
			t.Errorf("t-0 has %q", m)
		}
		l.follows(1, 2) // the leadership ends before
		log.Acknowledge(errNotCoordinator, true)
		l.leads(1, 3)
		synctest.Wait()
		l.expect(x, "COORDINATOR_LOAD_IN_PROGRESS")
		log.Acknowledge(nil, false)
		synctest.Wait()
		l.expect(x, "CompleteCommit 7/3")
		if m := b.in("t-0"); m != "commit 7/3" {
			t.Errorf("t-0 has %q", m)
		}
	})
}
