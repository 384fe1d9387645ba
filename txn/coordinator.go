package txn

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/statelog"
)

// Config is what a Coordinator needs to know.
type Config struct {
	Settings
	// PartitionsOf reads how many partitions a topic has, 0 if there is no such topic,
	// where the cluster's truth is: of __transaction_state, and of topics that this
	// broker's view does not have, to know whether markers are still to be written. It
	// may block.
	PartitionsOf func(ctx context.Context, topic string) (int32, error)
	// NextProducerID returns a producer id that nobody has. It may block. Its error is
	// given to the client.
	NextProducerID func(ctx context.Context) (int64, error)
	Logger         *slog.Logger // nil discards
}

// Coordinator coordinates the transactions of the ids whose partitions of
// __transaction_state this broker leads.
//
// All methods may be called by any goroutine. Replies are given outside of all locks,
// perhaps before the method returns and perhaps by the goroutine that acknowledges a
// write, so that they must not block. A request is answered once, at the latest when the
// leadership ends.
type Coordinator struct {
	settings Settings
	nextID   func(ctx context.Context) (int64, error)
	log      statelog.Log
	logger   *slog.Logger

	led        *statelog.Leaderships[partition]
	loads      statelog.Loads
	markers    *markers
	background sync.WaitGroup
	stop       context.CancelFunc

	budget   budget
	stats    counters
	refusals loglimit.Limit // lines about what the log has refused
}

// New returns a Coordinator that coordinates nothing yet. Its RoleChanged is to be
// subscribed to replica.Replicas before roles are given. Markers are sent to the leaders
// that the view knows.
func New(cfg Config, log statelog.Log, view *cluster.View, sender Sender) (*Coordinator, error) {
	if cfg.PartitionsOf == nil || cfg.NextProducerID == nil || log == nil || view == nil || sender == nil {
		return nil, errors.New("txn: numbers of partitions, producer ids, the log of __transaction_state, the view and the sender are required")
	}
	if cfg.MaxTimeout <= 0 || cfg.Expiration <= 0 || cfg.AbortInterval <= 0 || cfg.ExpirationInterval <= 0 || cfg.RequestTimeout <= 0 || cfg.LoadBufferBytes <= 0 || cfg.MemoryBytes <= 0 {
		return nil, errors.New("txn: timeouts, intervals, load buffer and memory must be positive")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{
		settings: cfg.Settings,
		nextID:   cfg.NextProducerID,
		log:      log,
		logger:   cfg.Logger,
		loads:    statelog.NewLoads(protocol.TransactionStateTopic, "producers", log, cfg.Logger),
		markers:  newMarkers(cfg, view, sender),
	}
	c.budget.limit, c.budget.logger = cfg.MemoryBytes, cfg.Logger
	count := func(ctx context.Context) (int32, error) { return cfg.PartitionsOf(ctx, protocol.TransactionStateTopic) }
	c.led = statelog.NewLeaderships(protocol.TransactionStateTopic, count, c.newPartition, func(p *partition) {
		c.background.Go(func() { c.load(p) })
	})
	return c, nil
}

// Start begins to answer requests, to load the partitions that this broker leads
// already, and to look for transactions that take too long and ids that nobody uses.
// The context limits the start only. Errors are those of Config.PartitionsOf.
func (c *Coordinator) Start(ctx context.Context) error {
	if _, err := c.led.Number(ctx); err != nil && !errors.Is(err, errNotAvailable) {
		return err
	}
	ctx, c.stop = context.WithCancel(context.Background())
	c.led.Start()
	c.background.Go(func() { c.scan(ctx) })
	return nil
}

// Stop answers whoever waits with kerr.NotCoordinator, and every request from now on
// with kerr.CoordinatorNotAvailable. Markers that are on their way may arrive.
func (c *Coordinator) Stop(context.Context) error {
	if c.stop != nil {
		c.stop()
	}
	for _, p := range c.led.Stop() {
		p.resign()
	}
	c.markers.stop()
	c.background.Wait()
	return nil
}

// RoleChanged is told of every change of this broker's role in a partition, in the
// order in which they happened. It does not wait for anything to be loaded.
func (c *Coordinator) RoleChanged(e replica.RoleEvent) {
	if e.Partition.Topic != protocol.TransactionStateTopic {
		return
	}
	if ended := c.led.RoleChanged(e); ended != nil {
		n := ended.resign()
		level := slog.LevelInfo
		if n == 0 {
			level = slog.LevelDebug
		}
		c.logger.Log(context.Background(), level, "resigned from coordinating the transactions of a partition", "partition", ended.number, "epoch", e.Epoch, "ids", n)
	}
}

// PartitionsDeleted is told of partitions that were deleted.
func (c *Coordinator) PartitionsDeleted(partitions []protocol.TopicPartition) {
	for _, tp := range partitions {
		if tp.Topic == protocol.TransactionStateTopic {
			c.led.TopicDeleted()
		}
	}
}

// PartitionFor is the partition of __transaction_state that an id belongs to. Errors are
// those of Config.PartitionsOf, and kerr.CoordinatorNotAvailable if there is no such topic.
func (c *Coordinator) PartitionFor(ctx context.Context, id string) (int32, error) {
	return c.led.PartitionFor(ctx, id)
}

func (c *Coordinator) newPartition(number, epoch int32) *partition {
	p := &partition{c: c, number: number, epoch: epoch}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.appender = statelog.NewAppender(statelog.AppenderConfig[queued]{
		Log: c.log, Topic: protocol.TransactionStateTopic, Partition: number, Epoch: epoch,
		Encode: newEncoder().encode, Timeout: c.settings.RequestTimeout,
		Logger: c.logger, Refusals: &c.refusals, Spawn: c.background.Go,
	})
	return p
}

// find finds an id, nil if it is not known. Errors are those that every request may
// have: kerr.CoordinatorNotAvailable, NotCoordinator, CoordinatorLoadInProgress.
func (c *Coordinator) find(id string) (*partition, *hosted, error) {
	p, err := c.led.Find(id)
	if err != nil {
		return nil, nil, err
	}
	h, err := p.table.Get(id)
	return p, h, err
}
