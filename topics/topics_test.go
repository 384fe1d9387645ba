package topics_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
	"github.com/twmb/franz-go/pkg/kerr"
)

// inLab runs a test in a bubble with a cluster in it.
func inLab(t *testing.T, settings map[string]string, test func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := newLab(t, zkserver.NewMemStore(), settings)
		defer stop()
		test(t, l)
	})
}

func TestCreateWaitsUntilThereAreLeaders(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		requests := []topics.CreateRequest{
			{Name: "a", Partitions: 3, ReplicationFactor: 1},
			{Name: "bad name", Partitions: 1, ReplicationFactor: 1},
			{Name: "b", Partitions: -1, ReplicationFactor: -1},
		}
		results := l.topics.Create(l.ctx, requests, time.Minute, false)
		if results[0].Err != nil || !errors.Is(results[1].Err, kerr.InvalidTopicException) || results[2].Err != nil {
			t.Fatalf("results %v", results)
		}
		s := l.view.Snapshot()
		for _, r := range []topics.CreateResult{results[0], results[2]} {
			topic, ok := s.Topic(r.Name)
			if !ok || topic.ID != r.ID || r.ID.IsZero() || len(topic.Partitions) != int(r.Partitions) || r.ReplicationFactor != 1 {
				t.Errorf("result %v, topic %v", r, topic)
			}
		}
	})
}

func TestCreateInTime(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		l.brokers.setDeaf(true)
		start := time.Now()
		r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "late", Partitions: 1, ReplicationFactor: 1}}, 3*time.Second, false)[0]
		if !errors.Is(r.Err, kerr.RequestTimedOut) || r.Err.Error() != kerr.RequestTimedOut.Error() {
			t.Errorf("error %v", r.Err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		l.brokers.setDeaf(false)
		// With timeout 0 Kafka does not wait, and says that time ran out.
		r = l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "now", Partitions: 1, ReplicationFactor: 1}}, 0, false)[0]
		if !errors.Is(r.Err, kerr.RequestTimedOut) {
			t.Errorf("error %v", r.Err)
		}
		time.Sleep(time.Second)
		for _, name := range []string{"late", "now"} {
			if _, ok := l.view.Snapshot().Topic(name); !ok {
				t.Errorf("topic %s was not made after all", name)
			}
		}
	})
}

func TestOneOfManyCreatesWins(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		var mu sync.Mutex
		var ids []protocol.TopicID
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "one", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]
				mu.Lock()
				defer mu.Unlock()
				switch {
				case r.Err == nil:
					ids = append(ids, r.ID)
				case !errors.Is(r.Err, kerr.TopicAlreadyExists):
					t.Error(r.Err)
				}
			})
		}
		wg.Wait()
		topic, _ := l.view.Snapshot().Topic("one")
		if len(ids) != 1 || ids[0] != topic.ID {
			t.Errorf("%d creators were told that they made it, as %v; it is %v", len(ids), ids, topic.ID)
		}
	})
}

func TestAutoCreate(t *testing.T) {
	settings := map[string]string{
		"num.partitions": "3", "offsets.topic.num.partitions": "5", "offsets.topic.replication.factor": "1", "offsets.topic.segment.bytes": "1000",
		"transaction.state.log.num.partitions": "2", "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
	}
	inLab(t, settings, func(t *testing.T, l *lab) {
		tests := []struct {
			name       string
			partitions int
			configs    map[string]string
		}{
			{"plain", 3, map[string]string{}},
			{protocol.ConsumerOffsetsTopic, 5, map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "1000"}},
			{protocol.TransactionStateTopic, 2, map[string]string{"cleanup.policy": "compact", "compression.type": "uncompressed",
				"segment.bytes": "104857600", "min.insync.replicas": "1", "unclean.leader.election.enable": "false"}},
		}
		for _, test := range tests {
			if err := l.topics.AutoCreate(l.ctx, test.name); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			synctest.Wait()
			topic, ok := l.view.Snapshot().Topic(test.name)
			if !ok || len(topic.Partitions) != test.partitions {
				t.Errorf("topic %v", topic)
			}
			if own, err := l.topics.Configs(l.ctx, test.name); err != nil || !equal(own, test.configs) {
				t.Errorf("%s is configured %v (%v), want %v", test.name, own, err, test.configs)
			}
			if err := l.topics.AutoCreate(l.ctx, test.name); !errors.Is(err, kerr.TopicAlreadyExists) {
				t.Errorf("%s again: %v", test.name, err)
			}
		}
		if err := l.topics.AutoCreate(l.ctx, "a/b"); !errors.Is(err, kerr.InvalidTopicException) {
			t.Errorf("an invalid name: %v", err)
		}
	})
	inLab(t, map[string]string{"default.replication.factor": "3"}, func(t *testing.T, l *lab) {
		if err := l.topics.AutoCreate(l.ctx, "a"); !errors.Is(err, kerr.InvalidReplicationFactor) {
			t.Errorf("more replicas than brokers: %v", err)
		}
	})
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, value := range a {
		if other, ok := b[name]; !ok || other != value {
			return false
		}
	}
	return true
}

func TestAutoCreateOnce(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		var mu sync.Mutex
		made := 0
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				err := l.topics.AutoCreate(l.ctx, "a")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					made++
				case !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.TopicAlreadyExists):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made != 1 {
			t.Errorf("%d made it", made)
		}
	})
}

func TestDeleteOnlyWhatClientsSee(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		l.brokers.setDeaf(true)
		l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, 0, false)
		if err := l.topics.Delete(l.ctx, []string{"a"}, time.Second)[0]; !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("a topic that is not there yet: %v", err)
		}
		l.brokers.setDeaf(false)
		time.Sleep(time.Second)
		errs := l.topics.Delete(l.ctx, []string{"a", "b"}, time.Minute)
		if errs[0] != nil || !errors.Is(errs[1], kerr.UnknownTopicOrPartition) {
			t.Errorf("errors %v", errs)
		}
		synctest.Wait()
		if names, err := l.zk.Topics(l.ctx, nil); err != nil || len(names) != 0 {
			t.Errorf("topics %v, error %v", names, err)
		}
		// With timeout 0 the deletion goes on by itself.
		l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "c", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)
		if err := l.topics.Delete(l.ctx, []string{"c"}, 0)[0]; !errors.Is(err, kerr.RequestTimedOut) {
			t.Errorf("without waiting: %v", err)
		}
	})
}

// TestPlacementOnLiveBrokers makes and expands topics in a cluster with racks.
func TestPlacementOnLiveBrokers(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		l.brokerUp(2, "")
		l.brokerUp(3, "")
		create := topics.CreateRequest{Name: "a", Partitions: 3, ReplicationFactor: 2}
		if r := l.topics.Create(l.ctx, []topics.CreateRequest{create}, time.Minute, false)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		expand := topics.ExpandRequest{Name: "a", Count: 5}
		if err := l.topics.Expand(l.ctx, []topics.ExpandRequest{expand}, time.Minute, false)[0]; err != nil {
			t.Fatal(err)
		}
		topic, _ := l.view.Snapshot().Topic("a")
		want := [][]int32{{1, 2}, {2, 3}, {3, 1}, {1, 3}, {2, 1}}
		for i, p := range topic.Partitions {
			if !slices.Equal(p.Replicas, want[i]) {
				t.Errorf("partition %d is on %v, want %v", i, p.Replicas, want[i])
			}
		}
		// A rack for some brokers only is an error of who set them up.
		l.brokerUp(4, "r1")
		if r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "b", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]; !errors.Is(r.Err, kerr.UnknownServerError) {
			t.Errorf("racks of some brokers only: %v", r.Err)
		}
	})
}

func TestExpansionIsRefusedWhileReassigning(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		if r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		err := l.zk.UpdateTopic(l.ctx, "a", func(a *zkmeta.TopicAssignment) error {
			a.Partitions[0] = zkmeta.ReplicaAssignment{Replicas: []int32{1, 2}, Adding: []int32{2}}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = l.topics.Expand(l.ctx, []topics.ExpandRequest{{Name: "a", Count: 2}}, time.Minute, false)[0]
		if !errors.Is(err, kerr.ReassignmentInProgress) {
			t.Errorf("error %v", err)
		}
	})
}

// TestExpansionKeepsTheTopic holds that the id and all other partitions stay when
// several expand at once.
func TestExpansionKeepsTheTopic(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		created := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]
		var wg sync.WaitGroup
		for count := int32(2); count <= 9; count++ {
			wg.Go(func() {
				err := l.topics.Expand(l.ctx, []topics.ExpandRequest{{Name: "a", Count: count}}, time.Minute, false)[0]
				if err != nil && !errors.Is(err, kerr.InvalidPartitions) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		topic, _ := l.view.Snapshot().Topic("a")
		if topic.ID != created.ID || len(topic.Partitions) != 9 {
			t.Errorf("%d partitions of topic %v, which was %v", len(topic.Partitions), topic.ID, created.ID)
		}
	})
}

func TestNoController(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		if r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		// A KRaft controller has taken over: nobody may write configurations any more.
		data, err := zkmeta.ControllerRegistration{BrokerID: 3000, KRaftEpoch: 5}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.zk.Session().Do1(l.ctx, 0, session.Set(zkmeta.ControllerPath, data, session.AnyVersion)); err != nil {
			t.Fatal(err)
		}
		value := "1000"
		err = l.topics.ChangeConfigs(l.ctx, "a", []topics.ConfigOp{{Name: "retention.ms", Value: &value}}, false)
		if !errors.Is(err, kerr.NotController) {
			t.Errorf("changing a configuration: %v", err)
		}
		r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "b", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]
		if !errors.Is(r.Err, kerr.NotController) {
			t.Errorf("creating a topic: %v", r.Err)
		}
	})
}

// Of several creations of one name, with different configurations, the topic has that
// of the one that made it.
func TestTheWinnersConfiguration(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		for round := range 20 {
			name := fmt.Sprint("t", round)
			won := make(chan string, 4)
			var wg sync.WaitGroup
			for i := range cap(won) {
				value := fmt.Sprint(1000 + i)
				wg.Go(func() {
					r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: name, Partitions: 1, ReplicationFactor: 1,
						Configs: []topics.ConfigOp{{Name: "retention.ms", Value: &value}}}}, time.Minute, false)[0]
					if r.Err == nil {
						won <- value
					}
				})
			}
			wg.Wait()
			value := <-won
			if own, err := l.topics.Configs(l.ctx, name); err != nil || own["retention.ms"] != value {
				t.Errorf("%s is configured %v (%v), and was made with %s", name, own, err, value)
			}
		}
	})
}

// A topic on its way out gets no more partitions.
func TestExpansionIsRefusedDuringDeletion(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		if r := l.topics.Create(l.ctx, []topics.CreateRequest{{Name: "a", Partitions: 1, ReplicationFactor: 1}}, time.Minute, false)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		l.brokers.setDeaf(true) // the deletion waits for the broker
		if err := l.topics.Delete(l.ctx, []string{"a"}, 0)[0]; !errors.Is(err, kerr.RequestTimedOut) {
			t.Fatal(err)
		}
		err := l.topics.Expand(l.ctx, []topics.ExpandRequest{{Name: "a", Count: 2}}, time.Minute, false)[0]
		if !errors.Is(err, kerr.InvalidTopicException) || err.Error() != "The topic is queued for deletion." {
			t.Errorf("expanding it: %v", err)
		}
		l.brokers.setDeaf(false)
	})
}
