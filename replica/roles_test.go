package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func change(mutate ...func(*RoleChange)) RoleChange {
	c := RoleChange{Partition: t0, TopicID: tID, Leader: self, LeaderEpoch: 5, PartitionEpoch: 5, ControllerEpoch: 1, Replicas: []int32{1, 2}, ISR: []int32{1}, IsNew: true}
	for _, m := range mutate {
		m(&c)
	}
	return c
}

func epoch(e int32) func(*RoleChange)       { return func(c *RoleChange) { c.LeaderEpoch = e } }
func version(v int32) func(*RoleChange)     { return func(c *RoleChange) { c.PartitionEpoch = v } }
func leader(id int32) func(*RoleChange)     { return func(c *RoleChange) { c.Leader = id } }
func replicas(r ...int32) func(*RoleChange) { return func(c *RoleChange) { c.Replicas = r } }
func id(id protocol.TopicID) func(*RoleChange) {
	return func(c *RoleChange) { c.TopicID = id }
}

// TestReceiverRules applies a second change to a partition that this broker leads
// in epoch 5.
func TestReceiverRules(t *testing.T) {
	other := tID
	other[0]++
	for _, c := range []struct {
		name   string
		change RoleChange
		err    error
		leads  bool
		epoch  int32
	}{
		{"newer epoch", change(epoch(6)), nil, true, 6},
		{"much newer epoch", change(epoch(60)), nil, true, 60},
		{"same epoch", change(version(6)), kerr.StaleControllerEpoch, true, 5},
		{"older epoch", change(epoch(4), version(9)), kerr.StaleControllerEpoch, true, 5},
		{"newer epoch, older state", change(epoch(6), version(4)), nil, true, 5},
		{"newer epoch, same state", change(epoch(6), version(5)), nil, true, 6},
		{"follower", change(epoch(6), leader(2)), nil, false, 6},
		{"follower of a broker that is not alive", change(epoch(6), leader(3)), nil, true, 5},
		{"follower of nobody", change(epoch(6), leader(-1)), nil, true, 5},
		{"not a replica", change(epoch(6), replicas(2, 3)), kerr.UnknownTopicOrPartition, true, 5},
		{"other topic id", change(epoch(6), id(other)), kerr.InconsistentTopicID, true, 5},
		{"no topic id", change(epoch(6), id(protocol.TopicID{})), nil, true, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.apply(change())
			w.takeEvents()
			errs, err := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{c.change})
			if err != nil || len(errs) != 1 || !errors.Is(errs[0], c.err) {
				t.Fatalf("%v, %v; want %v", errs, err, c.err)
			}
			p, err := w.replicas.Partition(t0)
			if err != nil {
				t.Fatal(err)
			}
			if epoch, leads := p.Leads(); epoch != c.epoch || leads != c.leads {
				t.Errorf("leads %v in epoch %d", leads, epoch)
			}
			want := []RoleEvent{{Partition: t0, Role: Leader, Epoch: c.epoch}}
			if !c.leads {
				want[0].Role = Follower
			}
			if c.epoch == 5 {
				want = nil
			}
			if got := w.takeEvents(); !slices.Equal(got, want) {
				t.Errorf("events %+v, want %+v", got, want)
			}
		})
	}
}

func TestReceiverRulesOfUnknownPartition(t *testing.T) {
	for _, c := range []struct {
		name   string
		change RoleChange
		err    error
		lookup error
	}{
		{"not a replica", change(replicas(2, 3)), kerr.UnknownTopicOrPartition, kerr.UnknownTopicOrPartition},
		{"follower", change(leader(2)), nil, nil},
		{"follower of nobody", change(leader(-1)), nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			errs, err := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{c.change})
			if err != nil || !errors.Is(errs[0], c.err) {
				t.Fatalf("%v, %v", errs, err)
			}
			if _, err := w.replicas.Partition(t0); !errors.Is(err, c.lookup) {
				t.Errorf("lookup: %v", err)
			}
			if _, here := w.store.Log(t0); here != (c.err == nil) {
				t.Errorf("log is here: %v", here)
			}
		})
	}
}

// TestFollowerOfNobodyIsDecidedLater: while the leader is unknown the epoch stays
// unknown, so that the same one can come again.
func TestFollowerOfNobodyIsDecidedLater(t *testing.T) {
	w := newWorld(t)
	w.apply(change(leader(3)))
	if events := w.takeEvents(); events != nil {
		t.Errorf("events %+v", events)
	}
	w.view.Apply(cluster.Update{ControllerID: self, Brokers: []cluster.Broker{{ID: self}, {ID: 3}}})
	w.apply(change(leader(3)))
	p, _ := w.replicas.Partition(t0)
	if broker, epoch := p.Leader(); broker != 3 || epoch != 5 {
		t.Errorf("leader %d in epoch %d", broker, epoch)
	}
}

// TestTopicIDComesLater: a controller that has been upgraded sends ids in the
// epoch that is known.
func TestTopicIDComesLater(t *testing.T) {
	w := newWorld(t)
	w.apply(change(id(protocol.TopicID{})))
	p, _ := w.replicas.Partition(t0)
	if !p.TopicID().IsZero() {
		t.Fatal(p.TopicID())
	}
	w.apply(change())
	if p.TopicID() != tID {
		t.Errorf("topic id %v", p.TopicID())
	}
	errs, _ := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{change()})
	if !errors.Is(errs[0], kerr.StaleControllerEpoch) {
		t.Errorf("the same once more: %v", errs)
	}
}

func TestControllerEpochs(t *testing.T) {
	w := newWorld(t)
	apply := func(epoch int32) error {
		_, err := w.replicas.ApplyRoles(t.Context(), epoch, nil)
		return err
	}
	stop := func(epoch int32) error {
		_, err := w.replicas.StopReplicas(epoch, nil)
		return err
	}
	for _, step := range []struct {
		do    func(int32) error
		epoch int32
		err   error
	}{
		{apply, 4, nil}, {apply, 4, nil}, {stop, 3, kerr.StaleControllerEpoch}, {stop, 6, nil},
		{w.replicas.ObserveController, 5, kerr.StaleControllerEpoch}, {w.replicas.ObserveController, 7, nil}, {apply, 6, kerr.StaleControllerEpoch},
	} {
		if err := step.do(step.epoch); !errors.Is(err, step.err) {
			t.Errorf("epoch %d: %v, want %v", step.epoch, err, step.err)
		}
	}
}

// TestLeaderEpochBeginsAtTheLogsEnd, and is known before any data.
func TestLeaderEpochBeginsAtTheLogsEnd(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	mustAppend(t, p, produce, batch(t, 1, 3))
	w.leads(t0, 7)
	for _, c := range []struct {
		asked, epoch int32
		end          int64
	}{{5, 5, 3}, {6, 5, 3}, {7, 7, 3}, {8, -1, -1}} {
		epoch, end, err := p.EndOffsetForEpoch(NoEpoch, c.asked, false)
		if epoch != c.epoch || end != c.end || err != nil {
			t.Errorf("epoch %d ends as %d at %d, %v; want %d at %d", c.asked, epoch, end, err, c.epoch, c.end)
		}
	}
}

// TestManyRoles: all partitions of a request get their role, and a topic's
// configuration is not read for each.
func TestManyRoles(t *testing.T) {
	w := newWorld(t)
	w.configure("t", func(c *config.Topic) { c.MaxMessageBytes = 777 })
	var changes []RoleChange
	for i := range int32(200) {
		changes = append(changes, change(func(c *RoleChange) { c.Partition.Partition = i }))
	}
	w.apply(changes...)
	n := 0
	for p := range w.replicas.All() {
		log, err := p.Log()
		if err != nil || log.Config().MaxMessageBytes != 777 {
			t.Errorf("%v: %v", p.TopicPartition(), err)
		}
		n++
	}
	if n != 200 || len(w.takeEvents()) != 200 || w.asked != 2 {
		t.Errorf("%d partitions, the configuration was read %d times", n, w.asked)
	}
}

// TestConfigChangedMeanwhile: the configuration changes after it was read for a
// new log and before the log is there.
func TestConfigChangedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.configure("t", func(c *config.Topic) { c.MaxMessageBytes = 1 })
	w.replicas.topicConfig = func(ctx context.Context, topic string) (*config.Topic, error) {
		cfg, err := w.topicConfig(ctx, topic)
		if w.asked == 1 {
			defer w.configure("t", func(c *config.Topic) { c.MaxMessageBytes = 2 }) // no log is here to hear it
		}
		return cfg, err
	}
	w.apply(change())
	if log, _ := w.store.Log(t0); log.Config().MaxMessageBytes != 2 {
		t.Errorf("max.message.bytes is %d", log.Config().MaxMessageBytes)
	}
}

func TestUnreadableConfig(t *testing.T) {
	w := newWorld(t)
	broken := errors.New("no ZooKeeper")
	w.replicas.topicConfig = func(context.Context, string) (*config.Topic, error) { return nil, broken }
	errs, err := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{change()})
	if err != nil || !errors.Is(errs[0], broken) {
		t.Errorf("%v, %v", errs, err)
	}
	w.replicas.topicConfig = w.topicConfig
	w.apply(change()) // the epoch was not used up
}

func TestCreationFailsWithTheDisk(t *testing.T) {
	w := newWorld(t)
	w.faults.Inject(vfs.FailOp(vfs.OpMkdir, "", errors.New("disk on fire")))
	errs, err := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{change()})
	w.faults.Inject(nil)
	if err != nil || !errors.Is(errs[0], kerr.KafkaStorageError) {
		t.Fatalf("%v, %v", errs, err)
	}
	if _, err := w.replicas.Partition(t0); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("lookup: %v", err)
	}
	if errs, _ := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{change(epoch(9))}); !errors.Is(errs[0], kerr.KafkaStorageError) {
		t.Errorf("the next change: %v", errs)
	}
	if got, want := w.takeEvents(), []RoleEvent{{Partition: t0, Role: None, Epoch: -1, Cause: FailedDirectory}}; !slices.Equal(got, want) {
		t.Errorf("events %+v", got)
	}
}

func TestPartitionLookup(t *testing.T) {
	w := newWorld(t)
	elsewhere := protocol.TopicPartition{Topic: "elsewhere", Partition: 0}
	w.view.Apply(cluster.Update{ControllerID: self, Brokers: []cluster.Broker{{ID: self}, {ID: 2}}, Topics: []cluster.TopicUpdate{
		{Name: "elsewhere", ID: protocol.TopicID{1}, Partitions: []cluster.Partition{{ID: 0, Leader: 2}}},
		{Name: "t", ID: tID, Partitions: []cluster.Partition{{ID: 0, Leader: 1}}},
	}})
	if _, err := w.replicas.Partition(elsewhere); !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("elsewhere: %v", err)
	}
	if _, err := w.replicas.Partition(protocol.TopicPartition{Topic: "nowhere"}); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("nowhere: %v", err)
	}
	p := w.leads(t0, 1)
	if got, tp, err := w.replicas.ByTopicID(tID, 0); got != p || tp != t0 || err != nil {
		t.Errorf("by id: %v, %v", tp, err)
	}
	if _, _, err := w.replicas.ByTopicID(protocol.TopicID{9}, 0); !errors.Is(err, kerr.UnknownTopicID) {
		t.Errorf("unknown id: %v", err)
	}
	if _, tp, err := w.replicas.ByTopicID(protocol.TopicID{1}, 0); tp != elsewhere || !errors.Is(err, kerr.NotLeaderForPartition) {
		t.Errorf("id of a topic elsewhere: %v, %v", tp, err)
	}
	w.view.Apply(cluster.Update{ControllerID: self, Topics: []cluster.TopicUpdate{
		{Name: "t", Partitions: []cluster.Partition{{ID: 0, Leader: cluster.LeaderDeleting}}},
	}})
	newID := protocol.TopicID{5}
	w.view.Apply(cluster.Update{ControllerID: self, Topics: []cluster.TopicUpdate{
		{Name: "t", ID: newID, Partitions: []cluster.Partition{{ID: 0, Leader: 1}}},
	}})
	if _, _, err := w.replicas.ByTopicID(newID, 0); !errors.Is(err, kerr.InconsistentTopicID) {
		t.Errorf("id of the next incarnation: %v", err)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := w.replicas.Partition(t0); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("a lookup costs %v allocations", allocs)
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for _, cfg := range []Config{{BrokerID: -1, TopicConfig: w.topicConfig}, {BrokerID: 1}} {
		if r, err := New(cfg, w.store, w.view); err == nil {
			t.Errorf("%+v: %v", cfg, r)
		}
	}
}

// TestEventsInOrder: a subscriber that causes an event is not called again before
// it has returned.
func TestEventsInOrder(t *testing.T) {
	w := newWorld(t)
	var log []string
	depth := 0
	w.replicas.Subscribe(func(e RoleEvent) {
		depth++
		log = append(log, fmt.Sprintf("%d:%d/%d", depth, e.Role, e.Epoch))
		if e.Epoch == 5 {
			w.apply(change(epoch(6), leader(2)))
		}
		depth--
	})
	w.apply(change())
	if want := []string{"1:1/5", "1:2/6"}; !slices.Equal(log, want) {
		t.Errorf("%v, want %v", log, want)
	}
}

// A log without some of its committed records does not lead, unless nobody else can
// have them, or their loss is accepted.
func TestLostRecordsAndLeading(t *testing.T) {
	for _, c := range []struct {
		name   string
		change RoleChange
		allow  bool // unclean.leader.election.enable
		leads  bool
	}{
		{"others may have them", change(), false, false},
		{"an only replica", change(replicas(self)), false, true},
		{"an unclean election", change(func(c *RoleChange) { c.Recovering = true }), false, true},
		{"unclean elections are allowed", change(), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := vfs.NewMem()
			for name, content := range map[string]string{
				"/data/t-0/00000000000000000000.log":  "",
				"/data/replication-offset-checkpoint": "0\n1\nt 0 8\n",
			} {
				if err := errors.Join(disk.MkdirAll("/data/t-0", 0o755), vfs.WriteFileAtomic(disk, name, []byte(content))); err != nil {
					t.Fatal(err)
				}
			}
			w := newWorldOn(t, disk, "/data")
			w.configure("t", func(cfg *config.Topic) { cfg.UncleanLeaderElection = c.allow })
			errs, err := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{c.change})
			if err = errors.Join(append(errs, err)...); (err == nil) != c.leads || err != nil && !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("error %v", err)
			}
			p, err := w.replicas.Partition(t0)
			if err != nil {
				t.Fatal(err) // it is not offline
			}
			if _, leads := p.Leads(); leads != c.leads {
				t.Errorf("leads: %v", leads)
			}
			if c.leads {
				return
			}
			// It refuses as long as nobody leads, or it would be elected again and again.
			for _, step := range []struct {
				epoch, leader int32
				refused       bool
			}{{6, -1, true}, {7, 2, false}} {
				errs, err := w.replicas.ApplyRoles(t.Context(), 1, []RoleChange{change(epoch(step.epoch), leader(step.leader))})
				if err != nil || errors.Is(errs[0], kerr.KafkaStorageError) != step.refused {
					t.Errorf("leader %d: %v, %v", step.leader, err, errs)
				}
			}
		})
	}
}
