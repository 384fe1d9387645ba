package zkmeta

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gracchus-mq/gracchus/internal/zktest"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server with two clients: c reaches it by way of a relay, admin
// directly.
type fixture struct {
	*testing.T
	ctx   context.Context
	relay *zktest.Relay
	c     *Client
	admin *Client
}

func newFixture(t *testing.T) *fixture { return fixtureOn(t, zktest.Start(t)) }

func fixtureOn(t *testing.T, s *zktest.Server) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	f := &fixture{T: t, ctx: ctx, relay: zktest.NewRelay(s.Dial)}
	t.Cleanup(f.relay.Close)
	f.c, f.admin = f.connect(s, f.relay.Dial), f.connect(s, s.Dial)
	return f
}

func (f *fixture) connect(s *zktest.Server, dial zktest.Dial) *Client {
	f.Helper()
	zk, err := session.New(session.Config{Servers: []string{"zk:1"}, Chroot: s.Chroot, SessionTimeout: 6 * time.Second, Dial: dial})
	if err != nil {
		f.Fatal(err)
	}
	if err := zk.Start(f.ctx); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := zk.Stop(context.Background()); err != nil {
			f.Errorf("stop: %v", err)
		}
	})
	return New(zk)
}

// ok ends the test on an error.
func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// id is the session of the client under test.
func (f *fixture) id() session.ID { return f.c.Session().SessionID() }

// node reads a node that must be there.
func (f *fixture) node(path string) session.Result {
	f.Helper()
	r, err := f.admin.do1(f.ctx, session.Get(path, nil))
	if err != nil {
		f.Fatal(err)
	}
	return r
}

// absent checks that a node is not there.
func (f *fixture) absent(path string) {
	f.Helper()
	if _, err := f.admin.do1(f.ctx, session.Exists(path, nil)); !errors.Is(err, session.ErrNoNode) {
		f.Errorf("%s: %v, want no node", path, err)
	}
}

// put makes or overwrites a node, behind the back of all rules.
func (f *fixture) put(path string, data []byte) {
	f.Helper()
	err := f.admin.createRecursive(f.ctx, path, data)
	if errors.Is(err, session.ErrNodeExists) {
		_, err = f.admin.do1(f.ctx, session.Set(path, data, session.AnyVersion))
	}
	f.ok(err)
}

// holds compares a node with what stands for it in JSON.
func (f *fixture) holds(path, want string, version int32) session.Result {
	f.Helper()
	r := f.node(path)
	if string(r.Data) != want || r.Stat.Version != version {
		f.Errorf("%s holds %s at version %d, want %s at %d", path, r.Data, r.Stat.Version, want, version)
	}
	return r
}

// elected makes the client under test the controller.
func (f *fixture) elected() Claim {
	f.Helper()
	f.ok(f.admin.EnsurePaths(f.ctx))
	claim, won, err := f.c.ClaimController(f.ctx, f.id(), 1)
	f.ok(err)
	if !won {
		f.Fatal("the place was taken")
	}
	return claim
}

func tp(topic string, p int32) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: topic, Partition: p}
}

func state(claim Claim, leader int32, isr ...int32) PartitionState {
	return PartitionState{Leader: leader, ISR: isr, ControllerEpoch: claim.Epoch}
}

var testID = protocol.TopicID{1, 2, 3}

func broker(id int32) BrokerRegistration {
	return BrokerRegistration{ID: id, JMXPort: -1, TimestampMS: 5, Endpoints: []Endpoint{{"PLAINTEXT", "PLAINTEXT", "h", 9092}}}
}

const brokerJSON = `{"version":5,"host":"h","port":9092,"jmx_port":-1,"timestamp":"5","endpoints":["PLAINTEXT://h:9092"],"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"features":{}}`

// TestLossyWrites runs each protocol again and again, losing one of its writes each
// time: first the reply to the first write, then to the second, and so on, and the
// same with the requests. The outcome must be as if nothing had been lost.
func TestLossyWrites(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			for n, lost := 0, true; lost; n++ {
				lost = false
				for _, side := range []string{"reply", "request"} {
					t.Run(side, func(t *testing.T) {
						f := newFixture(t)
						f.ok(f.admin.EnsurePaths(f.ctx))
						run := func(f *fixture) { p.run(f) }
						if p.asController != nil {
							claim := f.elected()
							if p.setup != nil {
								p.setup(f, claim)
							}
							run = func(f *fixture) { p.asController(f, claim) }
						}
						rule, came := zktest.Nth(n)
						if side == "reply" {
							f.relay.LoseReply(rule)
						} else {
							f.relay.LoseRequest(rule)
						}
						run(f)
						lost = lost || came()
					})
				}
				if t.Failed() {
					t.Fatalf("when write %d was lost", n)
				}
				if n == 0 && !lost {
					t.Fatal("no write was seen")
				}
			}
		})
	}
}

// protocols are what TestLossyWrites runs. Each checks its outcome itself.
var protocols = []struct {
	name         string
	setup        func(*fixture, Claim)
	run          func(*fixture)
	asController func(*fixture, Claim)
}{
	{name: "EnsurePaths", run: func(f *fixture) {
		for _, path := range PersistentPaths() {
			f.ok(f.admin.ensureGone(f.ctx, path))
		}
		f.ok(f.c.EnsurePaths(f.ctx))
		for _, path := range PersistentPaths() {
			if r := f.node(path); r.Data != nil || r.Stat.Version != 0 {
				f.Errorf("%s holds %#v at version %d", path, r.Data, r.Stat.Version)
			}
		}
	}},
	{name: "ClusterID", run: func(f *fixture) {
		if id, err := f.c.ClusterID(f.ctx, false); id != "" || err != nil {
			f.Errorf("without one: %q, %v", id, err)
		}
		id, err := f.c.ClusterID(f.ctx, true)
		f.ok(err)
		f.holds(ClusterIDPath, `{"version":"1","id":"`+id+`"}`, 0)
		if again, err := f.admin.ClusterID(f.ctx, true); again != id || err != nil || len(id) != 22 {
			f.Errorf("then %q, %v; first %q", again, err, id)
		}
	}},
	{name: "BrokerSequenceID", run: func(f *fixture) {
		first, err := f.c.BrokerSequenceID(f.ctx)
		f.ok(err)
		second, err := f.admin.BrokerSequenceID(f.ctx)
		f.ok(err)
		if first < 1 || first > 2 || second <= first {
			f.Errorf("drew %d, then %d", first, second)
		}
		if r := f.node(BrokerSequencePath); r.Data == nil {
			f.Error("Kafka writes empty data here, not null")
		}
	}},
	{name: "SetConsumerOffsets", run: func(f *fixture) {
		list := []ConsumerOffset{{TopicPartition: tp("t", 0), Offset: 5}, {TopicPartition: tp("t", 1), Offset: -1}, {TopicPartition: tp("t", 0), Offset: 7}}
		f.c.SetConsumerOffsets(f.ctx, "g", list)
		for _, o := range list {
			f.ok(o.Err)
		}
		if at := string(f.node("/consumers/g/offsets/t/0").Data) + " " + string(f.node("/consumers/g/offsets/t/1").Data); at != "7 -1" {
			f.Errorf("committed %s", at)
		}
	}},
	{name: "RegisterBroker", run: func(f *fixture) {
		epoch, err := f.c.RegisterBroker(f.ctx, f.id(), broker(7))
		f.ok(err)
		r := f.holds("/brokers/ids/7", brokerJSON, 1)
		if r.Stat.Czxid != epoch || r.Stat.EphemeralOwner != int64(f.id()) {
			f.Errorf("epoch %d, node %+v", epoch, r.Stat)
		}
	}},
	{name: "ClaimController", run: func(f *fixture) {
		claim, won, err := f.c.ClaimController(f.ctx, f.id(), 7)
		f.ok(err)
		r := f.node(ControllerEpochPath)
		if !won || claim != (Claim{f.id(), 7, 1, 1}) || string(r.Data) != "1" || r.Stat.Version != 1 {
			f.Errorf("won %v %+v, epoch %s at version %d", won, claim, r.Data, r.Stat.Version)
		}
		if r := f.node(ControllerPath); r.Stat.EphemeralOwner != int64(f.id()) {
			f.Errorf("the place belongs to %v", session.ID(r.Stat.EphemeralOwner))
		}
		if _, won, err := f.admin.ClaimController(f.ctx, f.admin.Session().SessionID(), 8); won || err != nil {
			f.Errorf("another claim: %v, %v", won, err)
		}
	}},
	{name: "ResignController", asController: func(f *fixture, claim Claim) {
		f.ok(f.c.ResignController(f.ctx, claim))
		f.absent(ControllerPath)
		f.holds(ControllerEpochPath, "1", 1)
	}},
	{name: "SetFeature", run: func(f *fixture) {
		_, err := f.c.SetFeature(f.ctx, Feature{Version: 2, Enabled: true})
		f.ok(err)
		zkVersion, err := f.c.SetFeature(f.ctx, Feature{Version: 2, Enabled: true})
		f.ok(err)
		f.holds(FeaturePath, `{"version":2,"status":1,"features":{}}`, zkVersion)
	}},
	{name: "NextProducerIDBlock", run: func(f *fixture) {
		first, err := f.c.NextProducerIDBlock(f.ctx, 1)
		f.ok(err)
		second, err := f.c.NextProducerIDBlock(f.ctx, 2)
		f.ok(err)
		if first.Last-first.First != 999 || second.Last-second.First != 999 || second.First <= first.Last || second.Last > 2999 || second.BrokerID != 2 {
			f.Errorf("blocks %+v and %+v", first, second)
		}
	}},
	{name: "CreateTopic", asController: func(f *fixture, _ Claim) {
		topic := NewTopicAssignment(testID, [][]int32{{1, 2}})
		f.ok(f.c.CreateTopic(f.ctx, "t", topic, map[string]string{"retention.ms": "1"}))
		f.holds("/brokers/topics/t", `{"version":3,"topic_id":"AQIDAAAAAAAAAAAAAAAAAA","partitions":{"0":[1,2]},"adding_replicas":{},"removing_replicas":{}}`, 0)
		if r := f.node("/config/topics/t"); string(r.Data) != `{"version":1,"config":{"retention.ms":"1"}}` {
			f.Errorf("configuration %s", r.Data)
		}
	}},
	{name: "UpdateTopic", setup: createTopic, asController: func(f *fixture, _ Claim) {
		f.ok(f.c.UpdateTopic(f.ctx, "t", func(a *TopicAssignment) error {
			a.Partitions[3] = ReplicaAssignment{Replicas: []int32{2}}
			return nil
		}))
		f.holds("/brokers/topics/t", `{"version":3,"topic_id":"AQIDAAAAAAAAAAAAAAAAAA","partitions":{"0":[1],"1":[1],"2":[1],"3":[2]},"adding_replicas":{},"removing_replicas":{}}`, 1)
	}},
	{name: "SetTopicAssignment", setup: createTopic, asController: func(f *fixture, claim Claim) {
		f.ok(f.c.SetTopicAssignment(f.ctx, claim, "t", NewTopicAssignment(testID, [][]int32{{2}})))
		if r := f.node("/brokers/topics/t"); string(r.Data) != `{"version":3,"topic_id":"AQIDAAAAAAAAAAAAAAAAAA","partitions":{"0":[2]},"adding_replicas":{},"removing_replicas":{}}` {
			f.Errorf("topic %s", r.Data)
		}
	}},
	{name: "CreatePartitionStates", setup: createTopic, asController: func(f *fixture, claim Claim) {
		results, err := f.c.CreatePartitionStates(f.ctx, claim, []PartitionEntry{
			{TopicPartition: tp("t", 0), State: state(claim, 1, 1)}, {TopicPartition: tp("t", 1), State: state(claim, 2, 2, 1)}, {TopicPartition: tp("t", 2), State: state(claim, 1, 1)},
		})
		f.ok(err)
		for _, r := range results {
			if r.Err != nil || r.ZkVersion != 0 {
				f.Errorf("%v: version %d, %v", r.TopicPartition, r.ZkVersion, r.Err)
			}
		}
		f.holds("/brokers/topics/t/partitions/1/state", `{"version":1,"leader":2,"leader_epoch":0,"isr":[2,1],"controller_epoch":1}`, 0)
		if r := f.node("/brokers/topics/t/partitions/1"); r.Data != nil {
			f.Errorf("a partition holds %q", r.Data)
		}
	}},
	{name: "UpdatePartitionStates", setup: createStates, asController: func(f *fixture, claim Claim) {
		results, err := f.c.UpdatePartitionStates(f.ctx, claim, []PartitionEntry{
			{TopicPartition: tp("t", 0), State: state(claim, 2, 2)}, {TopicPartition: tp("t", 1), State: state(claim, NoLeader)},
		})
		f.ok(err)
		for _, r := range results {
			if r.Err != nil || r.ZkVersion != 1 {
				f.Errorf("%v: version %d, %v", r.TopicPartition, r.ZkVersion, r.Err)
			}
		}
		f.holds("/brokers/topics/t/partitions/0/state", `{"version":1,"leader":2,"leader_epoch":0,"isr":[2],"controller_epoch":1}`, 1)
		f.holds("/brokers/topics/t/partitions/1/state", `{"version":1,"leader":-1,"leader_epoch":0,"isr":[],"controller_epoch":1}`, 1)
	}},
	{name: "FinishTopicDeletion", setup: func(f *fixture, claim Claim) {
		createStates(f, claim)
		f.ok(f.admin.RequestTopicDeletion(f.ctx, "t"))
	}, asController: func(f *fixture, claim Claim) {
		f.ok(f.c.FinishTopicDeletion(f.ctx, claim, "t"))
		for _, path := range []string{"/brokers/topics/t", "/config/topics/t", "/admin/delete_topics/t"} {
			f.absent(path)
		}
		f.ok(f.c.FinishTopicDeletion(f.ctx, claim, "t"))
	}},
	{name: "RequestTopicDeletion", setup: createTopic, asController: func(f *fixture, claim Claim) {
		f.ok(f.c.RequestTopicDeletion(f.ctx, "t"))
		if r := f.node("/admin/delete_topics/t"); r.Data != nil {
			f.Errorf("the request holds %q", r.Data)
		}
		topics, err := f.c.DeleteTopicRequests(f.ctx, nil)
		if err != nil || len(topics) != 1 || topics[0] != "t" {
			f.Errorf("requests %v, %v", topics, err)
		}
		f.ok(f.c.DropDeleteTopicRequests(f.ctx, claim, topics))
		f.absent("/admin/delete_topics/t")
	}},
	{name: "SetConfig", asController: func(f *fixture, _ Claim) {
		f.ok(f.c.SetConfig(f.ctx, UserConfig("a b").WithClient("c"), map[string]string{"x": "1"}))
		f.ok(f.c.SetConfig(f.ctx, UserConfig("a b").WithClient("c"), map[string]string{"x": "2"}))
		if r := f.node("/config/users/a%20b/clients/c"); string(r.Data) != `{"version":1,"config":{"x":"2"}}` {
			f.Errorf("configuration %s", r.Data)
		}
		if r := f.node("/config/users/a%20b/clients"); r.Data != nil {
			f.Errorf("an intermediate node holds %q", r.Data)
		}
	}},
	{name: "UpdateConfig", asController: func(f *fixture, _ Claim) {
		add := func(name string) func(map[string]string) error {
			return func(values map[string]string) error { values[name] = "1"; return nil }
		}
		f.ok(f.c.UpdateConfig(f.ctx, BrokerConfig(1), add("a")))
		f.ok(f.c.UpdateConfig(f.ctx, BrokerConfig(1), add("b")))
		f.holds("/config/brokers/1", `{"version":1,"config":{"a":"1","b":"1"}}`, 1)
		f.ok(f.c.UpdateConfig(f.ctx, BrokerConfig(1), add("b"))) // changes nothing, and is written
		f.holds("/config/brokers/1", `{"version":1,"config":{"a":"1","b":"1"}}`, 2)
	}},
	{name: "NotifyConfigChange", run: func(f *fixture) {
		f.ok(f.c.NotifyConfigChange(f.ctx, TopicConfig("t")))
		changed, malformed, err := f.admin.ConfigChanges().Next(f.ctx, nil)
		if err != nil || len(malformed) != 0 || len(changed) != 1 || changed[0] != TopicConfig("t") {
			f.Errorf("changes %v, %v, %v", changed, malformed, err)
		}
	}},
	{name: "LogDirEvents", asController: func(f *fixture, claim Claim) {
		f.ok(f.c.NotifyLogDirFailure(f.ctx, 3))
		brokers, names, err := f.admin.LogDirEvents(f.ctx, nil)
		if err != nil || len(brokers) != 1 || brokers[0] != 3 {
			f.Errorf("brokers %v, %v", brokers, err)
		}
		f.holds(LogDirEventsPath+"/log_dir_event_0000000000", `{"version":1,"broker":3,"event":1}`, 0)
		f.ok(f.c.DeleteLogDirEvents(f.ctx, claim, names))
		if _, names, err := f.admin.LogDirEvents(f.ctx, nil); err != nil || len(names) != 0 {
			f.Errorf("then %v, %v", names, err)
		}
	}},
	{name: "SetReassignment", asController: func(f *fixture, claim Claim) {
		data, err := EncodeReassignment(map[protocol.TopicPartition][]int32{tp("t", 0): {1}, tp("t", 1): {2}})
		f.ok(err)
		f.put(ReassignPartitionsPath, data)
		targets, ok, err := f.c.Reassignment(f.ctx, nil)
		if err != nil || !ok || len(targets) != 2 {
			f.Errorf("asked for %v, %v, %v", targets, ok, err)
		}
		delete(targets, tp("t", 0))
		f.ok(f.c.SetReassignment(f.ctx, claim, targets))
		if r := f.node(ReassignPartitionsPath); string(r.Data) != `{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[2]}]}` {
			f.Errorf("left to do: %s", r.Data)
		}
		f.ok(f.c.SetReassignment(f.ctx, claim, nil))
		f.absent(ReassignPartitionsPath)
	}},
}

// ensureGone deletes a node and what is below it.
func (c *Client) ensureGone(ctx context.Context, path string) error {
	names, err := c.children(ctx, path, nil)
	for _, name := range names {
		if err == nil {
			err = c.ensureGone(ctx, path+"/"+name)
		}
	}
	if err != nil {
		return err
	}
	if _, err := c.do1(ctx, session.Delete(path, session.AnyVersion)); !errors.Is(err, session.ErrNoNode) {
		return err
	}
	return nil
}

func createTopic(f *fixture, _ Claim) {
	f.ok(f.admin.CreateTopic(f.ctx, "t", NewTopicAssignment(testID, [][]int32{{1}, {1}, {1}}), nil))
}

func createStates(f *fixture, claim Claim) {
	createTopic(f, claim)
	// By the client under test, whose claim it is.
	_, err := f.c.CreatePartitionStates(f.ctx, claim, []PartitionEntry{
		{TopicPartition: tp("t", 0), State: state(claim, 1, 1)}, {TopicPartition: tp("t", 1), State: state(claim, 1, 1)}, {TopicPartition: tp("t", 2), State: state(claim, 1, 1)},
	})
	f.ok(err)
}
