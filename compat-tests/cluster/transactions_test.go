package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
	"github.com/gracchus-mq/gracchus/compat-tests/load"
)

const transactionsTopic = "__transaction_state"

// TestTransactions keeps transactional producers busy while they, and brokers, are killed:
// some consume, transform and produce, with their offsets in the transaction, others move
// amounts between accounts, and each aborts every third transaction. In the end, and for
// the accounts whenever a broker has been struck:
//
//   - the output is the input, each record once: none twice, none missing, none aborted;
//   - the offsets that the group has committed are where the input ends;
//   - all of a transaction is there that was said to be committed, and nothing of one that
//     was said to be aborted;
//   - for a read_committed reader that has read on all the time, and for one that begins
//     anew, the sum of the accounts is what it was, and no half of a transfer is there;
//   - no transaction is left open;
//   - never has a partition two leaders in one epoch, and its replicas are the same.
//
// The first two brokers that are struck coordinate transactions: one is killed, one is
// paused until another has taken over. CLUSTER_FAULTS says how many faults of brokers
// there are (2), with five workers killed before each; CLUSTER_TRANSACTIONS how many
// transactions there have to be (0: no matter), CLUSTER_SEED repeats a run.
func TestTransactions(t *testing.T) {
	faults := harness.FromEnvironment(t, "CLUSTER_FAULTS", 2)
	atLeast := harness.FromEnvironment(t, "CLUSTER_TRANSACTIONS", 0)
	seed := harness.FromEnvironment(t, "CLUSTER_SEED", int(rand.Int32()))
	t.Logf("CLUSTER_SEED=%d", seed)
	w := newTransactionWorld(t, seed)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var watching sync.WaitGroup
	for _, watch := range w.watches {
		watching.Go(func() { watch.run(ctx) })
	}
	watching.Go(func() { w.reader.run(ctx) })
	producer := load.New(client(t, w.cluster.Addrs(), kgo.ProduceRequestTimeout(5*time.Second), kgo.RequestTimeoutOverhead(2*time.Second)), 0, inputTopic, faultPartitions)
	producer.Pause = 2 * time.Millisecond
	producing, enough := context.WithCancel(ctx)
	defer enough()
	var produced sync.WaitGroup
	produced.Go(func() { producer.Run(producing) })
	for _, worker := range w.workers {
		worker.start(t)
	}
	w.getOn()
	for n, kind := range w.kinds(faults) {
		for range 5 {
			w.killWorker()
		}
		f := w.draw(kind)
		t.Logf("fault %d of %d, after %s: %s", n+1, faults, &w.book, f.name)
		w.suffer(f)
		w.settleAccounts()
	}
	for w.book.ended() < atLeast {
		w.getOn()
	}

	enough()
	produced.Wait()
	input := ends(t, w.client, inputTopic)
	var committed map[int32]int64
	eventually(t, time.Minute, "the group has committed all of the input", func() bool {
		committed = w.committed()
		for p, end := range input {
			if committed[p] < end {
				return false
			}
		}
		return true
	})
	for _, worker := range w.workers {
		worker.retire(t)
	}
	for p, end := range input {
		if committed[p] != end {
			t.Errorf("the group has committed %d of partition %d, which ends at %d", committed[p], p, end)
		}
	}
	t.Logf("in the end: %s", &w.book)
	output := readCommitted(t, w.cluster.Addrs(), outputTopic)
	w.book.compare(t, processing, output)
	sameAsInput(t, input, output)
	w.settleAccounts()
	accounts := readCommitted(t, w.cluster.Addrs(), accountsTopic)
	w.book.compare(t, transferring, accounts)
	balance(t, "a reader that begins anew", accounts)

	eventually(t, time.Minute, "every replica is in sync", w.allInSync)
	stop()
	watching.Wait()
	for _, watch := range w.watches {
		watch.report()
		for p, end := range ends(t, w.client, watch.topic) {
			checkPartition(t, w.cluster, watch.topic, int(p), 0, end)
		}
	}
}

// transactionWorld is the world of transactions.
type transactionWorld struct {
	coordinatedWorld
	workers []*workerProcess
	reader  *committedReader
	book    book
}

func newTransactionWorld(t *testing.T, seed int) *transactionWorld {
	t.Helper()
	w := &transactionWorld{}
	w.world = world{t: t, zookeeper: harness.StartZooKeeper(t), random: rand.New(rand.NewPCG(uint64(seed), 2)), topic: outputTopic}
	w.book.outcomes = map[string]outcome{}
	w.cluster = harness.StartCluster(t, harness.ClusterOptions{Own: w.zookeeper, Properties: []string{
		"replica.lag.time.max.ms=3000", "group.min.session.timeout.ms=1000", "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
		"offsets.topic.replication.factor=3", fmt.Sprintf("offsets.topic.num.partitions=%d", faultPartitions),
		"transaction.state.log.replication.factor=3", "transaction.state.log.min.isr=2", fmt.Sprintf("transaction.state.log.num.partitions=%d", faultPartitions),
	}})
	w.client = client(t, w.cluster.Addrs(), kgo.RequestTimeoutOverhead(time.Second))
	for _, topic := range []string{inputTopic, outputTopic, accountsTopic} {
		create(t, w.client, topic, faultPartitions, 3, map[string]*string{"min.insync.replicas": text("2")})
	}
	eventually(t, 20*time.Second, "groups and transactions have coordinators", func() bool {
		return w.coordinatorOf(groupKey, eosGroup) > 0 && w.coordinatorOf(transactionKey, "any") > 0
	})
	for _, topic := range []string{outputTopic, accountsTopic, offsetsTopic, transactionsTopic} {
		w.watches = append(w.watches, newWatch(t, w.cluster, topic))
	}
	w.reader = newCommittedReader(t, w.cluster.Addrs(), accountsTopic)
	for i, role := range []string{processing, transferring, processing, transferring} {
		w.workers = append(w.workers, &workerProcess{role: role, id: fmt.Sprint(role, i), brokers: w.cluster.Addrs(), book: &w.book})
	}
	return w
}

// draw chooses a fault, of a kind unless that is "", for a broker.
func (w *transactionWorld) draw(kind string) fault {
	victim := w.workers[w.random.IntN(len(w.workers))]
	coordinator := func(kind int8, key string) func(*world) *harness.Member {
		return func(*world) *harness.Member { return w.coordinator(kind, key) }
	}
	all := onBroker("the coordinator of "+victim.id, coordinator(transactionKey, victim.id))
	if kind != "" {
		for _, f := range all {
			if strings.HasSuffix(f.name, kind) {
				return f
			}
		}
	}
	all = append(all, onBroker("the coordinator of the group", coordinator(groupKey, eosGroup))...)
	all = append(all, onBroker("the leader of a partition", (*world).leader)...)
	return all[w.random.IntN(len(all))]
}

func (w *transactionWorld) suffer(f fault) {
	t := w.t
	t.Helper()
	time.Sleep(time.Duration(w.random.IntN(300)) * time.Millisecond)
	victim := f.strike(&w.world)
	if f.failOver {
		took := eventually(t, takeover, "every partition has another leader", func() bool { return w.led(victim) })
		t.Logf("  broker %d is replaced after %v", victim, took.Round(time.Millisecond))
		if f.away {
			w.getOn()
		}
	}
	time.Sleep(time.Duration(w.random.IntN(int(harness.SessionTimeout / 2))))
	f.heal(&w.world, victim)
	eventually(t, takeover, "every partition has a leader after the end of the fault", func() bool { return w.led(0) })
	eventually(t, time.Minute, "every replica is in sync again", w.allInSync)
	t.Logf("  transactions are committed again %v after its end", w.getOn().Round(time.Millisecond))
}

// getOn waits until transactions of both kinds are committed.
func (w *transactionWorld) getOn() time.Duration {
	w.t.Helper()
	const some = 5
	processed, transferred := w.book.committed(processing), w.book.committed(transferring)
	return eventually(w.t, regroup+transactionTimeout, "transactions are committed", func() bool {
		return w.book.committed(processing) >= processed+some && w.book.committed(transferring) >= transferred+some
	})
}

// killWorker kills one in the middle of what it does. Its successor fences what may be
// left of it.
func (w *transactionWorld) killWorker() {
	worker := w.workers[w.random.IntN(len(w.workers))]
	time.Sleep(time.Duration(w.random.IntN(300)) * time.Millisecond)
	worker.process.Kill()
	worker.start(w.t)
}

// settleAccounts has all transfers end, and checks that the reader that was there all the
// time finds the sum of the accounts what it was.
func (w *transactionWorld) settleAccounts() {
	t := w.t
	t.Helper()
	var stopped []*workerProcess
	for _, worker := range w.workers {
		if worker.role == transferring && worker.process != nil {
			worker.retire(t)
			stopped = append(stopped, worker)
		}
	}
	stable := stableEnds(t, w.client, accountsTopic)
	eventually(t, time.Minute, "the reader of the accounts has read all", func() bool { return w.reader.reached(stable) })
	balance(t, "the reader that was there all the time", w.reader.all())
	for _, worker := range stopped {
		worker.start(t)
	}
}

// committed is what the group has committed.
func (w *transactionWorld) committed() map[int32]int64 {
	all := map[int32]int64{}
	found, err := kadm.NewClient(w.client).FetchOffsets(within(w.t, 10*time.Second), eosGroup)
	if err != nil {
		return all
	}
	found.Each(func(o kadm.OffsetResponse) {
		if o.Topic == inputTopic && o.Err == nil {
			all[o.Partition] = o.At
		}
	})
	return all
}

// workerProcess is a worker as its parent sees it.
type workerProcess struct {
	role, id string
	brokers  []string
	book     *book
	lives    int
	process  *harness.Process
	stop     io.Closer     // has the worker come to an end
	silent   chan struct{} // closed when it says nothing more
}

func (p *workerProcess) start(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	input, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	said, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lives++
	cmd := exec.Command(self)
	cmd.Stdin, cmd.ExtraFiles = input, []*os.File{says}
	cmd.Env = append(os.Environ(), workerRole+"="+p.role, workerID+"="+p.id, workerLife+"="+strconv.Itoa(p.lives), workerBrokers+"="+strings.Join(p.brokers, ","))
	p.process = harness.StartProcess(t, fmt.Sprintf("worker %s.%d", p.id, p.lives), cmd)
	input.Close()
	says.Close()
	silent := make(chan struct{})
	p.stop, p.silent = stop, silent
	t.Cleanup(func() { stop.Close() })
	go func() {
		defer close(silent)
		defer said.Close()
		for lines := bufio.NewScanner(said); lines.Scan(); {
			p.book.note(p.role, lines.Text())
		}
	}()
}

// retire has the worker end its transaction, and itself.
func (p *workerProcess) retire(t *testing.T) {
	t.Helper()
	p.stop.Close()
	if err := p.process.Wait("after it was told to", time.Minute); err != nil {
		t.Fatalf("worker %s.%d: %v", p.id, p.lives, err)
	}
	<-p.silent
	p.process = nil
}
