package group

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// realLog is __consumer_offsets on real replicas, as a broker joins them.
type realLog struct{ replicas *replica.Replicas }

func offsetsPartition(n int32) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: n}
}

func (l realLog) Append(n, epoch int32, batch record.Batch, acks int16, done func(int64, error)) {
	p, err := l.replicas.Partition(offsetsPartition(n))
	if err != nil {
		done(-1, err)
		return
	}
	r, err := p.Append(batch, replica.AppendRequest{Origin: record.Coordinator, Acks: acks})
	if err != nil || acks != replica.AcksAll {
		done(r.BaseOffset, err)
		return
	}
	if _, there := p.NotifyAt(r.LastOffset+1, r.LeaderEpoch, func(err error) { done(r.BaseOffset, err) }); there {
		done(r.BaseOffset, nil)
	}
}

func (l realLog) log(n int32) (*commitlog.Log, error) {
	p, err := l.replicas.Partition(offsetsPartition(n))
	if err != nil {
		return nil, err
	}
	return p.Log()
}

func (l realLog) MaxBatchBytes(n int32) int {
	log, err := l.log(n)
	if err != nil {
		return 1 << 20
	}
	return int(log.Config().MaxMessageBytes)
}

func (l realLog) Bounds(n int32) (start, end int64, err error) {
	log, err := l.log(n)
	if err != nil {
		return 0, 0, err
	}
	return log.StartOffset(), log.EndOffset(), nil
}

func (l realLog) Read(dst []byte, n int32, from, end int64, maxBytes int32) ([]byte, error) {
	log, err := l.log(n)
	if err != nil {
		return dst, err
	}
	r, err := log.Read(from, maxBytes, end, true)
	if err != nil {
		return dst, err
	}
	defer r.Release()
	return r.AppendTo(dst)
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
		c, err := New(Config{Settings: settingsForTests(), Partitions: func() int32 { return 2 }}, realLog{replicas})
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
