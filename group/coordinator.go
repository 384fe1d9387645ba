package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// Config is what a Coordinator needs to know.
type Config struct {
	Settings
	// Partitions reads how many partitions __consumer_offsets has, 0 if there is no
	// such topic. It may block. What it has returned once is taken until the topic is
	// deleted: a group's partition must not change.
	Partitions func(ctx context.Context) (int32, error)
	Logger     *slog.Logger // nil discards
}

// Coordinator coordinates the groups whose partitions of __consumer_offsets this
// broker leads.
//
// All methods may be called by any goroutine. Replies are given outside of all locks,
// perhaps before the method returns and perhaps by the goroutine that acknowledges a
// write, so that they must not block.
//
// Concurrency: mu serialises what begins and ends leaderships. Requests find their
// partition without it; each group has a mutex of its own, see hosted.
type Coordinator struct {
	settings   Settings
	partitions func(ctx context.Context) (int32, error)
	log        Log
	logger     *slog.Logger

	running    atomic.Bool
	count      atomic.Int32                         // of partitions; 0 while it is not known
	led        atomic.Pointer[map[int32]*partition] // replaced, not changed
	loads      chan struct{}                        // has room for as many loads as may run
	background sync.WaitGroup
	stop       context.CancelFunc

	mu      sync.Mutex
	started bool
	epochs  map[int32]int32 // the newest leader epoch heard of, by partition

	budget   budget
	stats    counters
	refusals loglimit.Limit // lines about what the log has refused
}

// New returns a Coordinator that coordinates nothing yet. Its RoleChanged is to be
// subscribed to replica.Replicas before roles are given.
func New(cfg Config, log Log) (*Coordinator, error) {
	if cfg.Partitions == nil || log == nil {
		return nil, errors.New("group: the number of partitions and the log of __consumer_offsets are required")
	}
	if cfg.CommitTimeout <= 0 || cfg.RetentionCheckInterval <= 0 || cfg.LoadBufferBytes <= 0 || cfg.MaxSize <= 0 || cfg.MemoryBytes <= 0 {
		return nil, errors.New("group: commit timeout, check interval, load buffer, group size and memory must be positive")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{
		settings:   cfg.Settings,
		partitions: cfg.Partitions,
		log:        log,
		logger:     cfg.Logger,
		loads:      make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)), // one processor stays free
		epochs:     map[int32]int32{},
	}
	c.budget.limit, c.budget.logger = cfg.MemoryBytes, cfg.Logger
	c.led.Store(&map[int32]*partition{})
	return c, nil
}

// Start begins to answer requests, to load the partitions that this broker leads
// already, and to look for expired offsets. Errors are those of Config.Partitions.
func (c *Coordinator) Start(ctx context.Context) error {
	if _, err := c.partitionCount(ctx); err != nil && !errors.Is(err, kerr.CoordinatorNotAvailable) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.started = true
	for _, p := range *c.led.Load() {
		c.background.Go(func() { c.load(p) })
	}
	c.background.Go(func() { c.expireNowAndThen(ctx) })
	c.running.Store(true)
	return nil
}

// Stop answers whoever waits with kerr.NotCoordinator, and every request from now on
// with kerr.CoordinatorNotAvailable.
func (c *Coordinator) Stop(context.Context) error {
	c.running.Store(false)
	c.mu.Lock()
	if c.stop != nil {
		c.stop()
	}
	led := *c.led.Swap(&map[int32]*partition{})
	c.started = false
	c.mu.Unlock()
	for _, p := range led {
		p.resign()
	}
	c.background.Wait()
	return nil
}

// RoleChanged is told of every change of this broker's role in a partition, in the
// order in which they happened. It does not wait for anything to be loaded.
func (c *Coordinator) RoleChanged(e replica.RoleEvent) {
	if e.Partition.Topic != protocol.ConsumerOffsetsTopic {
		return
	}
	c.mu.Lock()
	ended := c.changeRole(e)
	c.mu.Unlock()
	if ended != nil {
		n := ended.resign()
		level := slog.LevelInfo
		if n == 0 {
			level = slog.LevelDebug
		}
		c.logger.Log(context.Background(), level, "resigned from coordinating the groups of a partition", "partition", ended.number, "epoch", e.Epoch, "groups", n)
	}
}

// changeRole returns the partition whose leadership has ended, if one has.
func (c *Coordinator) changeRole(e replica.RoleEvent) (ended *partition) {
	number := e.Partition.Partition
	if newest, known := c.epochs[number]; known && e.Epoch < newest && e.Cause != replica.Deleted {
		return nil
	}
	c.epochs[number] = e.Epoch
	if e.Cause == replica.Deleted {
		delete(c.epochs, number) // a topic of that name begins with epoch 0
	}
	led := *c.led.Load()
	p := led[number]
	if (p != nil) == (e.Role == replica.Leader) {
		return nil // another epoch of the same leadership does not load again
	}
	next := maps.Clone(led)
	if p != nil {
		delete(next, number)
	} else {
		begun := c.newPartition(number, e.Epoch)
		next[number] = begun
		if c.started {
			c.background.Go(func() { c.load(begun) })
		}
	}
	c.led.Store(&next)
	return p
}

func (c *Coordinator) newPartition(number, epoch int32) *partition {
	p := &partition{number: number, epoch: epoch, budget: &c.budget}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.appender = &appender{
		log: c.log, partition: number, epoch: epoch, settings: &c.settings,
		logger: c.logger, refusals: &c.refusals, spawn: c.background.Go,
		encoder: newEncoder(),
	}
	return p
}

// PartitionsDeleted removes the offsets of partitions that were deleted. It is to be
// told of them on every broker: it removes them from the groups that it coordinates.
func (c *Coordinator) PartitionsDeleted(partitions []protocol.TopicPartition) {
	if slices.ContainsFunc(partitions, func(tp protocol.TopicPartition) bool { return tp.Topic == protocol.ConsumerOffsetsTopic }) {
		c.count.Store(0) // the next topic of that name may have another number
	}
	for _, p := range *c.led.Load() {
		p.partitionsDeleted(partitions)
	}
}

// PartitionFor is the partition of __consumer_offsets that a group belongs to. Errors are
// those of Config.Partitions, and kerr.CoordinatorNotAvailable if there is no such topic.
func (c *Coordinator) PartitionFor(ctx context.Context, group string) (int32, error) {
	count, err := c.partitionCount(ctx)
	if err != nil {
		return 0, err
	}
	return PartitionFor(group, count), nil
}

// partitionCount is how many partitions there are. Kafka takes the number that its own
// configuration has, if there is no topic yet when it starts: then brokers whose
// configurations differ, or a topic that was made by hand, keep groups from being found.
func (c *Coordinator) partitionCount(ctx context.Context) (int32, error) {
	if n := c.count.Load(); n > 0 {
		return n, nil
	}
	n, err := c.partitions(ctx)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the number of partitions of __consumer_offsets: %w", err)
	case n <= 0:
		return 0, fmt.Errorf("there is no __consumer_offsets: %w", kerr.CoordinatorNotAvailable)
	}
	c.count.CompareAndSwap(0, n)
	return n, nil
}

// partition finds the partition of a group, if this broker leads it.
func (c *Coordinator) partition(group string) (*partition, error) {
	if !c.running.Load() {
		return nil, errDead
	}
	led, count := *c.led.Load(), c.count.Load()
	if len(led) == 0 {
		return nil, errNotCoordinator
	}
	if count == 0 {
		return nil, errLoading // which begins with reading it
	}
	if p := led[PartitionFor(group, count)]; p != nil {
		return p, nil
	}
	return nil, errNotCoordinator
}

// find finds a group, nil if there is none of that name. Errors are those that every
// request may have: kerr.CoordinatorNotAvailable, NotCoordinator,
// CoordinatorLoadInProgress.
func (c *Coordinator) find(group string) (*hosted, error) {
	p, err := c.partition(group)
	if err != nil {
		return nil, err
	}
	return p.find(group)
}

func (c *Coordinator) findOrCreate(group string) (*hosted, error) {
	p, err := c.partition(group)
	if err != nil {
		return nil, err
	}
	return p.findOrCreate(group, func() *classicGroup { return newClassicGroup(group, &c.settings.Limits, time.Now()) })
}
