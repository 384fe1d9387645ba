package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
)

func partition(id, leader, epoch int32) cluster.Partition {
	return cluster.Partition{ID: id, Leader: leader, LeaderEpoch: epoch, ISR: []int32{1}, Replicas: []int32{1}}
}

func inEpoch(epoch int32, p cluster.Partition) cluster.Partition {
	p.PartitionEpoch = epoch
	return p
}

func topic(name string, id protocol.TopicID, partitions ...cluster.Partition) cluster.TopicUpdate {
	return cluster.TopicUpdate{Name: name, ID: id, Partitions: partitions}
}

func TestApplyMerges(t *testing.T) {
	idA, idB := protocol.TopicID{1}, protocol.TopicID{2}
	tests := []struct {
		name    string
		updates [][]cluster.TopicUpdate
		want    map[string]map[int32]int32 // topic → partition → leader
		removed []protocol.TopicPartition  // by the last update
	}{
		{
			name: "partitions accumulate, newest state wins",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, partition(1, 1, 0), partition(0, 1, 0))},
				{topic("a", idA, partition(2, 1, 0), partition(1, 2, 1))},
			},
			want: map[string]map[int32]int32{"a": {0: 1, 1: 2, 2: 1}},
		},
		{
			name: "an older state that comes later changes nothing",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, inEpoch(4, partition(0, 1, 2)), inEpoch(4, partition(1, 1, 2)))},
				{topic("a", idA, inEpoch(3, partition(0, 2, 1)), inEpoch(4, partition(1, 2, 2)))},
			},
			want: map[string]map[int32]int32{"a": {0: 1, 1: 2}},
		},
		{
			name: "a partition that is deleted has no older state, nor has a topic without an id",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, inEpoch(4, partition(0, 1, 2)), inEpoch(4, partition(1, 1, 2))), topic("b", protocol.TopicID{}, inEpoch(4, partition(0, 1, 2)))},
				{topic("a", idA, inEpoch(3, partition(0, -2, 2))), topic("b", protocol.TopicID{}, inEpoch(0, partition(0, 2, 0)))},
			},
			want:    map[string]map[int32]int32{"a": {1: 1}, "b": {0: 2}},
			removed: []protocol.TopicPartition{{Topic: "a", Partition: 0}},
		},
		{
			name: "leader -2 removes a partition",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, partition(0, 1, 0), partition(1, 1, 0))},
				{topic("a", idA, partition(0, -2, 0), partition(7, -2, 0))},
			},
			want:    map[string]map[int32]int32{"a": {1: 1}},
			removed: []protocol.TopicPartition{{Topic: "a", Partition: 0}},
		},
		{
			name: "a topic without partitions is gone",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, partition(0, 1, 0)), topic("b", idB, partition(0, 1, 0))},
				{topic("a", idA, partition(0, -2, 0))},
			},
			want:    map[string]map[int32]int32{"b": {0: 1}},
			removed: []protocol.TopicPartition{{Topic: "a", Partition: 0}},
		},
		{
			name: "another id is another topic",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, partition(0, 1, 0), partition(1, 1, 0))},
				{topic("a", idB, partition(0, 1, 0))},
			},
			want:    map[string]map[int32]int32{"a": {0: 1}},
			removed: []protocol.TopicPartition{{Topic: "a", Partition: 0}, {Topic: "a", Partition: 1}},
		},
		{
			name: "a late deletion of the earlier topic leaves the new one alone",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, partition(0, 1, 0))},
				{topic("a", idB, partition(0, 1, 0))},
				{topic("a", idA, partition(0, -2, 0))},
			},
			want: map[string]map[int32]int32{"a": {0: 1}},
		},
		{
			name: "an update without id keeps the id",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, partition(0, 1, 0))},
				{topic("a", protocol.TopicID{}, partition(1, 1, 0))},
			},
			want: map[string]map[int32]int32{"a": {0: 1, 1: 1}},
		},
		{
			name: "of two entries for one partition the later wins",
			updates: [][]cluster.TopicUpdate{
				{topic("a", idA, partition(0, 1, 0), partition(0, 2, 1))},
			},
			want: map[string]map[int32]int32{"a": {0: 2}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := cluster.NewView()
			var removed []protocol.TopicPartition
			for _, u := range test.updates {
				removed = v.Apply(cluster.Update{ControllerID: 1, Topics: u})
			}
			s := v.Snapshot()
			if got := leaders(s); !reflect.DeepEqual(got, test.want) {
				t.Errorf("leaders %v, want %v", got, test.want)
			}
			if !slices.Equal(removed, test.removed) {
				t.Errorf("removed %v, want %v", removed, test.removed)
			}
			checkSnapshot(t, s)
		})
	}
}

func leaders(s *cluster.Snapshot) map[string]map[int32]int32 {
	all := map[string]map[int32]int32{}
	for topic := range s.Topics() {
		all[topic.Name] = map[int32]int32{}
		for _, p := range topic.Partitions {
			all[topic.Name][p.ID] = p.Leader
		}
	}
	return all
}

// checkSnapshot holds what must be true of every snapshot.
func checkSnapshot(t *testing.T, s *cluster.Snapshot) {
	t.Helper()
	topics, partitions := 0, 0
	for topic := range s.Topics() {
		topics++
		partitions += len(topic.Partitions)
		if got, ok := s.Topic(topic.Name); !ok || got != topic {
			t.Errorf("topic %s is not found by its name", topic.Name)
		}
		if got, ok := s.TopicByID(topic.ID); !topic.ID.IsZero() && (!ok || got != topic) {
			t.Errorf("topic %s is not found by its id", topic.Name)
		}
		for i, p := range topic.Partitions {
			if i > 0 && topic.Partitions[i-1].ID >= p.ID {
				t.Errorf("topic %s: partitions are out of order", topic.Name)
			}
			if got, ok := topic.Partition(p.ID); !ok || got.ID != p.ID {
				t.Errorf("%s-%d is not found", topic.Name, p.ID)
			}
		}
	}
	if s.TopicCount() != topics || s.PartitionCount() != partitions {
		t.Errorf("counts say %d topics, %d partitions; there are %d and %d", s.TopicCount(), s.PartitionCount(), topics, partitions)
	}
}

// TestApplyAgainstAMap compares random updates with a plain map of maps.
func TestApplyAgainstAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 9))
	v := cluster.NewView()
	want := map[string]map[int32]int32{}
	for step := range 3000 {
		var u cluster.Update
		for range 1 + rnd.IntN(3) {
			n := rnd.IntN(40)
			tu := topic(fmt.Sprint("t", n), protocol.TopicID{byte(n), 15: byte(n)})
			for range 1 + rnd.IntN(4) {
				p := partition(int32(rnd.IntN(6)), int32(rnd.IntN(3)), int32(step))
				if rnd.IntN(3) == 0 {
					p.Leader = cluster.LeaderDeleting
				}
				tu.Partitions = append(tu.Partitions, p)
			}
			u.Topics = append(u.Topics, tu)
			for i, p := range tu.Partitions {
				if slices.ContainsFunc(tu.Partitions[i+1:], func(q cluster.Partition) bool { return q.ID == p.ID }) {
					continue
				}
				if p.Leader == cluster.LeaderDeleting {
					delete(want[tu.Name], p.ID)
					if len(want[tu.Name]) == 0 {
						delete(want, tu.Name)
					}
					continue
				}
				if want[tu.Name] == nil {
					want[tu.Name] = map[int32]int32{}
				}
				want[tu.Name][p.ID] = p.Leader
			}
		}
		before := v.Snapshot()
		old := leaders(before)
		v.Apply(u)
		if got := leaders(v.Snapshot()); !reflect.DeepEqual(got, want) {
			t.Fatalf("step %d: %v, want %v", step, got, want)
		}
		if !reflect.DeepEqual(leaders(before), old) {
			t.Fatalf("step %d changed the snapshot before it", step)
		}
		checkSnapshot(t, v.Snapshot())
	}
}

func TestBrokersAreReplaced(t *testing.T) {
	v := cluster.NewView()
	if s := v.Snapshot(); s.ControllerID() != -1 || len(s.Brokers()) != 0 {
		t.Errorf("an empty view has controller %d, brokers %v", s.ControllerID(), s.Brokers())
	}
	endpoint := cluster.Endpoint{Listener: "PLAINTEXT", Host: "h", Port: 9092, SecurityProtocol: "PLAINTEXT"}
	v.Apply(cluster.Update{ControllerID: 2, ControllerEpoch: 7, Brokers: []cluster.Broker{{ID: 3}, {ID: 1, Endpoints: []cluster.Endpoint{endpoint}}}})
	s := v.Snapshot()
	if s.ControllerID() != 2 || s.ControllerEpoch() != 7 {
		t.Errorf("controller %d in epoch %d", s.ControllerID(), s.ControllerEpoch())
	}
	b, ok := s.Broker(1)
	if e, has := b.Endpoint("PLAINTEXT"); !ok || !has || e != endpoint {
		t.Errorf("broker 1: %v", b)
	}
	if _, has := b.Endpoint("SSL"); has {
		t.Error("broker 1 has no SSL listener")
	}
	v.Apply(cluster.Update{ControllerID: -1, Brokers: []cluster.Broker{{ID: 3, Rack: "old"}, {ID: 3, Rack: "new"}}})
	s = v.Snapshot()
	if _, ok := s.Broker(1); ok || len(s.Brokers()) != 1 || s.Brokers()[0].Rack != "new" {
		t.Errorf("brokers %v", s.Brokers())
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := cluster.NewView()
		hasTopic := func(s *cluster.Snapshot) bool { _, ok := s.Topic("a"); return ok }
		found := make(chan error, 1)
		go func() {
			s, err := v.Wait(t.Context(), hasTopic)
			if err == nil && !hasTopic(s) {
				err = errors.New("Wait returned too early")
			}
			found <- err
		}()
		v.Apply(cluster.Update{Topics: []cluster.TopicUpdate{topic("b", protocol.TopicID{2}, partition(0, 1, 0))}})
		synctest.Wait()
		select {
		case err := <-found:
			t.Fatalf("Wait returned (%v) before the topic was there", err)
		default:
		}
		v.Apply(cluster.Update{Topics: []cluster.TopicUpdate{topic("a", protocol.TopicID{1}, partition(0, 1, 0))}})
		if err := <-found; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := v.Wait(ctx, func(*cluster.Snapshot) bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Wait for what never comes: %v", err)
		}
	})
}

// BenchmarkApplyOneOfTenThousand holds that an update costs what it touches.
func BenchmarkApplyOneOfTenThousand(b *testing.B) {
	v := cluster.NewView()
	for i := range 10_000 {
		v.Apply(cluster.Update{Topics: []cluster.TopicUpdate{topic(fmt.Sprint("topic-", i), protocol.NewTopicID(), partition(0, 1, 0))}})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v.Apply(cluster.Update{Topics: []cluster.TopicUpdate{topic("topic-77", protocol.TopicID{}, partition(0, 1, int32(i)))}})
	}
}
