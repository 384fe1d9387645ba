package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The workers of TestTransactions are processes, so that they can be killed. Each is this
// program once more, which finds in its environment what it is to do.
const (
	workerRole    = "CLUSTER_WORKER_ROLE"
	workerID      = "CLUSTER_WORKER_ID"      // its transactional id
	workerLife    = "CLUSTER_WORKER_LIFE"    // which process of that id it is
	workerBrokers = "CLUSTER_WORKER_BROKERS" // comma-separated
)

// What workers do.
const (
	processing   = "process"  // consume, transform, and produce, with the offsets in the transaction
	transferring = "transfer" // move an amount from one account to another
)

const (
	inputTopic    = "input"
	outputTopic   = "output"
	accountsTopic = "accounts"
	eosGroup      = "exactly-once"

	// transactionTimeout is short: what a worker that is gone has left open keeps readers
	// waiting.
	transactionTimeout = 10 * time.Second
)

// worker makes one transaction after the other, aborts every third, and says what has
// become of each, until its standard input ends.
type worker struct {
	brokers  []string
	id       string
	life     string
	attempts int
	done     atomic.Bool
	says     io.Writer
}

// runWorker is the program of a worker.
func runWorker(role string) {
	w := &worker{
		brokers: strings.Split(os.Getenv(workerBrokers), ","), id: os.Getenv(workerID), life: os.Getenv(workerLife),
		says: os.NewFile(3, "outcomes"),
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		w.done.Store(true)
	}()
	once := w.transfer
	if role == processing {
		once = w.process
	}
	for !w.done.Load() {
		if err := once(); err != nil {
			fmt.Println(err) // and begins anew
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// attempt names the next transaction, and says whether it is to be committed.
func (w *worker) attempt() (name string, commit bool) {
	w.attempts++
	return fmt.Sprintf("%s.%s.%d", w.id, w.life, w.attempts), w.attempts%3 != 0
}

func (w *worker) say(committed bool, attempt string, records int) {
	outcome := "aborted"
	if committed {
		outcome = "committed"
	}
	fmt.Fprintln(w.says, outcome, attempt, records)
}

// options has the client ask every second of what brokers the cluster consists. It asks
// anew for a coordinator that does not take connections, but stays with one that is paused:
// the system goes on to take connections for it. Only from metadata does it learn that the
// broker is gone, and while it has its partitions added to a transaction nothing else asks
// for any.
func (w *worker) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(w.brokers...), kgo.TransactionalID(w.id), kgo.TransactionTimeout(transactionTimeout), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProduceRequestTimeout(5 * time.Second), kgo.RequestTimeoutOverhead(2 * time.Second), kgo.DialTimeout(2 * time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.AlwaysRetryEOF(),
	}
}

// endLimit is how long a worker waits for a transaction's end: not for ever, since what it
// then does is part of the test.
const endLimit = 30 * time.Second

// process copies records, each with its place in the input as value, until something
// fails.
func (w *worker) process() error {
	s, err := kgo.NewGroupTransactSession(append(w.options(),
		kgo.ConsumerGroup(eosGroup), kgo.ConsumeTopics(inputTopic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.SessionTimeout(groupSession), kgo.RebalanceTimeout(groupRebalance), kgo.HeartbeatInterval(200*time.Millisecond),
	)...)
	if err != nil {
		return err
	}
	defer s.CloseAllowingRebalance()
	for !w.done.Load() {
		if err := w.processSome(s); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) processSome(s *kgo.GroupTransactSession) error {
	const most = 30
	poll, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	records := s.PollRecords(poll, most).Records()
	if len(records) == 0 {
		return nil
	}
	if err := s.Begin(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	attempt, commit := w.attempt()
	promise := kgo.AbortingFirstErrPromise(s.Client())
	for _, r := range records {
		s.Produce(ctx, &kgo.Record{Topic: outputTopic, Partition: r.Partition, Key: []byte(attempt), Value: fmt.Appendf(nil, "%d:%d", r.Partition, r.Offset)}, promise.Promise())
	}
	if promise.Err() != nil {
		commit = false
	}
	committed, err := s.End(ctx, kgo.TransactionEndTry(commit))
	if err != nil {
		return fmt.Errorf("end of %s: %w", attempt, err)
	}
	w.say(committed, attempt, len(records))
	return nil
}

// transfer moves amounts between accounts, of which there is one in each partition, until
// something fails.
func (w *worker) transfer() error {
	client, err := kgo.NewClient(w.options()...)
	if err != nil {
		return err
	}
	defer client.Close()
	for !w.done.Load() {
		if err := w.transferOnce(client); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) transferOnce(client *kgo.Client) error {
	if err := client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	attempt, commit := w.attempt()
	from, amount := rand.IntN(faultPartitions), 1+rand.IntN(100)
	to := (from + 1 + rand.IntN(faultPartitions-1)) % faultPartitions
	half := func(account, amount int) *kgo.Record {
		return &kgo.Record{Topic: accountsTopic, Partition: int32(account), Key: []byte(attempt), Value: fmt.Append(nil, amount)}
	}
	failed := client.ProduceSync(ctx, half(from, -amount), half(to, amount)).FirstErr()
	err := client.EndTransaction(ctx, kgo.TransactionEndTry(commit && failed == nil))
	if err != nil {
		return fmt.Errorf("end of %s: %w", attempt, errors.Join(failed, err))
	}
	w.say(commit && failed == nil, attempt, 2)
	return nil
}
