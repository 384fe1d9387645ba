package replica

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func TestStopReplicas(t *testing.T) {
	for _, c := range []struct {
		name string
		stop StopChange
		err  error
		gone bool
	}{
		{"older epoch", StopChange{t0, 4, true}, kerr.FencedLeaderEpoch, false},
		{"same epoch", StopChange{t0, 5, true}, nil, true},
		{"newer epoch", StopChange{t0, 6, true}, nil, true},
		{"deletion of the topic", StopChange{t0, epochOfDeletion, true}, nil, true},
		{"request without epochs", StopChange{t0, epochUnknown, true}, nil, true},
		{"without deletion", StopChange{t0, 6, false}, nil, false},
		{"older epoch, without deletion", StopChange{t0, 4, false}, kerr.FencedLeaderEpoch, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.leads(t0, 5, 1, 2)
			var watcher recorder
			p.Watch(&watcher, 3, allMoves)
			mustAppend(t, p, produceAll(), batch(t, 1, 1))
			watcher.take()
			w.takeEvents()
			var heard error
			if _, done := p.NotifyAt(1, 5, func(err error) { heard = err }); done {
				t.Fatal("committed at once")
			}
			errs, err := w.replicas.StopReplicas(1, []StopChange{c.stop})
			if err != nil || !errors.Is(errs[0], c.err) {
				t.Fatalf("%v, %v; want %v", errs, err, c.err)
			}
			_, here := w.store.Log(t0)
			if here == c.gone {
				t.Errorf("log is here: %v", here)
			}
			_, err = w.replicas.Partition(t0)
			if _, leads := p.Leads(); leads == c.gone || errors.Is(err, kerr.UnknownTopicOrPartition) != c.gone {
				t.Errorf("leads %v, lookup: %v", leads, err)
			}
			if c.gone != errors.Is(heard, kerr.UnknownTopicOrPartition) || c.gone != slices.Equal(watcher.take(), []uint32{3}) {
				t.Errorf("the waiting produce heard %v", heard)
			}
			var want []RoleEvent
			if c.gone {
				want = []RoleEvent{{Partition: t0, Role: None, Epoch: 5, Cause: Deleted}}
			}
			if got := w.takeEvents(); !slices.Equal(got, want) {
				t.Errorf("events %+v, want %+v", got, want)
			}
			if c.gone {
				if p.Watch(&watcher, 4, allMoves); !slices.Contains(watcher.take(), 4) {
					t.Error("who watches what is gone is not told")
				}
				if _, err := p.Append(batch(t, 1, 1), produce); !errors.Is(err, kerr.UnknownTopicOrPartition) {
					t.Errorf("append to what is gone: %v", err)
				}
				if _, err := p.Read(ReadRequest{CurrentLeaderEpoch: NoEpoch, LastFetchedEpoch: NoEpoch, ReplicaID: Consumer}); !errors.Is(err, kerr.UnknownTopicOrPartition) {
					t.Errorf("read from what is gone: %v", err)
				}
			}
		})
	}
}

// TestStopWhatIsNotHosted: files from before a restart are deleted as well.
func TestStopWhatIsNotHosted(t *testing.T) {
	w := newWorld(t)
	if _, err := w.store.Create(t0, tID, defaultTopic(), true); err != nil {
		t.Fatal(err)
	}
	nowhere := protocol.TopicPartition{Topic: "nowhere"}
	errs, err := w.replicas.StopReplicas(1, []StopChange{{t0, epochOfDeletion, true}, {nowhere, epochOfDeletion, true}})
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	if _, here := w.store.Log(t0); here {
		t.Error("the log is still here")
	}
}

// TestDeletedMeanwhile: whoever took the role before the deletion and comes to
// the log after it says the same as whoever comes later.
func TestDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	mustAppend(t, p, produce, batch(t, 1, 1))
	before := p.role.Load()
	if errs, err := w.replicas.StopReplicas(1, []StopChange{{t0, epochOfDeletion, true}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	_, read := before.log.Read(0, 1000, 1, true)
	_, _, _, find := before.log.OffsetForTimestamp(1, 1)
	_, appendErr := before.log.AppendAsLeader(batch(t, 1, 1), 5, record.Client)
	for name, err := range map[string]error{"read": read, "lookup by time": find, "append": appendErr} {
		if err == nil {
			t.Errorf("%s of a deleted log", name)
		} else if err = p.explain(err); !errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecreatedAfterDeletion(t *testing.T) {
	w := newWorld(t)
	old := w.leads(t0, 5)
	mustAppend(t, old, produce, batch(t, 1, 3))
	if errs, err := w.replicas.StopReplicas(1, []StopChange{{t0, epochOfDeletion, true}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	again := change(epoch(0), version(0), id(protocol.TopicID{1}))
	w.apply(again)
	p, err := w.replicas.Partition(t0)
	if err != nil || p == old {
		t.Fatal(err)
	}
	if r := mustAppend(t, p, produce, batch(t, 1, 1)); r.BaseOffset != 0 || r.LeaderEpoch != 0 {
		t.Errorf("%+v", r)
	}
}

// TestDeletionThatFails: the one whose disk refuses is told from the others.
func TestDeletionThatFails(t *testing.T) {
	w := newWorld(t, "/a", "/b")
	t1 := protocol.TopicPartition{Topic: "t", Partition: 1}
	w.leads(t0, 1)
	w.leads(t1, 1)
	bad, _ := w.store.Log(t1)
	w.faults.Inject(vfs.FailOp(vfs.OpRename, bad.Dir(), errors.New("disk on fire")))
	errs, err := w.replicas.StopReplicas(1, []StopChange{{t0, 1, true}, {t1, 1, true}})
	w.faults.Inject(nil)
	if err != nil || errs[0] != nil || !errors.Is(errs[1], kerr.KafkaStorageError) {
		t.Errorf("%v, %v", errs, err)
	}
}

// TestFailedDirectory: a disk fails under an append. What is on it answers
// KafkaStorageError, who waits hears it, and the other disk works on.
func TestFailedDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "/a", "/b")
		w.start()
		t1 := protocol.TopicPartition{Topic: "t", Partition: 1}
		bad, good := w.leads(t0, 5, 1, 2), w.leads(t1, 5)
		mustAppend(t, bad, produceAll(), batch(t, 1, 1))
		var watcher recorder
		bad.Watch(&watcher, 1, allMoves)
		good.Watch(&watcher, 2, allMoves)
		w.takeEvents()
		heard := make(chan error, 1)
		bad.NotifyAt(1, 5, func(err error) { heard <- err })

		log, _ := bad.Log()
		w.faults.Inject(vfs.FailOp(vfs.OpWrite, log.Dir(), fs.ErrInvalid))
		if _, err := bad.Append(batch(t, 1, 1), produce); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("append: %v", err)
		}
		synctest.Wait()
		select {
		case err := <-heard:
			if !errors.Is(err, kerr.KafkaStorageError) {
				t.Errorf("the waiting produce heard %v", err)
			}
		default:
			t.Error("the waiting produce heard nothing")
		}
		if got := watcher.take(); !slices.Equal(got, []uint32{1}) {
			t.Errorf("watchers of %v were told", got)
		}
		if got, want := w.takeEvents(), []RoleEvent{{Partition: t0, Role: None, Epoch: 5, Cause: FailedDirectory}}; !slices.Equal(got, want) {
			t.Errorf("events %+v", got)
		}
		if _, err := w.replicas.Partition(t0); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("lookup: %v", err)
		}
		if errs, _ := w.replicas.StopReplicas(1, []StopChange{{t0, epochOfDeletion, true}}); !errors.Is(errs[0], kerr.KafkaStorageError) {
			t.Errorf("deletion: %v", errs)
		}
		mustAppend(t, good, produce, batch(t, 1, 1))
		w.faults.Inject(nil)
	})
}
