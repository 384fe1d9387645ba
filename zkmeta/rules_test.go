package zkmeta

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

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/internal/zktest"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// TestFencing: once another broker is elected, nothing that the old controller
// writes has any effect.
func TestFencing(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	createStates(f, claim)
	f.put(ReassignPartitionsPath, []byte(`{"version":1,"partitions":[]}`))
	f.ok(f.admin.NotifyLogDirFailure(f.ctx, 1))
	f.ok(f.admin.ResignController(f.ctx, Claim{f.admin.Session().SessionID(), 1, claim.Epoch, claim.EpochZkVersion}))
	next, won, err := f.admin.ClaimController(f.ctx, f.admin.Session().SessionID(), 2)
	f.ok(err)
	if !won || next.Epoch != 2 || next.EpochZkVersion != 2 {
		t.Fatalf("second election: %v %+v", won, next)
	}
	for name, write := range map[string]func() error{
		"resign": func() error { return f.c.ResignController(f.ctx, claim) },
		"assignment": func() error {
			return f.c.SetTopicAssignment(f.ctx, claim, "t", NewTopicAssignment(testID, [][]int32{{9}}))
		},
		"create states": func() error {
			_, err := f.c.CreatePartitionStates(f.ctx, claim, []PartitionEntry{{TopicPartition: tp("t", 9), State: state(claim, 1, 1)}})
			return err
		},
		"update states": func() error {
			_, err := f.c.UpdatePartitionStates(f.ctx, claim, []PartitionEntry{{TopicPartition: tp("t", 0), State: state(claim, 9, 9)}})
			return err
		},
		"delete":        func() error { return f.c.FinishTopicDeletion(f.ctx, claim, "t") },
		"drop requests": func() error { return f.c.DropDeleteTopicRequests(f.ctx, claim, []string{"t"}) },
		"events":        func() error { return f.c.DeleteLogDirEvents(f.ctx, claim, []string{"log_dir_event_0000000000"}) },
		"reassignment":  func() error { return f.c.SetReassignment(f.ctx, claim, nil) },
		"reassignment left": func() error {
			return f.c.SetReassignment(f.ctx, claim, map[protocol.TopicPartition][]int32{tp("t", 0): {9}})
		},
		"election": func() error { return f.c.DeletePreferredElection(f.ctx, claim) },
	} {
		if err := write(); !errors.Is(err, ErrNotController) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.holds("/brokers/topics/t/partitions/0/state", `{"version":1,"leader":1,"leader_epoch":0,"isr":[1],"controller_epoch":1}`, 0)
	f.holds(LogDirEventsPath+"/log_dir_event_0000000000", `{"version":1,"broker":1,"event":1}`, 0)
	f.holds(ReassignPartitionsPath, `{"version":1,"partitions":[]}`, 0)
	if r := f.node("/brokers/topics/t"); r.Stat.Version != 0 {
		t.Errorf("topic %s", r.Data)
	}
	f.absent("/brokers/topics/t/partitions/9")
	if reg, ok, err := f.c.Controller(f.ctx, nil); err != nil || !ok || reg.BrokerID != 2 {
		t.Errorf("controller %+v, %v, %v", reg, ok, err)
	}
	// A state that a later controller wrote tells as much.
	f.put("/brokers/topics/t/partitions/1/state", []byte(`{"version":1,"leader":1,"leader_epoch":1,"isr":[1],"controller_epoch":3}`))
	_, err = f.admin.UpdatePartitionStates(f.ctx, next, []PartitionEntry{{TopicPartition: tp("t", 1), State: state(next, 1, 1)}})
	if !errors.Is(err, ErrNotController) {
		t.Errorf("a state from a later epoch: %v", err)
	}
}

// TestClaimTiedToSession: a claim does not outlive its session.
func TestClaimTiedToSession(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	createStates(f, claim)
	claim.Session++
	_, err := f.c.UpdatePartitionStates(f.ctx, claim, []PartitionEntry{{TopicPartition: tp("t", 0), State: state(claim, 9, 9)}})
	if !errors.Is(err, session.ErrExpired) {
		t.Errorf("written in another session: %v", err)
	}
	if err := f.c.ResignController(f.ctx, claim); !errors.Is(err, session.ErrExpired) {
		t.Errorf("resigned in another session: %v", err)
	}
	if _, _, err := f.c.ClaimController(f.ctx, claim.Session, 1); !errors.Is(err, session.ErrExpired) {
		t.Errorf("claimed in another session: %v", err)
	}
	if _, err := f.c.RegisterBroker(f.ctx, claim.Session, broker(1)); !errors.Is(err, session.ErrExpired) {
		t.Errorf("registered in another session: %v", err)
	}
	if _, err := f.c.In(claim.Session).Topics(f.ctx, nil); !errors.Is(err, session.ErrExpired) {
		t.Errorf("read in another session: %v", err)
	}
}

// TestClaimAgain: a place won by a claim that nobody waited for is won again, by a
// new epoch that fences the first.
func TestClaimAgain(t *testing.T) {
	f := newFixture(t)
	first := f.elected()
	createTopic(f, first)
	second := f.elected()
	if second.Epoch != 2 || second.EpochZkVersion != 2 {
		t.Errorf("second claim %+v", second)
	}
	if err := f.c.SetTopicAssignment(f.ctx, first, "t", NewTopicAssignment(testID, [][]int32{{9}})); !errors.Is(err, ErrNotController) {
		t.Errorf("written by the first claim: %v", err)
	}
}

// TestSameEpochOfAnother: an election is not ours because broker id and epoch are
// what we wanted; the session must be ours too.
func TestSameEpochOfAnother(t *testing.T) {
	f := newFixture(t)
	f.ok(f.admin.EnsurePaths(f.ctx))
	claim, _, err := f.admin.ClaimController(f.ctx, f.admin.Session().SessionID(), 1)
	f.ok(err)
	if _, won, taken, err := f.c.claimedAfterAll(f.ctx, Claim{Session: f.id(), BrokerID: 1, Epoch: claim.Epoch}); won || !taken || err != nil {
		t.Errorf("won %v, taken %v, %v", won, taken, err)
	}
}

// TestStateConflict: a partition that somebody else changed keeps what it has, its
// neighbours are written, and the caller learns what stands there.
func TestStateConflict(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	createStates(f, claim)
	f.put("/brokers/topics/t/partitions/1/state", []byte(`{"version":1,"leader":1,"leader_epoch":0,"isr":[1,5],"controller_epoch":1}`))
	entries := []PartitionEntry{
		{TopicPartition: tp("t", 0), State: state(claim, 3, 3)}, {TopicPartition: tp("t", 1), State: state(claim, 3, 3)},
		{TopicPartition: tp("gone", 0), State: state(claim, 3, 3)}, {TopicPartition: tp("t", 2), State: state(claim, 3, 3)},
	}
	r, err := f.c.UpdatePartitionStates(f.ctx, claim, entries)
	f.ok(err)
	if r[0].Err != nil || r[3].Err != nil || r[0].ZkVersion != 1 {
		t.Errorf("neighbours: %v, %v", r[0].Err, r[3].Err)
	}
	if !errors.Is(r[1].Err, session.ErrBadVersion) || r[1].ZkVersion != 1 || !slices.Equal(r[1].State.ISR, []int32{1, 5}) {
		t.Errorf("conflict: %+v, %v", r[1].State, r[1].Err)
	}
	if !errors.Is(r[2].Err, session.ErrNoNode) {
		t.Errorf("no such partition: %v", r[2].Err)
	}
	r, err = f.c.CreatePartitionStates(f.ctx, claim, entries[:3])
	f.ok(err)
	if r[0].Err != nil || r[0].ZkVersion != 1 {
		t.Errorf("created what we had written ourselves: %d, %v", r[0].ZkVersion, r[0].Err)
	}
	if !errors.Is(r[1].Err, session.ErrNodeExists) || r[1].ZkVersion != 1 || len(r[1].State.ISR) != 2 {
		t.Errorf("created what exists: %+v, %v", r[1].State, r[1].Err)
	}
	if !errors.Is(r[2].Err, session.ErrNoNode) {
		t.Errorf("created a partition of no topic: %v", r[2].Err)
	}
	wrong := entries[:1]
	wrong[0].State.ControllerEpoch = 7
	if _, err := f.c.UpdatePartitionStates(f.ctx, claim, wrong); err == nil {
		t.Error("a state of another controller's epoch was written")
	}
	read, err := f.c.PartitionStates(f.ctx, []protocol.TopicPartition{tp("t", 0), tp("gone", 0), tp("t", 1)})
	f.ok(err)
	if read[0].Err != nil || read[0].State.Leader != 3 || read[0].ZkVersion != 1 || !errors.Is(read[1].Err, kerr.UnknownTopicOrPartition) || read[2].ZkVersion != 1 {
		t.Errorf("read %+v", read)
	}
}

// TestStateConflictWithNonsense: what stands there instead and cannot be read is
// neither ours nor a state to go on with.
func TestStateConflictWithNonsense(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	createStates(f, claim)
	f.put("/brokers/topics/t/partitions/1/state", []byte("nonsense"))
	entries := []PartitionEntry{{TopicPartition: tp("t", 1), State: state(claim, 3, 3)}}
	r, err := f.c.UpdatePartitionStates(f.ctx, claim, entries)
	f.ok(err)
	var malformed *MalformedError
	if !errors.As(r[0].Err, &malformed) || errors.Is(r[0].Err, session.ErrBadVersion) {
		t.Errorf("%v", r[0].Err)
	}
}

// TestOwnerRule: what a registration does with a node that is there already depends
// on whose it is.
func TestOwnerRule(t *testing.T) {
	f := newFixture(t)
	f.ok(f.admin.EnsurePaths(f.ctx))
	other := f.admin.Session().SessionID()
	theirs, err := f.admin.RegisterBroker(f.ctx, other, broker(7))
	f.ok(err)
	if _, err := f.c.RegisterBroker(f.ctx, f.id(), broker(7)); !errors.Is(err, ErrBrokerIDInUse) {
		t.Fatalf("registered another's id: %v", err)
	}
	if r := f.node("/brokers/ids/7"); r.Stat.Czxid != theirs {
		t.Error("another's node was replaced")
	}
	// The same again, as if that session had been ours before this one.
	f.c.state.registered.Store(int64(other))
	ours, err := f.c.RegisterBroker(f.ctx, f.id(), broker(7))
	f.ok(err)
	if r := f.node("/brokers/ids/7"); r.Stat.Czxid != ours || ours <= theirs || r.Stat.EphemeralOwner != int64(f.id()) {
		t.Errorf("epoch %d after %d, node %+v", ours, theirs, r.Stat)
	}
	again, err := f.c.RegisterBroker(f.ctx, f.id(), broker(7))
	if err != nil || again != ours {
		t.Errorf("registered twice: epoch %d and %d, %v", ours, again, err)
	}
	changed := broker(7)
	changed.Rack = "r"
	f.ok(f.c.UpdateBroker(f.ctx, f.id(), changed))
	if r := f.node("/brokers/ids/7"); r.Stat.Czxid != ours || r.Stat.Version != 2 {
		t.Errorf("updated: %+v", r.Stat)
	}
	bad := broker(8)
	bad.Endpoints = nil
	if _, err := f.c.RegisterBroker(f.ctx, f.id(), bad); err == nil {
		t.Error("a registration without endpoints was written")
	}
	f.absent("/brokers/ids/8")
}

// TestPoison: nodes that cannot be read are named and left out; nothing else suffers.
func TestPoison(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	createStates(f, claim)
	_, err := f.c.RegisterBroker(f.ctx, f.id(), broker(7))
	f.ok(err)
	f.put("/brokers/ids/9", []byte(`{}`))
	f.put("/brokers/ids/10", []byte(brokerJSON))
	f.put("/brokers/ids/x", nil)
	f.put("/brokers/topics/void", nil)
	f.put("/brokers/topics/t/partitions/1/state", []byte("x"))
	f.put("/config/topics/odd", []byte(`{"config":{"a":1}}`))
	f.put(LogDirEventsPath+"/log_dir_event_0000000000", []byte("x"))
	f.put(ISRChangesPath+"/isr_change_0000000000", nil)
	f.put(ISRChangesPath+"/isr_change_0000000001", []byte(`{"version":1,"partitions":[{"topic":"t","partition":0}]}`))
	f.put(ProducerIDBlockPath, []byte{})

	live, malformed, err := f.c.Brokers(f.ctx, nil, nil)
	if err != nil || len(live) != 2 || live[0].ID != 7 || live[1].ID != 10 || live[0].Epoch == 0 || len(malformed) != 2 {
		t.Errorf("brokers %+v, %v, %v", live, malformed, err)
	}
	topics, err := f.c.TopicAssignments(f.ctx, []string{"void", "t", "gone"}, nil)
	f.ok(err)
	var bad *MalformedError
	if !errors.As(topics[0].Err, &bad) || topics[1].Err != nil || topics[1].ID != testID || len(topics[1].Partitions) != 3 || !errors.Is(topics[2].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("topics %+v", topics)
	}
	states, err := f.c.PartitionStates(f.ctx, []protocol.TopicPartition{tp("t", 0), tp("t", 1)})
	if err != nil || states[0].Err != nil || !errors.As(states[1].Err, &bad) || bad.Path != "/brokers/topics/t/partitions/1/state" {
		t.Errorf("states %+v, %v", states, err)
	}
	configs, err := f.c.Configs(f.ctx, []ConfigEntity{TopicConfig("odd"), TopicConfig("t"), TopicConfig("gone")})
	if err != nil || !errors.As(configs[0].Err, &bad) || configs[1].Values == nil || configs[2].Values == nil {
		t.Errorf("configurations %+v, %v", configs, err)
	}
	if brokers, names, err := f.c.LogDirEvents(f.ctx, nil); err != nil || len(brokers) != 0 || len(names) != 1 {
		t.Errorf("log directory events of %v in %v, %v", brokers, names, err)
	}
	changed, names, err := f.c.ISRChanges(f.ctx, nil)
	if err != nil || !slices.Equal(changed, []protocol.TopicPartition{tp("t", 0)}) || len(names) != 2 {
		t.Errorf("ISR changes %v in %v, %v", changed, names, err)
	}
	f.ok(f.c.DeleteISRChanges(f.ctx, claim, names))
	if _, err := f.c.NextProducerIDBlock(f.ctx, 1); !errors.As(err, &bad) {
		t.Errorf("producer ids after empty data: %v", err)
	}
	// What is written over is made good first, or refused.
	if err := f.c.CreateTopic(f.ctx, "t", NewTopicAssignment(testID, [][]int32{{1}}), map[string]string{"x": "y"}); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("created a topic that exists: %v", err)
	}
	if c, err := f.c.Config(f.ctx, TopicConfig("t")); err != nil || len(c) != 0 {
		t.Errorf("its configuration became %v, %v", c, err)
	}
	for _, name := range []string{"", ".", "a/b"} {
		if err := f.c.CreateTopic(f.ctx, name, NewTopicAssignment(testID, [][]int32{{1}}), nil); !errors.Is(err, kerr.InvalidTopicException) {
			t.Errorf("created topic %q: %v", name, err)
		}
	}
	if err := f.c.RequestTopicDeletion(f.ctx, "gone"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("deletion of no topic: %v", err)
	}
	if err := f.c.UpdateTopic(f.ctx, "gone", nil); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("update of no topic: %v", err)
	}
}

// TestNoController: configurations are not written while nobody, or a KRaft quorum,
// holds the cluster.
func TestNoController(t *testing.T) {
	f := newFixture(t)
	f.ok(f.admin.EnsurePaths(f.ctx))
	write := func() {
		t.Helper()
		if err := f.c.SetConfig(f.ctx, TopicConfig("t"), nil); !errors.Is(err, ErrNoController) {
			t.Errorf("set: %v", err)
		}
		if err := f.c.UpdateConfig(f.ctx, TopicConfig("t"), func(v map[string]string) error { v["a"] = "b"; return nil }); !errors.Is(err, ErrNoController) {
			t.Errorf("update: %v", err)
		}
		f.absent("/config/topics/t")
	}
	write()
	f.put(ControllerPath, []byte(`{"version":2,"brokerid":3000,"timestamp":"1","kraftControllerEpoch":4}`))
	write()
	if _, won, err := f.c.ClaimController(f.ctx, f.id(), 1); won || err != nil {
		t.Errorf("claimed a place that KRaft holds: %v, %v", won, err)
	}
}

// TestConcurrentUpdates lose nothing.
func TestConcurrentUpdates(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	createTopic(f, claim)
	const each = 20
	done := make(chan error)
	for _, c := range []*Client{f.c, f.admin} {
		go func() {
			var err error
			for i := range each {
				err = errors.Join(err, c.UpdateConfig(f.ctx, BrokerConfig(1), func(v map[string]string) error {
					v[fmt.Sprintf("%p-%d", c, i)] = "x"
					return nil
				}), c.UpdateTopic(f.ctx, "t", func(a *TopicAssignment) error {
					a.Partitions[int32(len(a.Partitions))] = ReplicaAssignment{Replicas: []int32{1}}
					return nil
				}))
			}
			done <- err
		}()
	}
	f.ok(errors.Join(<-done, <-done))
	if values, err := f.c.Config(f.ctx, BrokerConfig(1)); err != nil || len(values) != 2*each {
		t.Errorf("%d properties, %v", len(values), err)
	}
	if topics, err := f.c.TopicAssignments(f.ctx, []string{"t"}, nil); err != nil || len(topics[0].Partitions) != 3+2*each {
		t.Errorf("%+v, %v", topics, err)
	}
	refuse := errors.New("no")
	if err := f.c.UpdateConfig(f.ctx, BrokerConfig(1), func(map[string]string) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("an edit that refuses: %v", err)
	}
	entities, err := f.c.ConfigEntities(f.ctx, BrokerEntities)
	if err != nil || !slices.Equal(entities, []ConfigEntity{BrokerConfig(1)}) {
		t.Errorf("entities %v, %v", entities, err)
	}
}

// TestConcurrentBlocks: no producer id is given out twice.
func TestConcurrentBlocks(t *testing.T) {
	f := newFixture(t)
	f.ok(f.admin.EnsurePaths(f.ctx))
	const each = 30
	blocks := make(chan ProducerIDBlock, 2*each)
	done := make(chan error)
	for i, c := range []*Client{f.c, f.admin} {
		go func() {
			var err error
			for range each {
				b, e := c.NextProducerIDBlock(f.ctx, int32(i))
				blocks <- b
				err = errors.Join(err, e)
			}
			done <- err
		}()
	}
	f.ok(errors.Join(<-done, <-done))
	close(blocks)
	given := map[int64]bool{}
	for b := range blocks {
		if given[b.First] || b.Last-b.First != ProducerIDBlockSize-1 || b.First%ProducerIDBlockSize != 0 {
			t.Errorf("block %+v was given before, or overlaps", b)
		}
		given[b.First] = true
	}
}

// TestDeletionOrder: what is below goes first, so that no delete is refused and sent
// again.
func TestDeletionOrder(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	createStates(f, claim)
	var writes atomic.Int32
	f.relay.LoseReply(func(op zkproto.Op) bool {
		if zktest.IsWrite(op) {
			writes.Add(1)
		}
		return false
	})
	f.ok(f.c.FinishTopicDeletion(f.ctx, claim, "t"))
	// The topic, partitions, three partitions and states, configuration, request.
	if n := writes.Load(); n != 1+1+3+3+2 {
		t.Errorf("%d writes", n)
	}
}

// TestWatches: each list and node tells of its next change.
func TestWatches(t *testing.T) {
	f := newFixture(t)
	f.ok(f.admin.EnsurePaths(f.ctx))
	fired := make(chan session.WatchEvent, 16)
	w := session.NewWatch(func(e session.WatchEvent) { fired <- e })
	arm := func(_ any, err error) { t.Helper(); f.ok(err) }
	arm(f.c.Topics(f.ctx, w))
	arm(f.c.DeleteTopicRequests(f.ctx, w))
	_, _, err := f.c.Brokers(f.ctx, w, nil)
	arm(nil, err)
	_, _, err = f.c.Controller(f.ctx, w)
	arm(nil, err)
	_, _, _, err = f.c.Feature(f.ctx, w)
	arm(nil, err)
	_, _, err = f.c.Reassignment(f.ctx, w)
	arm(nil, err)
	_, _, err = f.c.PreferredElection(f.ctx, w)
	arm(nil, err)
	_, _, err = f.c.LogDirEvents(f.ctx, w)
	arm(nil, err)
	_, _, err = f.c.ISRChanges(f.ctx, w)
	arm(nil, err)
	changes := f.c.ConfigChanges()
	_, _, err = changes.Next(f.ctx, w)
	arm(nil, err)

	for _, step := range []struct {
		path string
		act  func()
	}{
		{BrokerIDsPath, func() { arm(f.admin.RegisterBroker(f.ctx, f.admin.Session().SessionID(), broker(3))) }},
		{ControllerPath, func() { _, _, err := f.admin.ClaimController(f.ctx, f.admin.Session().SessionID(), 3); f.ok(err) }},
		{FeaturePath, func() { arm(f.admin.SetFeature(f.ctx, Feature{Version: 2, Enabled: true})) }},
		{TopicsPath, func() { createTopic(f, Claim{}) }},
		{DeleteTopicsPath, func() { f.ok(f.admin.RequestTopicDeletion(f.ctx, "t")) }},
		{ReassignPartitionsPath, func() { f.put(ReassignPartitionsPath, []byte("x")) }},
		{PreferredElectionPath, func() { f.put(PreferredElectionPath, []byte("x")) }},
		{LogDirEventsPath, func() { f.ok(f.admin.NotifyLogDirFailure(f.ctx, 3)) }},
		{ISRChangesPath, func() { f.put(ISRChangesPath+"/isr_change_0000000000", nil) }},
		{ConfigChangesPath, func() { f.ok(f.admin.NotifyConfigChange(f.ctx, BrokerConfig(1))) }},
	} {
		step.act()
		select {
		case e := <-fired:
			if e.Path != step.path {
				t.Errorf("a change at %s fired %v", step.path, e)
			}
		case <-f.ctx.Done():
			t.Fatalf("no watch fired at %s", step.path)
		}
	}
	// The data watch of a broker, a topic, and what exists.
	_, _, err = f.c.Brokers(f.ctx, nil, w)
	f.ok(err)
	f.ok(f.admin.UpdateBroker(f.ctx, 0, broker(3)))
	if e := <-fired; e != (session.WatchEvent{Type: session.NodeDataChanged, Path: "/brokers/ids/3"}) {
		t.Errorf("event %v", e)
	}
	arm(f.c.TopicAssignments(f.ctx, []string{"t"}, w))
	f.put("/brokers/topics/t", nil)
	if e := <-fired; e != (session.WatchEvent{Type: session.NodeDataChanged, Path: "/brokers/topics/t"}) {
		t.Errorf("event %v", e)
	}
	if reg, ok, err := f.c.Controller(f.ctx, w); err != nil || !ok || reg.BrokerID != 3 {
		t.Errorf("controller %+v, %v, %v", reg, ok, err)
	}
	arm(f.admin.do1(f.ctx, session.Delete(ControllerPath, session.AnyVersion)))
	if e := <-fired; e != (session.WatchEvent{Type: session.NodeDeleted, Path: ControllerPath}) {
		t.Errorf("event %v", e)
	}
	changed, _, err := changes.Next(f.ctx, nil)
	if err != nil || !slices.Equal(changed, []ConfigEntity{BrokerConfig(1)}) {
		t.Errorf("changes %v, %v", changed, err)
	}
}

// TestConfigChanges: each notification is given out once, in order, whatever its
// number; old ones are deleted.
func TestConfigChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixtureOn(t, zktest.Embedded(t))
		f.ctx = context.Background() // time flies here
		f.ok(f.admin.EnsurePaths(f.ctx))
		a, b := f.c.ConfigChanges(), f.admin.ConfigChanges()
		next := func(n *ConfigChanges, bad int, want ...ConfigEntity) {
			t.Helper()
			changed, malformed, err := n.Next(f.ctx, nil)
			if err != nil || len(malformed) != bad || !slices.Equal(changed, want) {
				t.Errorf("changes %v, %v, %v; want %v", changed, malformed, err, want)
			}
		}
		notify := func(e ConfigEntity) { t.Helper(); f.ok(f.admin.NotifyConfigChange(f.ctx, e)) }
		next(a, 0)
		notify(TopicConfig("x"))
		notify(UserConfig("u").WithClient("c"))
		notify(TopicConfig("x"))
		next(a, 0, TopicConfig("x"), UserConfig("u").WithClient("c"))
		next(a, 0)
		f.put(ConfigChangesPath+"/junk", nil)
		f.put(ConfigChangesPath+"/config_change_2147483647", []byte(`{"version":2,"entity_path":"topics/y"}`))
		f.put(ConfigChangesPath+"/config_change_-2147483648", []byte(`{"version":2,"entity_path":"topics/z"}`))
		f.put(ConfigChangesPath+"/config_change_0000000009", []byte(`x`))
		next(a, 2, TopicConfig("y"), TopicConfig("z"))
		time.Sleep(10 * time.Minute)
		notify(BrokerConfig(1))
		next(b, 2, TopicConfig("x"), UserConfig("u").WithClient("c"), TopicConfig("y"), TopicConfig("z"), BrokerConfig(1))
		time.Sleep(6 * time.Minute)
		next(a, 1, BrokerConfig(1)) // and deletes all but that
		left, err := f.admin.children(f.ctx, ConfigChangesPath, nil)
		if err != nil || len(left) != 2 {
			t.Errorf("left %v, %v", left, err)
		}
		next(b, 1)
		// The parent is made again: numbers begin at 0, and are new.
		f.ok(f.admin.ensureGone(f.ctx, ConfigChangesPath))
		notify(TopicConfig("x"))
		next(a, 0, TopicConfig("x"))
		next(b, 0, TopicConfig("x"))
		f.ok(f.admin.ensureGone(f.ctx, ConfigChangesPath))
		next(a, 0)
		notify(TopicConfig("x"))
		next(a, 0, TopicConfig("x"))
	})
}

// TestManyPartitions: ten thousand partitions are written and read pipelined.
func TestManyPartitions(t *testing.T) {
	f := newFixture(t)
	claim := f.elected()
	n := 10_000
	if race.Enabled {
		n /= 10 // it makes everything slower
	}
	replicas := make([][]int32, n)
	entries := make([]PartitionEntry, n)
	partitions := make([]protocol.TopicPartition, n)
	for i := range n {
		replicas[i] = []int32{1}
		partitions[i] = tp("big", int32(i))
		entries[i] = PartitionEntry{TopicPartition: partitions[i], State: state(claim, 1, 1)}
	}
	f.ok(f.c.CreateTopic(f.ctx, "big", NewTopicAssignment(testID, replicas), nil))
	timed := func(what string, act func() error) {
		t.Helper()
		start := time.Now()
		f.ok(act())
		t.Logf("%s: %v", what, time.Since(start))
	}
	timed("create", func() (err error) { entries, err = f.c.CreatePartitionStates(f.ctx, claim, entries); return err })
	timed("read", func() (err error) { entries, err = f.c.PartitionStates(f.ctx, partitions); return err })
	for i, e := range entries {
		if e.Err != nil || e.TopicPartition != partitions[i] || e.State.Leader != 1 {
			t.Fatalf("%+v, %v", e.State, e.Err)
		}
	}
	timed("assignments", func() error {
		topics, err := f.c.TopicAssignments(f.ctx, []string{"big"}, nil)
		if err == nil && len(topics[0].Partitions) != n {
			err = fmt.Errorf("%d partitions", len(topics[0].Partitions))
		}
		return err
	})
	timed("update", func() (err error) { entries, err = f.c.UpdatePartitionStates(f.ctx, claim, entries); return err })
	timed("delete", func() error { return f.c.FinishTopicDeletion(f.ctx, claim, "big") })
	f.absent("/brokers/topics/big")
}
