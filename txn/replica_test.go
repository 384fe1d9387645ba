package txn

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// TestOnReplicas has the coordinator write to a log of ours and read it again, with the
// settings of a broker.
func TestOnReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		settings, _, err := config.Parse(map[string]string{"zookeeper.connect": "embedded", "transactional.id.expiration.ms": "3600000"})
		if err != nil {
			t.Fatal(err)
		}
		topic := func(string) *config.Topic {
			return settings.Topic(map[string]string{"cleanup.policy": "compact", "compression.type": "uncompressed", "max.message.bytes": "2000"})
		}
		store, err := storage.Open(storage.Config{Storage: config.Storage{Dirs: []string{"/data"}}}, vfs.NewMem(), commitlog.NewFileCache(100), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(store.Identify(1, "cluster"), store.Load(ctx, topic)); err != nil {
			t.Fatal(err)
		}
		b := newBrokers()
		b.leads(1, "t-0", "u-0")
		b.view.Apply(cluster.Update{ControllerID: 1, Brokers: []cluster.Broker{{ID: 1}, {ID: 2}}})
		replicas, err := replica.New(replica.Config{BrokerID: 1, TopicConfig: func(_ context.Context, name string) (*config.Topic, error) { return topic(name), nil }}, store, b.view)
		if err != nil {
			t.Fatal(err)
		}
		next := int64(0)
		c, err := New(Config{
			Settings: SettingsOf(settings.Broker(), 1<<20), PartitionsOf: b.partitionsOf,
			NextProducerID: func(context.Context) (int64, error) { next++; return next, nil },
		}, replicas.TopicLog(protocol.TransactionStateTopic), b.view, b)
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
		leader := func(leader, epoch int32) {
			t.Helper()
			change := replica.RoleChange{
				Partition: protocol.TopicPartition{Topic: protocol.TransactionStateTopic, Partition: 1}, TopicID: protocol.TopicID{15: 1},
				Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch, Replicas: []int32{1}, ISR: []int32{1}, IsNew: epoch == 0,
			}
			errs, err := replicas.ApplyRoles(ctx, 1, []replica.RoleChange{change})
			if err := errors.Join(append(errs, err)...); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		l := &lab{t: t, brokers: b, c: c}
		x := idIn(1)
		leader(1, 0)
		pid, epoch := l.producer(x)
		for i := range 100 {
			is(t, "add", <-l.add(x, pid, epoch, "t-0", "u-0"), nil)
			is(t, "end", <-l.end(x, pid, epoch, i%2 == 0), nil)
		}
		is(t, "add", <-l.add(x, pid, epoch, "t-0"), nil)
		leader(2, 1)
		l.expect(x, "NOT_COORDINATOR")
		leader(1, 2)
		l.expect(x, "Ongoing 1/0 [t-0]")
		b.set(func() { b.down[1] = true })
		is(t, "commit", <-l.end(x, pid, epoch, true), nil)
		leader(2, 3)
		b.set(func() { b.down[1] = false })
		leader(1, 4)
		l.expect(x, "CompleteCommit 1/0")
		if got := b.fenced[partitionsNamed("t-0")[0]]; got != 4 {
			t.Errorf("coordinator epoch %d", got)
		}
		time.Sleep(3 * time.Hour)
		leader(2, 5)
		leader(1, 6)
		l.expect(x, "TRANSACTIONAL_ID_NOT_FOUND")
	})
}
