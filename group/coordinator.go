package group

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/statelog"
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
// Each group has a mutex of its own, see hosted.
type Coordinator struct {
	settings Settings
	log      statelog.Log
	logger   *slog.Logger

	led        *statelog.Leaderships[partition]
	loads      statelog.Loads
	background sync.WaitGroup
	stop       context.CancelFunc

	budget   budget
	stats    counters
	refusals loglimit.Limit // lines about what the log has refused
}

// New returns a Coordinator that coordinates nothing yet. Its RoleChanged is to be
// subscribed to replica.Replicas before roles are given.
func New(cfg Config, log statelog.Log) (*Coordinator, error) {
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
		settings: cfg.Settings,
		log:      log,
		logger:   cfg.Logger,
		loads:    statelog.NewLoads(protocol.ConsumerOffsetsTopic, "groups", log, cfg.Logger),
	}
	c.budget.limit, c.budget.logger = cfg.MemoryBytes, cfg.Logger
	c.led = statelog.NewLeaderships(protocol.ConsumerOffsetsTopic, cfg.Partitions, c.newPartition, func(p *partition) {
		c.background.Go(func() { c.load(p) })
	})
	return c, nil
}

// Start begins to answer requests, to load the partitions that this broker leads
// already, and to look for expired offsets. Errors are those of Config.Partitions.
func (c *Coordinator) Start(ctx context.Context) error {
	if _, err := c.led.Number(ctx); err != nil && !errors.Is(err, kerr.CoordinatorNotAvailable) {
		return err
	}
	ctx, c.stop = context.WithCancel(context.Background())
	c.led.Start()
	c.background.Go(func() { c.expireNowAndThen(ctx) })
	return nil
}

// Stop answers whoever waits with kerr.NotCoordinator, and every request from now on
// with kerr.CoordinatorNotAvailable.
func (c *Coordinator) Stop(context.Context) error {
	if c.stop != nil {
		c.stop()
	}
	for _, p := range c.led.Stop() {
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
	if ended := c.led.RoleChanged(e); ended != nil {
		n := ended.resign()
		level := slog.LevelInfo
		if n == 0 {
			level = slog.LevelDebug
		}
		c.logger.Log(context.Background(), level, "resigned from coordinating the groups of a partition", "partition", ended.number, "epoch", e.Epoch, "groups", n)
	}
}

func (c *Coordinator) newPartition(number, epoch int32) *partition {
	p := &partition{number: number, epoch: epoch, acks: c.settings.RequiredAcks, budget: &c.budget}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.appender = statelog.NewAppender(statelog.AppenderConfig[queued]{
		Log: c.log, Topic: protocol.ConsumerOffsetsTopic, Partition: number, Epoch: epoch,
		Encode: newEncoder(c.settings.Codec).encode, Timeout: c.settings.CommitTimeout,
		Logger: c.logger, Refusals: &c.refusals, Spawn: c.background.Go,
	})
	return p
}

// PartitionsDeleted removes the offsets of partitions that were deleted. It is to be
// told of them on every broker: it removes them from the groups that it coordinates.
func (c *Coordinator) PartitionsDeleted(partitions []protocol.TopicPartition) {
	if slices.ContainsFunc(partitions, func(tp protocol.TopicPartition) bool { return tp.Topic == protocol.ConsumerOffsetsTopic }) {
		c.led.TopicDeleted()
	}
	for _, p := range c.led.All() {
		p.partitionsDeleted(partitions)
	}
}

// PartitionFor is the partition of __consumer_offsets that a group belongs to. Errors are
// those of Config.Partitions, and kerr.CoordinatorNotAvailable if there is no such topic.
func (c *Coordinator) PartitionFor(ctx context.Context, group string) (int32, error) {
	return c.led.PartitionFor(ctx, group)
}

// find finds a group, nil if there is none of that name. Errors are those that every
// request may have: kerr.CoordinatorNotAvailable, NotCoordinator,
// CoordinatorLoadInProgress.
func (c *Coordinator) find(group string) (*hosted, error) {
	p, err := c.led.Find(group)
	if err != nil {
		return nil, err
	}
	return p.table.Get(group)
}

func (c *Coordinator) findOrCreate(group string) (*hosted, error) {
	p, err := c.led.Find(group)
	if err != nil {
		return nil, err
	}
	return p.findOrCreate(group, func() *classicGroup { return newClassicGroup(group, &c.settings.Limits, time.Now()) })
}
