package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// outcome collects what waiting produces hear.
type outcome struct {
	mu    sync.Mutex
	heard []string
}

func (o *outcome) of(name string) func(error) {
	return func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		var k *kerr.Error
		if err != nil && !errors.As(err, &k) {
			k = &kerr.Error{Message: "?"}
		}
		if k != nil {
			name += " " + k.Message
		}
		o.heard = append(o.heard, name)
	}
}

func (o *outcome) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	heard := o.heard
	o.heard = nil
	return heard
}

// TestNotifyAt: records wait for follower 2, which fetches nothing, until the
// controller takes it out of the ISR.
func TestNotifyAt(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5, 1, 2)
	var o outcome
	for i := range 4 {
		r := mustAppend(t, p, produceAll(), batch(t, 1, 10))
		cancel, done := p.NotifyAt(r.LastOffset+1, r.LeaderEpoch, o.of(fmt.Sprint(i)))
		if done {
			t.Fatalf("batch %d is committed at once", i)
		}
		if i == 2 {
			if first, again := cancel(), cancel(); !first || again {
				t.Errorf("cancelled: %v, once more: %v", first, again)
			}
		}
	}
	if got := o.take(); got != nil {
		t.Errorf("%v before anything is committed", got)
	}
	w.leads(t0, 6)
	if got, want := o.take(), []string{"0", "1", "3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, done := p.NotifyAt(40, 5, o.of("late")); !done {
		t.Error("what is committed is to be waited for")
	}
	if _, done := p.NotifyAt(41, 6, o.of("never appended")); done || o.take() != nil {
		t.Error("what is not there is committed")
	}
}

// TestWaitersEndWithTheRole: who appended in an epoch must not hear of success in
// a later one if another broker led between, for the records may be others.
func TestWaitersEndWithTheRole(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5, 1, 2)
	var o outcome
	p.NotifyAt(10, 5, o.of("a"))
	w.leads(t0, 6, 1, 2) // the same leader goes on
	p.NotifyAt(10, 5, o.of("b"))
	if got := o.take(); got != nil {
		t.Errorf("%v although this broker leads on", got)
	}
	w.apply(change(epoch(7), version(7), leader(2)))
	if got, want := o.take(), []string{"a NOT_LEADER_FOR_PARTITION", "b NOT_LEADER_FOR_PARTITION"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, done := p.NotifyAt(0, 6, o.of("c")); done {
		t.Error("a follower commits")
	}
	w.leads(t0, 8)
	if _, done := p.NotifyAt(0, 6, o.of("d")); done {
		t.Error("the old epoch is committed by the new one")
	}
	if got, want := o.take(), []string{"c NOT_LEADER_FOR_PARTITION", "d NOT_LEADER_FOR_PARTITION"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, done := p.NotifyAt(0, 8, o.of("e")); !done {
		t.Error("the new epoch commits nothing")
	}
	p.NotifyAt(1, 8, o.of("f"))
	w.replicas.Stop(t.Context())
	if got, want := o.take(), []string{"f NOT_LEADER_FOR_PARTITION"}; !slices.Equal(got, want) {
		t.Errorf("after Stop: %v, want %v", got, want)
	}
}

// TestMinInSyncFreezesTheHighWatermark, and what it has passed meanwhile is
// answered with NotEnoughReplicasAfterAppend.
func TestMinInSync(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5, 1, 2)
	mustAppend(t, p, produceAll(), batch(t, 1, 1))
	var o outcome
	p.NotifyAt(1, 5, o.of("a"))
	w.configure("t", func(c *config.Topic) { c.MinInsyncReplicas = 2 })
	w.apply(change(epoch(6), version(6))) // ISR 1 of replicas 1, 2
	if log, _ := p.Log(); log.HighWatermark() != 0 || o.take() != nil {
		t.Error("the high watermark moved with too few in sync")
	}
	log, _ := p.Log()
	log.AdvanceHighWatermark(1) // as a follower that has fetched just before would
	p.wake(p.role.Load())
	if got, want := o.take(), []string{"a NOT_ENOUGH_REPLICAS_AFTER_APPEND"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	w.configure("t", func(c *config.Topic) { c.MinInsyncReplicas = 1 })
	mustAppend(t, p, produceAll(), batch(t, 1, 1))
	if log.HighWatermark() != 2 {
		t.Errorf("high watermark %d with enough in sync", log.HighWatermark())
	}
}

// TestWaiterOrder: whatever the order of arrival and of cancelling, waiters are
// completed by offset, and only as far as the high watermark.
func TestWaiterOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		w := newWorld(t)
		p := w.leads(t0, 5)
		var heard, want []int64
		var cancels []func() bool
		offsets := r.Perm(40)
		for _, o := range offsets {
			offset := int64(o) + 1
			cancel, _ := p.NotifyAt(offset, 5, func(error) { heard = append(heard, offset) })
			if r.IntN(3) == 0 {
				cancels = append(cancels, cancel)
			} else {
				want = append(want, offset)
			}
		}
		for _, cancel := range cancels {
			cancel()
		}
		slices.Sort(want)
		hw := int64(0)
		for hw < 40 {
			n := 1 + r.IntN(9)
			mustAppend(t, p, produce, batch(t, 1, n))
			hw += int64(n)
			expected := 0
			for _, o := range want {
				if o <= hw {
					expected++
				}
			}
			if !slices.Equal(heard, want[:expected]) {
				t.Fatalf("at %d: %v of %v", hw, heard, want)
			}
		}
	}
}

// TestNoWakeupIsLost: appending, waiting and cancelling at the same time, every
// waiter either hears once or is cancelled.
func TestNoWakeupIsLost(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	var group sync.WaitGroup
	var heard, cancelled, waited atomic.Int64
	for range 4 {
		group.Go(func() {
			for range 300 {
				r, err := p.Append(batch(t, 1, 1), produceAll())
				if err != nil {
					t.Error(err)
					return
				}
				// Wait for somebody else's append to come, or give up.
				cancel, done := p.NotifyAt(r.LastOffset+2, r.LeaderEpoch, func(error) { heard.Add(1) })
				if done {
					continue
				}
				waited.Add(1)
				if r.LastOffset%3 == 0 && cancel() {
					cancelled.Add(1)
				}
			}
		})
	}
	group.Wait()
	mustAppend(t, p, produce, batch(t, 1, 2))
	if heard.Load()+cancelled.Load() != waited.Load() {
		t.Errorf("of %d waiters %d heard and %d were cancelled", waited.Load(), heard.Load(), cancelled.Load())
	}
}

func TestWatchers(t *testing.T) {
	w := newWorld(t)
	t1 := protocol.TopicPartition{Topic: "t", Partition: 1}
	p, q := w.leads(t0, 5), w.leads(t1, 5)
	var a, b recorder
	p.Watch(&a, 10, allMoves)
	p.Watch(&b, 20, allMoves)
	q.Watch(&a, 11, allMoves)
	tell := func(what string, wantA, wantB []uint32) {
		t.Helper()
		if gotA, gotB := a.take(), b.take(); !slices.Equal(gotA, wantA) || !slices.Equal(gotB, wantB) {
			t.Errorf("%s: told %v and %v, want %v and %v", what, gotA, gotB, wantA, wantB)
		}
	}
	mustAppend(t, p, produce, batch(t, 1, 1))
	tell("append", []uint32{10}, []uint32{20})
	mustAppend(t, q, produce, batch(t, 1, 1, producer(1, 0, 0)))
	tell("append to the other", []uint32{11}, nil)
	mustAppend(t, q, produce, batch(t, 1, 1, producer(1, 0, 0)))
	tell("duplicate", nil, nil)
	w.leads(t0, 6)
	tell("epoch", []uint32{10}, []uint32{20})
	p.Unwatch(&b, 21) // another token
	p.Unwatch(&a, 10)
	p.Unwatch(&a, 10)
	mustAppend(t, p, produce, batch(t, 1, 1))
	tell("after Unwatch", nil, []uint32{20})
}

// To watch costs the same however many others do.
func TestManyWatchers(t *testing.T) {
	race.Skip(t, "the race detector allocates")
	w := newWorld(t)
	p := w.leads(t0, 5)
	for token := range uint32(10_000) {
		p.Watch(silent{}, token, Commits)
	}
	if n := testing.AllocsPerRun(100, func() {
		p.Watch(silent{}, 20_000, Commits)
		p.Unwatch(silent{}, 20_000)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	for token := range uint32(10_000) {
		p.Unwatch(silent{}, token)
	}
	if p.watchers.list != nil || p.watchers.some.Load() {
		t.Errorf("%d watches are left", len(p.watchers.list))
	}
}

// Who appends can go on with those who wait itself, when it likes; for others somebody else
// does.
func TestWokenGoOn(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	ran := make(chan int, 10)
	var watchers [3]recorder
	for i := range watchers {
		watchers[i].goOn = func() { ran <- i }
		p.Watch(&watchers[i], 0, Commits)
	}
	all := func() []int {
		got := []int{<-ran, <-ran, <-ran}
		slices.Sort(got)
		return got
	}
	var woken Woken
	req := produce
	req.Woken = &woken
	mustAppend(t, p, req, batch(t, 1, 1))
	if len(woken) != 3 || len(ran) != 0 {
		t.Fatalf("%d are woken, %d have gone on", len(woken), len(ran))
	}
	first := make(chan struct{})
	watched := woken[0]
	woken[0] = func() { watched(); close(first) }
	woken.GoOn()
	select {
	case <-first:
	default:
		t.Error("nobody has gone on before GoOn has returned")
	}
	if got := all(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("%v have gone on", got)
	}
	mustAppend(t, p, produce, batch(t, 1, 1))
	if got := all(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("%v have gone on", got)
	}
	woken.GoOn() // nobody is left
}

// TestWatchersHearWhatTheyWant: a follower that waits for records is not woken when they
// are committed, nor a consumer before.
func TestWatchersHearWhatTheyWant(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 4, 1, 2)
	var follower, consumer, deleter recorder
	p.Watch(&follower, 1, Appends)
	p.Watch(&consumer, 2, Commits)
	p.Watch(&deleter, 3, 0)
	tell := func(what string, wanted ...uint32) {
		t.Helper()
		if got := slices.Concat(follower.take(), consumer.take(), deleter.take()); !slices.Equal(got, wanted) {
			t.Errorf("%s: told %v, want %v", what, got, wanted)
		}
	}
	mustRead(t, p, fetchOf(2, 0, 20))
	follower.take()
	consumer.take()
	deleter.take()
	follower.noted = nil
	mustAppend(t, p, produce, batch(t, 1000, 3))
	tell("append", 1)
	mustRead(t, p, fetchOf(2, 3, 20))
	tell("all replicas have it", 2)
	if !slices.Equal(follower.noted, []uint32{1}) || len(consumer.noted) > 0 {
		t.Errorf("noted by the follower: %v, by the consumer: %v", follower.noted, consumer.noted)
	}
	w.leads(t0, 5, 1, 2)
	tell("epoch", 1, 2, 3)
}

// synced counts the fsyncs of a log's first segment.
func (w *world) countSyncs() *atomic.Int64 {
	var n atomic.Int64
	w.faults.Inject(func(c vfs.Call) error {
		if c.Op == vfs.OpSync && c.Name[len(c.Name)-4:] == ".log" {
			n.Add(1)
		}
		return nil
	})
	return &n
}

func flushEach(c *config.Topic) { c.FlushMessages = 1 }

// TestFlushBeforeAcknowledgement: with flush.messages=1 nothing is committed
// before it is on the disk, and all who wait share an fsync.
func TestFlushBeforeAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.configure("t", flushEach)
		p := w.leads(t0, 5)
		syncs := w.countSyncs()
		var o outcome
		for i := range 10 {
			r := mustAppend(t, p, produceAll(), batch(t, 1, 1))
			if _, done := p.NotifyAt(r.LastOffset+1, 5, o.of(fmt.Sprint(i))); done {
				t.Fatal("committed before it is synced")
			}
		}
		log, _ := p.Log()
		if r, err := p.Read(readAll); err != nil || r.Range.Len != 0 || log.HighWatermark() != 0 {
			t.Errorf("a consumer sees %d bytes, high watermark %d, %v", r.Range.Len, log.HighWatermark(), err)
		}
		w.start() // the syncer's goroutines
		synctest.Wait()
		if got := o.take(); len(got) != 10 || syncs.Load() != 1 || log.HighWatermark() != 10 {
			t.Errorf("%v after %d fsyncs, high watermark %d", got, syncs.Load(), log.HighWatermark())
		}
		r := mustAppend(t, p, produceAll(), batch(t, 1, 1))
		if _, done := p.NotifyAt(r.LastOffset+1, 5, o.of("next")); done {
			o.of("next")(nil) // the fsync was quicker
		}
		synctest.Wait()
		if got := o.take(); !slices.Equal(got, []string{"next"}) || syncs.Load() != 2 {
			t.Errorf("%v after %d fsyncs", got, syncs.Load())
		}
		// acks=1 has its answer when Append returns.
		mustAppend(t, p, produce, batch(t, 1, 1))
		if syncs.Load() != 3 || log.SyncedOffset() != 12 || log.HighWatermark() != 12 {
			t.Errorf("%d fsyncs, synced %d, high watermark %d", syncs.Load(), log.SyncedOffset(), log.HighWatermark())
		}
		w.faults.Inject(nil)
	})
}

// TestFlushSetMeanwhile: flush.messages=1 comes, or goes, while a batch is being
// appended. Its produce must not wait for the next append.
func TestFlushSetMeanwhile(t *testing.T) {
	for _, comes := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			if !comes {
				w.configure("t", flushEach)
			}
			p := w.leads(t0, 5)
			w.start()
			changed := false
			w.faults.Inject(func(c vfs.Call) error {
				if c.Op == vfs.OpWrite && strings.HasSuffix(c.Name, ".log") && !changed {
					changed = true
					w.configure("t", func(c *config.Topic) {
						if comes {
							flushEach(c)
						}
					})
				}
				return nil
			})
			r := mustAppend(t, p, produceAll(), batch(t, 1, 1))
			synctest.Wait()
			log, _ := p.Log()
			if !changed || log.HighWatermark() != r.LastOffset+1 {
				t.Errorf("it comes: %v; high watermark %d", comes, log.HighWatermark())
			}
			w.faults.Inject(nil)
		})
	}
}

// TestFlushEveryFew: flush.messages=3 syncs when so many are not, and holds
// nothing back.
func TestFlushEveryFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.configure("t", func(c *config.Topic) { c.FlushMessages = 3 })
		p := w.leads(t0, 5)
		w.start()
		log, _ := p.Log()
		for i, wantSynced := range []int64{0, 0, 3, 3, 3, 6} {
			mustAppend(t, p, produce, batch(t, 1, 1))
			synctest.Wait()
			if log.SyncedOffset() != wantSynced || log.HighWatermark() != int64(i+1) {
				t.Errorf("after %d: synced %d, high watermark %d", i+1, log.SyncedOffset(), log.HighWatermark())
			}
		}
	})
}

// TestFailedFsyncAcknowledgesNothing, neither what waits nor what comes.
func TestFailedFsyncAcknowledgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.configure("t", flushEach)
		p := w.leads(t0, 5)
		w.start()
		synctest.Wait()
		w.faults.Inject(vfs.FailOp(vfs.OpSync, ".log", errors.New("disk on fire")))
		var o outcome
		r := mustAppend(t, p, produceAll(), batch(t, 1, 1))
		p.NotifyAt(r.LastOffset+1, 5, o.of("a"))
		synctest.Wait()
		if got, want := o.take(), []string{"a KAFKA_STORAGE_ERROR"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		w.faults.Inject(nil)
		for _, acks := range []int16{AcksLeader, AcksAll, AcksNone} {
			req := produce
			req.Acks = acks
			if _, err := p.Append(batch(t, 1, 1), req); !errors.Is(err, kerr.KafkaStorageError) {
				t.Errorf("acks=%d: %v", acks, err)
			}
		}
	})
}

// TestFailedFsyncBeforeAnswer is the same for who waits inside of Append.
func TestFailedFsyncBeforeAnswer(t *testing.T) {
	w := newWorld(t)
	w.configure("t", flushEach)
	p := w.leads(t0, 5)
	w.faults.Inject(vfs.FailOp(vfs.OpSync, ".log", errors.New("disk on fire")))
	_, err := p.Append(batch(t, 1, 1), produce)
	w.faults.Inject(nil)
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Error(err)
	}
}

// TestTakingOverSyncs: what a leader finds in its log counts as committed only
// when it is synced, too, and it does not wait for an append to do so.
func TestTakingOverSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.leads(t0, 5)
		w.start()
		mustAppend(t, p, produce, batch(t, 1, 3))
		log, _ := p.Log()
		w.configure("t", flushEach)
		w.apply(change(epoch(6), version(6), leader(2)))
		w.apply(change(epoch(7), version(7)))
		synctest.Wait()
		if log.SyncedOffset() != 3 || log.HighWatermark() != 3 {
			t.Errorf("synced %d, high watermark %d", log.SyncedOffset(), log.HighWatermark())
		}
	})
}
