package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
	"github.com/gracchus-mq/gracchus/compat-tests/load"
)

const (
	faultPartitions = 6
	faultProducers  = 3
)

// TestFaults keeps idempotent producers with acks=all busy on a topic with three
// replicas, of which two must be in sync, while brokers and ZooKeeper suffer what a
// random number chooses. Meanwhile a watch is kept on what clients are told, and in the
// end on what is there:
//
//   - every acknowledged record once, in order, at its offset;
//   - replicas that are the same, byte by byte, below the high watermark;
//   - never two leaders of a partition in one epoch;
//   - no latest offset that goes back;
//   - a leader for every partition within session timeout + 3 s of each fault that takes
//     a broker away, and of the end of each.
//
// CLUSTER_FAULTS says how many faults there are (8), CLUSTER_SEED repeats a run.
func TestFaults(t *testing.T) {
	faults := harness.FromEnvironment(t, "CLUSTER_FAULTS", 8)
	seed := harness.FromEnvironment(t, "CLUSTER_SEED", int(rand.Int32()))
	t.Logf("CLUSTER_SEED=%d", seed)
	w := &world{t: t, zookeeper: harness.StartZooKeeper(t), random: rand.New(rand.NewPCG(uint64(seed), 0))}
	w.cluster = harness.StartCluster(t, harness.ClusterOptions{Own: w.zookeeper, Properties: []string{
		"replica.lag.time.max.ms=3000", "log.segment.bytes=1000000",
	}})
	for done := 0; done < faults; done += roundFaults {
		w.topic = fmt.Sprintf("faults-%d", done)
		w.round(done, min(done+roundFaults, faults), faults)
	}
	for _, m := range w.cluster.Members {
		m.Terminate(30 * time.Second)
	}
}

// roundFaults is how many faults a topic lives through: what was written to it is kept
// in memory, to be compared.
const roundFaults = 25

// round strikes with faults from up to to, on a topic of their own.
func (w *world) round(from, to, of int) {
	t := w.t
	t.Helper()
	create(t, client(t, w.cluster.Addrs()), w.topic, faultPartitions, 3, map[string]*string{"min.insync.replicas": text("2")})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var producers []*load.Producer
	var running sync.WaitGroup
	for i := range faultProducers {
		c := client(t, w.cluster.Addrs(), kgo.ProduceRequestTimeout(5*time.Second), kgo.RequestTimeoutOverhead(2*time.Second))
		p := load.New(c, i, w.topic, faultPartitions)
		p.Pause = time.Millisecond
		producers = append(producers, p)
		running.Go(func() { p.Run(ctx) })
	}
	watch := newWatch(t, w.cluster, w.topic)
	running.Go(func() { watch.run(ctx) })

	getOn := func() {
		t.Helper()
		before := load.Acknowledged(producers)
		eventually(t, time.Minute, "the producers get on", func() bool { return load.Acknowledged(producers) > before+100 })
	}
	getOn()
	for n := from; n < to; n++ {
		f := pick(w.random)
		t.Logf("fault %d of %d, after %d records: %s", n+1, of, load.Acknowledged(producers), f.name)
		victim := f.strike(w)
		if f.failOver {
			took := eventually(t, takeover, "every partition has another leader", func() bool { return watch.allLed(victim) })
			t.Logf("  leaders everywhere after %v", took.Round(time.Millisecond))
		}
		time.Sleep(time.Duration(w.random.IntN(int(harness.SessionTimeout))))
		f.heal(w, victim)
		led := eventually(t, takeover, "every partition has a leader after the end of the fault", func() bool { return watch.allLed(0) })
		synced := eventually(t, time.Minute, "every replica is in sync again", watch.allInSync)
		t.Logf("  after its end leaders everywhere in %v, replicas in sync %v later", led.Round(time.Millisecond), synced.Round(time.Millisecond))
		getOn()
	}
	stop()
	running.Wait()
	watch.report()
	all := readAll(t, w.cluster, w.topic)
	load.Check(t, producers, all)
	checkReplicas(t, w.cluster, w.topic, all)
}

func text(s string) *string { return &s }

// world is what faults strike.
type world struct {
	t         *testing.T
	cluster   *harness.Cluster
	zookeeper *harness.ZooKeeperServer
	random    *rand.Rand
	topic     string // of the round
}

// fault is one kind of mishap.
type fault struct {
	name string
	// failOver: the broker's session ends, so that others must take over. A broker that
	// keeps its session keeps what it leads, whoever cannot reach it.
	failOver bool
	// away: nobody can talk to the broker any more, and clients go to others. One that is
	// cut off keeps theirs, who hear from nobody else that it has been replaced.
	away bool
	// strike returns the broker that is struck, 0 for none.
	strike func(w *world) (victim int)
	heal   func(w *world, victim int)
}

// pick chooses a fault.
func pick(random *rand.Rand) fault {
	all := []fault{}
	for _, whom := range []struct {
		name string
		find func(*world) *harness.Member
	}{{"the controller", (*world).controller}, {"the leader of a partition", (*world).leader}, {"any broker", (*world).any}} {
		all = append(all, onBroker(whom.name, whom.find)...)
	}
	all = append(all, fault{
		name:   "ZooKeeper is killed",
		strike: func(w *world) int { w.zookeeper.Kill(); return 0 },
		heal:   func(w *world, _ int) { w.zookeeper.Start() },
	})
	return all[random.IntN(len(all))]
}

// onBroker are the faults that strike one broker.
func onBroker(whom string, find func(*world) *harness.Member) []fault {
	on := func(what string, failOver bool, do, undo func(*harness.Member)) fault {
		return fault{
			name:     fmt.Sprintf("%s %s", whom, what),
			failOver: failOver,
			strike: func(w *world) int {
				m := find(w)
				w.t.Logf("  broker %d", m.ID)
				do(m)
				return m.ID
			},
			heal: func(w *world, victim int) { undo(w.cluster.Member(victim)) },
		}
	}
	away := func(f fault) fault { f.away = true; return f }
	heal := func(m *harness.Member) { m.Heal() }
	return []fault{
		away(on("is killed", true, func(m *harness.Member) { m.Kill() }, (*harness.Member).Start)),
		away(on("is paused", true, func(m *harness.Member) { m.Pause() }, func(m *harness.Member) { m.Resume() })),
		away(on("is stopped", true, func(m *harness.Member) { m.Terminate(30 * time.Second) }, (*harness.Member).Start)),
		on("loses its session", false, (*harness.Member).ExpireSession, func(*harness.Member) {}),
		on("is cut from ZooKeeper", true, (*harness.Member).CutFromZooKeeper, heal),
		on("is cut from its peers", false, (*harness.Member).CutFromPeers, heal),
		on("is cut from ZooKeeper and its peers", true, func(m *harness.Member) { m.CutFromZooKeeper(); m.CutFromPeers() }, heal),
		on("is cut from clients", false, (*harness.Member).CutFromClients, heal),
	}
}

func (w *world) any() *harness.Member {
	return w.cluster.Member(1 + w.random.IntN(len(w.cluster.Members)))
}

func (w *world) controller() *harness.Member {
	if id := controllerOf(w.t, client(w.t, w.cluster.Addrs())); id > 0 {
		return w.cluster.Member(id)
	}
	return w.any()
}

func (w *world) leader() *harness.Member {
	m := describe(w.t.Context(), client(w.t, w.cluster.Addrs()), w.topic)
	partition := w.random.IntN(faultPartitions)
	if m != nil && partition < len(m.Topics[0].Partitions) {
		if id := m.Topics[0].Partitions[partition].Leader; id > 0 {
			return w.cluster.Member(int(id))
		}
	}
	return w.any()
}
