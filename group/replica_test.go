package group

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func offsetsPartition(n int32) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: n}
}

// TestOnReplicas has the coordinator write to a log of ours and read it again.
func TestOnReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		settings, _, err := config.Parse(map[string]string{"zookeeper.connect": "embedded"})
		if err != nil {
			t.Fatal(err)
		}
		topic := func(string) *config.Topic {
			return settings.Topic(map[string]string{"cleanup.policy": "compact", "max.message.bytes": "2000"})
		}
		store, err := storage.Open(storage.Config{Storage: config.Storage{Dirs: []string{"/data"}}}, vfs.NewMem(), commitlog.NewFileCache(100), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(store.Identify(1, "cluster"), store.Load(ctx, topic)); err != nil {
			t.Fatal(err)
		}
		view := cluster.NewView()
		view.Apply(cluster.Update{ControllerID: 1, Brokers: []cluster.Broker{{ID: 1}, {ID: 2}}})
		replicas, err := replica.New(replica.Config{BrokerID: 1, TopicConfig: func(_ context.Context, name string) (*config.Topic, error) { return topic(name), nil }}, store, view)
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Config{Settings: settingsForTests(), Partitions: twoPartitions}, replicas.TopicLog(protocol.ConsumerOffsetsTopic))
		if err != nil {
			t.Fatal(err)
		}
		replicas.Subscribe(c.RoleChanged)
		if err := errors.Join(store.Start(ctx), replicas.Start(ctx), c.Start(ctx)); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(c.Stop(ctx), replicas.Stop(ctx), store.Stop(ctx)); err != nil {
				t.Error(err)
			}
		}()
		role := func(leader, epoch int32) {
			t.Helper()
			change := replica.RoleChange{
				Partition: offsetsPartition(1), TopicID: protocol.TopicID{15: 1}, Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch,
				Replicas: []int32{1}, ISR: []int32{1}, IsNew: epoch == 0,
			}
			errs, err := replicas.ApplyRoles(ctx, 1, []replica.RoleChange{change})
			if err := errors.Join(append(errs, err)...); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		l := &lab{t: t, c: c}
		g := groupIn(1)
		role(1, 0)
		j := l.member(g)
		for i := range int64(100) {
			commit := commitOf(g, i, i)
			commit.MemberID, commit.Generation = j.MemberID, j.Generation
			<-l.commit(commit)
			is(t, "commit", commit.Offsets[0].Err, nil)
		}
		role(2, 1)
		l.expect(g, "NOT_COORDINATOR: This is not the correct coordinator.")
		role(1, 2)
		l.expect(g, "t-0=99 t-1=99")
		is(t, "heartbeat", c.Heartbeat(&HeartbeatRequest{Group: g, MemberID: j.MemberID, Generation: j.Generation}), nil)
		is(t, "leave", c.Leave(g, []Leaving{{MemberID: j.MemberID}}), nil)
		is(t, "delete", c.DeleteGroup(g), nil)
		role(2, 3)
		role(1, 4)
		if list, err := c.List(); err != nil || len(list) != 0 {
			t.Errorf("listed %v, %v", list, err)
		}
	})
}
