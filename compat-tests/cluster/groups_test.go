package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
	"github.com/gracchus-mq/gracchus/compat-tests/load"
)

const (
	offsetsTopic = "__consumer_offsets"

	groupSession   = 3 * time.Second
	groupRebalance = 3 * time.Second
	// regroup is within which time a group reads and commits again, once its partitions
	// and those that it reads have leaders.
	regroup = groupSession + groupRebalance + 5*time.Second
	// astray is the same while a coordinator that was replaced, and is cut off so that it
	// cannot know, speaks with clients: as often as their requests time out there, they ask
	// a broker at random where the coordinator is, and one of three sends them back.
	astray = 3 * regroup
)

// TestGroups keeps consumer groups busy, of franz-go, eager and cooperative, and of
// sarama, while their coordinators suffer what a random number chooses; the first two
// mishaps are that one is killed, and that one is paused until another has taken over.
// When one strikes, members have just come to some groups, or are leaving them. In the
// meantime and in the end:
//
//   - every record is processed by every group, and in the end all is committed;
//   - no committed offset that was acknowledged goes back, or is lost;
//   - nothing that a coordinator accepts which has been replaced is in the log;
//   - who is no coordinator does not answer;
//   - the generation in which commits are acknowledged does not go back;
//   - groups read and commit again within session timeout + rebalance timeout + 5 s, or when
//     clients are led astray in three times as long;
//   - never has a partition of __consumer_offsets two leaders in one epoch, and its
//     replicas are the same.
//
// CLUSTER_FAULTS says how many faults there are (2), CLUSTER_SEED repeats a run.
func TestGroups(t *testing.T) {
	faults := harness.FromEnvironment(t, "CLUSTER_FAULTS", 2)
	seed := harness.FromEnvironment(t, "CLUSTER_SEED", int(rand.Int32()))
	t.Logf("CLUSTER_SEED=%d", seed)
	w := &groupWorld{}
	w.world = world{t: t, zookeeper: harness.StartZooKeeper(t), random: rand.New(rand.NewPCG(uint64(seed), 1)), topic: "read"}
	w.cluster = harness.StartCluster(t, harness.ClusterOptions{Own: w.zookeeper, Properties: []string{
		"replica.lag.time.max.ms=3000", "group.min.session.timeout.ms=1000",
		"offsets.topic.replication.factor=3", fmt.Sprintf("offsets.topic.num.partitions=%d", faultPartitions),
	}})
	w.client = client(t, w.cluster.Addrs(), kgo.RequestTimeoutOverhead(time.Second))
	create(t, w.client, w.topic, faultPartitions, 3, map[string]*string{"min.insync.replicas": text("2")})
	eventually(t, 20*time.Second, "the groups have a coordinator", func() bool { return w.coordinatorOf(groupKey, ledgerGroup) > 0 })

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var watching sync.WaitGroup
	for _, topic := range []string{w.topic, offsetsTopic} {
		watch := newWatch(t, w.cluster, topic)
		w.watches = append(w.watches, watch)
		watching.Go(func() { watch.run(ctx) })
	}
	w.ledger = newLedger(t, w.cluster)
	watching.Go(func() { w.ledger.run(ctx) })
	producer := load.New(client(t, w.cluster.Addrs(), kgo.ProduceRequestTimeout(5*time.Second), kgo.RequestTimeoutOverhead(2*time.Second)), 0, w.topic, faultPartitions)
	producer.Pause = 2 * time.Millisecond
	w.producers = []*load.Producer{producer}
	producing, enough := context.WithCancel(ctx)
	defer enough()
	var produced sync.WaitGroup
	produced.Go(func() { producer.Run(producing) })
	for _, g := range w.startGroups() {
		for range 2 {
			defer g.join(t, g)()
		}
	}
	w.committed("everything that is there at the beginning", 30*time.Second)
	for n, kind := range w.kinds(faults) {
		f := w.draw(kind)
		t.Logf("fault %d of %d, after %d records: %s", n+1, faults, load.Acknowledged(w.producers), f.name)
		w.suffer(f)
	}

	enough()
	produced.Wait()
	for _, g := range w.groups {
		g.sendVisitorAway()
	}
	w.committed("everything that was produced", regroup)
	w.exact()
	eventually(t, time.Minute, "every replica is in sync", w.allInSync)
	stop()
	watching.Wait()
	for _, watch := range w.watches {
		watch.report()
	}
	all := readAll(t, w.cluster, offsetsTopic)
	checkReplicas(t, w.cluster, offsetsTopic, all)
	w.ledger.check(all[offsetsPartition(ledgerGroup)])
	for _, g := range w.groups {
		g.report(t)
	}
}

// groupWorld is the world of groups.
type groupWorld struct {
	coordinatedWorld
	ledger    *ledger
	producers []*load.Producer
	groups    []*consumers
}

func (w *groupWorld) startGroups() []*consumers {
	franz := func(balancer kgo.GroupBalancer) joiner {
		return func(t *testing.T, g *consumers) func() { return joinFranz(t, w.cluster.Addrs(), g, balancer) }
	}
	w.groups = []*consumers{
		{name: "eager", topic: w.topic, join: franz(kgo.RangeBalancer())},
		{name: "cooperative", topic: w.topic, join: franz(kgo.CooperativeStickyBalancer())},
		{name: "sarama", topic: w.topic, join: func(t *testing.T, g *consumers) func() { return joinSarama(t, w.cluster.Addrs(), g) }},
	}
	return w.groups
}

// draw chooses a group, and a fault of that kind for its coordinator.
func (w *groupWorld) draw(kind string) fault {
	names := []string{"eager", "cooperative", "sarama", ledgerGroup}
	name := names[w.random.IntN(len(names))]
	of := "the coordinator of " + name
	all := onBroker(of, func(*world) *harness.Member { return w.coordinator(groupKey, name) })
	all = append(all, fault{
		name:   of + " is paused for a moment",
		strike: func(*world) int { m := w.coordinator(groupKey, name); m.Pause(); return m.ID },
		heal:   func(_ *world, victim int) { w.cluster.Member(victim).Resume() },
	})
	if i := slices.IndexFunc(all, func(f fault) bool { return f.name == of+" "+kind }); i >= 0 {
		return all[i]
	}
	return all[w.random.IntN(len(all))]
}

// suffer has a fault strike and end.
func (w *groupWorld) suffer(f fault) {
	t := w.t
	t.Helper()
	for _, g := range w.groups {
		if w.random.IntN(2) == 0 {
			g.visit(t)
		}
	}
	time.Sleep(time.Duration(w.random.IntN(300)) * time.Millisecond) // the rebalances may be over or not
	victim := f.strike(&w.world)
	if f.failOver {
		took := eventually(t, takeover, "every partition has another leader", func() bool { return w.led(victim) })
		t.Logf("  broker %d is replaced after %v", victim, took.Round(time.Millisecond))
		if w.random.IntN(2) == 0 {
			limit := regroup
			if strings.Contains(f.name, "is cut from ZooKeeper") {
				limit = astray
			}
			t.Logf("  the groups get on after: %s", w.committed("everything that was there when others had taken over", limit))
		}
	}
	time.Sleep(time.Duration(w.random.IntN(int(harness.SessionTimeout / 2))))
	w.ledger.doubt(victim)
	f.heal(&w.world, victim)
	led := eventually(t, takeover, "every partition has a leader after the end of the fault", func() bool { return w.led(0) })
	on := w.committed("everything that was there when the fault was over", regroup)
	knows := eventually(t, takeover, "the struck broker knows what it coordinates", func() bool { return w.ledger.clear(victim) })
	synced := eventually(t, time.Minute, "every replica is in sync again", w.allInSync)
	t.Logf("  after its end leaders everywhere in %v, the groups get on after: %s; replicas in sync %v later", led.Round(time.Millisecond), on, (knows + synced).Round(time.Millisecond))
}

// committed waits until all groups have committed what is in the topic now, and returns
// how long each took.
func (w *groupWorld) committed(what string, limit time.Duration) string {
	w.t.Helper()
	there := w.ends()
	began, missing, took := time.Now(), "", make([]string, len(w.groups))
	defer func() {
		if w.t.Failed() {
			w.t.Log(missing)
		}
	}()
	eventually(w.t, limit, "all groups have committed "+what, func() bool {
		all := true
		for i, g := range w.groups {
			if took[i] != "" {
				continue
			}
			behind := ""
			for p, at := range w.offsets(g) {
				if at < there[int32(p)] {
					behind = fmt.Sprintf("%s has committed %d of partition %d, which ended at %d", g.name, at, p, there[int32(p)])
				}
			}
			if behind != "" {
				all, missing = false, behind
			} else {
				took[i] = fmt.Sprintf("%s %v", g.name, time.Since(began).Round(time.Millisecond))
			}
		}
		return all
	})
	return strings.Join(took, ", ")
}

// ends are the latest offsets of the topic, once every leader tells them: one that is new
// may have to wait for its followers.
func (w *groupWorld) ends() (all map[int32]int64) {
	w.t.Helper()
	eventually(w.t, takeover, "all leaders tell where partitions end", func() bool {
		bounded, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		listed, err := kadm.NewClient(w.client).ListEndOffsets(bounded, w.topic)
		if err != nil || listed.Error() != nil {
			return false
		}
		all = map[int32]int64{}
		listed.Each(func(o kadm.ListedOffset) { all[o.Partition] = o.Offset })
		return len(all) == faultPartitions
	})
	return all
}

// offsets are what a group has committed, by partition; −1 what is not known.
func (w *groupWorld) offsets(g *consumers) (all [faultPartitions]int64) {
	for p := range all {
		all[p] = -1
	}
	bounded, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	found, err := kadm.NewClient(w.client).FetchOffsets(bounded, g.name)
	if err != nil {
		return all
	}
	found.Each(func(o kadm.OffsetResponse) {
		if o.Topic == w.topic && o.Err == nil {
			all[o.Partition] = o.At
		}
	})
	return all
}

// exact holds that every group has read all there is, and committed no more.
func (w *groupWorld) exact() {
	w.t.Helper()
	there := w.ends()
	for _, g := range w.groups {
		for p, at := range w.offsets(g) {
			if at != there[int32(p)] {
				w.t.Errorf("%s has committed %d of partition %d, which ends at %d", g.name, at, p, there[int32(p)])
			}
			if at, ok := g.missing(int32(p), there[int32(p)]); ok {
				w.t.Errorf("%s has not processed the record at %d of partition %d", g.name, at, p)
			}
		}
	}
}
