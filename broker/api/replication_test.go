package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

var t0 = protocol.TopicPartition{Topic: "t", Partition: 0}

func oneRecord(value string) []byte {
	b := record.NewBuilder()
	b.Append(1_700_000_000_000, nil, []byte(value))
	out, err := b.Build()
	if err != nil {
		panic(err)
	}
	return out
}

// nextOffset is the offset behind the last batch.
func nextOffset(t testing.TB, batches []byte) (next int64) {
	t.Helper()
	for len(batches) > 0 {
		b, rest, err := record.Next(batches)
		if err != nil {
			t.Fatal(err)
		}
		next, batches = b.NextOffset(), rest
	}
	return next
}

// settle lets everything happen that needs no more than the usual time of a fetch.
func settle() { time.Sleep(3 * time.Second) }

// appendFive has broker 1, which leads the partition, append five records, and lets them
// settle.
func (ns *nodes) appendFive(tp protocol.TopicPartition) {
	ns.t.Helper()
	for range 5 {
		ns.append(1, tp, "record")
	}
	settle()
}

// same fails unless the replicas are byte for byte the same up to their end.
func (ns *nodes) same(tp protocol.TopicPartition, end int64, ids ...int32) {
	ns.t.Helper()
	for _, id := range ids {
		log := ns.log(id, tp)
		if log.EndOffset() != end {
			ns.t.Errorf("broker %d: %v ends at %d, want %d", id, tp, log.EndOffset(), end)
		}
		if a, b := ns.bytes(ids[0], tp, log.StartOffset(), end), ns.bytes(id, tp, log.StartOffset(), end); !bytes.Equal(a, b) {
			ns.t.Errorf("brokers %d and %d differ: %d and %d bytes", ids[0], id, len(a), len(b))
		}
	}
}

func TestFollowersCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 3)
		ns.create(t0, 1, 2, 3)
		for i := range 20 {
			ns.append(1, t0, fmt.Sprint("record ", i))
		}
		settle()
		ns.same(t0, 20, 1, 2, 3)
		for id := range ns.brokers {
			if hw := ns.log(id, t0).HighWatermark(); hw != 20 {
				t.Errorf("broker %d: high watermark %d", id, hw)
			}
		}
		if isr := ns.isr(t0); !slices.Equal(isr, []int32{1, 2, 3}) || len(ns.alters) > 0 {
			t.Errorf("in sync are %v, after %d requests", isr, len(ns.alters))
		}
	})
}

// What only the old leader wrote is cut when it comes back as a follower, and the
// replicas agree again.
func TestDivergedReplicaIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		for range 3 {
			ns.append(1, t0, "common")
		}
		settle()
		ns.weather.part(1, 2, true)
		ns.append(1, t0, "lost")
		ns.append(1, t0, "lost")
		ns.lead(t0, 2)
		ns.weather.part(1, 2, false)
		ns.append(2, t0, "kept")
		settle()
		ns.same(t0, 4, 1, 2)
		ns.lead(t0, 1) // leads without writing; its epoch has no records
		ns.lead(t0, 2)
		ns.append(2, t0, "kept, too")
		settle()
		ns.same(t0, 5, 1, 2)
		if hw := ns.log(1, t0).HighWatermark(); hw != 5 {
			t.Errorf("high watermark %d", hw)
		}
	})
}

// A follower that has led in an epoch of which nobody else knows, without records
// in it, is not asked to compare for ever.
func TestEpochWithoutRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		ns.append(1, t0, "common")
		settle()
		ns.mu.Lock()
		ns.partitions[t0].leader, ns.partitions[t0].epoch, ns.partitions[t0].version = 2, 1, 1
		ns.mu.Unlock()
		ns.send(t0, 2) // broker 1 never hears of epoch 1
		ns.lead(t0, 1)
		ns.append(1, t0, "more")
		settle()
		ns.same(t0, 2, 1, 2)
	})
}

// A replica built from nothing begins where the leader's log does.
func TestReplicaFromNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1)
		for range 10 {
			ns.append(1, t0, "record")
		}
		if _, _, err := ns.partition(1, t0).DeleteRecords(6); err != nil {
			t.Fatal(err)
		}
		ns.mu.Lock()
		ns.partitions[t0].replicas = []int32{1, 2}
		ns.mu.Unlock()
		ns.lead(t0, 1)
		settle()
		ns.same(t0, 10, 1, 2)
		log := ns.log(2, t0)
		if log.StartOffset() != 6 || log.HighWatermark() != 10 {
			t.Errorf("starts at %d, high watermark %d", log.StartOffset(), log.HighWatermark())
		}
		if isr := ns.isr(t0); !slices.Equal(isr, []int32{1, 2}) {
			t.Errorf("in sync are %v", isr)
		}
	})
}

// A leader's log start moves its followers' (KIP-107).
func TestLogStartIsPropagated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		ns.appendFive(t0)
		if _, _, err := ns.partition(1, t0).DeleteRecords(3); err != nil {
			t.Fatal(err)
		}
		settle()
		if start := ns.log(2, t0).StartOffset(); start != 3 {
			t.Errorf("the follower's log starts at %d", start)
		}
	})
}

// A leader whose log ends before its follower's, after an unclean election, is
// followed nevertheless.
func TestFollowerAheadOfLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		ns.append(1, t0, "common")
		settle()
		ns.weather.part(1, 2, true)
		for range 4 {
			ns.append(1, t0, "lost")
		}
		ns.lead(t0, 2, 2)
		ns.weather.part(1, 2, false)
		settle()
		ns.same(t0, 1, 1, 2)
		ns.append(2, t0, "next")
		settle()
		ns.same(t0, 2, 1, 2)
	})
}

// A follower that is away leaves the ISR after replica.lag.time.max.ms, and not
// before; it joins again when it has caught up.
func TestShrinkAndExpand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 3)
		ns.create(t0, 1, 2, 3)
		ns.append(1, t0, "first")
		settle()
		time.Sleep(time.Hour) // nothing happens, and nobody is late
		ns.kill(3, nil)
		ns.append(1, t0, "second")
		time.Sleep(29 * time.Second)
		if isr := ns.isr(t0); len(isr) != 3 {
			t.Fatalf("in sync are %v after 29 s", isr)
		}
		if hw := ns.log(1, t0).HighWatermark(); hw != 1 {
			t.Errorf("high watermark %d while one replica is missing", hw)
		}
		time.Sleep(17 * time.Second)
		if isr := ns.isr(t0); !slices.Equal(isr, []int32{1, 2}) {
			t.Fatalf("in sync are %v after 46 s", isr)
		}
		if hw := ns.log(1, t0).HighWatermark(); hw != 2 {
			t.Errorf("high watermark %d", hw)
		}
		ns.start(3)
		ns.send(t0, 3)
		settle()
		ns.same(t0, 2, 1, 2, 3)
		if isr := ns.isr(t0); len(isr) != 3 {
			t.Errorf("in sync are %v", isr)
		}
		for _, req := range ns.alters {
			if p := req.Topics[0].Partitions[0]; req.BrokerID != 1 || req.BrokerEpoch != ns.brokers[1].epoch.Load() || len(p.NewEpochISR) != len(p.NewISR) {
				t.Errorf("request %+v", req)
			}
		}
	})
}

// A partition in which nothing happened for long does not lose its followers with
// the first record.
func TestIdlePartitionKeepsItsFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		for range 10 {
			time.Sleep(14 * time.Minute)
			ns.append(1, t0, "record")
			time.Sleep(time.Second)
		}
		if len(ns.alters) > 0 {
			t.Errorf("%d requests to change the ISR", len(ns.alters))
		}
	})
}

// A follower that has registered anew, as after the end of its session, tells its leader
// so of partitions in which nothing happens, too: the controller lets nobody join the ISR
// for an earlier registration (KIP-903).
func TestIdleFollowerRegistersAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		registered := ns.brokers[2].epoch.Load() + 10
		ns.onAlter = func(req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
			p := req.Topics[0].Partitions[0]
			if !slices.ContainsFunc(p.NewEpochISR, func(m kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) bool {
				return m.BrokerID == 2 && m.BrokerEpoch < registered
			}) {
				return nil, nil
			}
			refused := kmsg.AlterPartitionResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.IneligibleReplica.Code}
			return &kmsg.AlterPartitionResponse{Topics: []kmsg.AlterPartitionResponseTopic{
				{TopidID: req.Topics[0].TopicID, Partitions: []kmsg.AlterPartitionResponseTopicPartition{refused}}}}, nil
		}
		ns.create(t0, 1, 2)
		ns.lead(t0, 1, 1) // the controller has seen the session end
		time.Sleep(time.Minute)
		if isr := ns.isr(t0); len(isr) != 1 {
			t.Fatalf("in sync are %v", isr)
		}
		ns.brokers[2].epoch.Store(registered)
		time.Sleep(time.Minute)
		if isr := ns.isr(t0); len(isr) != 2 {
			t.Errorf("in sync are %v", isr)
		}
	})
}

// With flush.messages=1 a follower tells its leader only of what is on its disk.
func TestFollowerSyncsBeforeItTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2, "log.flush.interval.messages=1", "log.flush.scheduler.interval.ms=3600000")
		ns.create(t0, 1, 2)
		ns.appendFive(t0)
		if log := ns.log(2, t0); log.EndOffset() != 5 || log.SyncedOffset() != 5 {
			t.Errorf("the follower's log ends at %d, and is synced up to %d", log.EndOffset(), log.SyncedOffset())
		}
		if hw := ns.log(1, t0).HighWatermark(); hw != 5 {
			t.Errorf("high watermark %d", hw)
		}
	})
}

// A replica that lost committed records in a crash does not lead, but follows, and
// may lead when it has them again.
func TestReplicaThatLostRecordsDoesNotLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		ns.appendFive(t0)
		time.Sleep(10 * time.Second) // the high watermark is written down
		ns.stop(1)
		f, err := ns.disks[1].OpenFile("/data/t-0/00000000000000000000.log", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		if err := errors.Join(f.Truncate(size/2), f.Close(), ns.disks[1].Remove("/data/.kafka_cleanshutdown")); err != nil {
			t.Fatal(err)
		}
		ns.start(1)
		decide := func(leader int32) error {
			ns.mu.Lock()
			d := ns.partitions[t0]
			d.leader, d.epoch, d.version = leader, d.epoch+1, d.version+1
			ns.mu.Unlock()
			ns.tellAll()
			return errors.Join(ns.trySend(t0, 1), ns.trySend(t0, 2))
		}
		if err := decide(1); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("told to lead: %v", err)
		}
		if err := decide(2); err != nil {
			t.Fatalf("told to follow: %v", err)
		}
		settle()
		ns.same(t0, 5, 1, 2)
		if err := decide(1); err != nil {
			t.Errorf("told to lead with everything: %v", err)
		}
	})
}

// DeleteRecords is done when the followers' logs begin there, too.
func TestDeleteRecordsWaitsForFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		ns.appendFive(t0)
		target, low, err := ns.partition(1, t0).DeleteRecords(3)
		if err != nil || target != 3 || low != 0 {
			t.Fatalf("target %d, low watermark %d, error %v", target, low, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if low, err = ns.partition(1, t0).AwaitLowWatermark(ctx, target); err != nil || low != 3 || time.Since(began) > 2*time.Second {
			t.Errorf("low watermark %d, error %v after %v", low, err, time.Since(began))
		}
		ns.weather.part(1, 2, true)
		target, _, _ = ns.partition(1, t0).DeleteRecords(4)
		if _, err = ns.partition(1, t0).AwaitLowWatermark(ctx, target); !errors.Is(err, kerr.RequestTimedOut) {
			t.Errorf("with a follower that is away: %v", err)
		}
	})
}
