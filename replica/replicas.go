package replica

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage"
)

// Config is what Replicas needs to know.
type Config struct {
	BrokerID int32
	// TopicConfig reads a topic's configuration as ZooKeeper has it now. It is
	// asked when the topic gets its first log here, and may block.
	TopicConfig func(ctx context.Context, topic string) (*config.Topic, error)
	// Peers reaches leaders to follow, and the controller. Without it this broker
	// can lead alone, and follow nobody.
	Peers Peers
	// BrokerEpoch is the epoch of this broker's current registration. It is needed
	// together with Peers.
	BrokerEpoch func() int64
	Replication config.Replication
	// LookAgain asks the controller to ask this broker for all its replicas again, as
	// after the failure of a log directory; nil if nobody does.
	LookAgain func()
	Logger    *slog.Logger // nil discards
}

// Replicas are the partitions that this broker hosts.
//
// Locks: changes serialises what the controller and failing disks change, and
// comes before every other lock of this package and of storage. Requests of
// clients never take it.
type Replicas struct {
	broker      int32
	topicConfig func(ctx context.Context, topic string) (*config.Topic, error)
	store       *storage.Store
	view        *cluster.View
	logger      *slog.Logger

	table    *table
	events   events
	shared   *shared
	fetchers *fetchers // nil without peers

	lookAgain func() // or nil
	refusals  refusals

	stopReviews context.CancelFunc
	reviews     sync.WaitGroup

	changes         sync.Mutex
	controllerEpoch int32 // changes: the highest seen
}

// New returns Replicas that host nothing yet: what this broker leads and follows
// is for the controller to say. It subscribes to the store's failures and
// flushes, so that it comes before Store.Start.
func New(cfg Config, store *storage.Store, view *cluster.View) (*Replicas, error) {
	if cfg.BrokerID < 0 || cfg.TopicConfig == nil {
		return nil, errors.New("replica: a broker id and the topics' configurations are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Replicas{
		broker:      cfg.BrokerID,
		topicConfig: cfg.TopicConfig,
		store:       store,
		view:        view,
		logger:      cfg.Logger,
		lookAgain:   cfg.LookAgain,
		table:       newTable(),
		shared:      &shared{broker: cfg.BrokerID, lagMax: cfg.Replication.LagTimeMax, view: view, syncer: newSyncer(cfg.Logger)},
	}
	if cfg.Peers != nil {
		if cfg.BrokerEpoch == nil || cfg.Replication.LagTimeMax <= 0 {
			return nil, errors.New("replica: with peers, the broker's epoch and the settings of replication are required")
		}
		r.shared.inquiries = newInquiries(cfg.BrokerID, cfg.Peers)
		r.shared.alters = newAlters(cfg.BrokerID, cfg.BrokerEpoch, cfg.Peers, view, cfg.Logger)
		r.fetchers = newFetchers(cfg.BrokerID, cfg.BrokerEpoch, cfg.Replication, cfg.Peers, cfg.Logger)
	}
	store.OnDirFailure(func(_ string, partitions []protocol.TopicPartition) { r.failed(partitions) })
	store.OnFlush(r.flushed)
	return r, nil
}

// Start begins to sync partitions with flush.messages, to fetch those that this
// broker follows, and to watch over the in-sync replicas of those that it leads.
func (r *Replicas) Start(context.Context) error {
	r.shared.syncer.start()
	if r.fetchers != nil {
		r.shared.alters.start()
		r.fetchers.start()
		ctx, cancel := context.WithCancel(context.Background())
		r.stopReviews = cancel
		r.reviews.Go(func() { r.reviewISRs(ctx) })
		r.reviews.Go(func() { r.watchBrokers(ctx) })
	}
	return nil
}

// reviewISRs has followers that lag leave the ISR, and those join that were not let in
// when they came. They are looked for twice in the time that they may lag.
func (r *Replicas) reviewISRs(ctx context.Context) {
	ticker := time.NewTicker(max(r.shared.lagMax/2, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for p := range r.table.all() {
				p.dropLaggards(now)
				p.addCaughtUp()
				p.localMoved() // a follower that lags and is not in sync is not waited for any more
			}
			if r.lookAgain != nil && r.refusals.settle(r.view.Snapshot(), r.broker, r.uncleanAllowed) {
				r.lookAgain()
			}
		}
	}
}

// watchBrokers looks again at what waits for other replicas, when brokers have come or
// gone: one that is about to join the in-sync replicas is waited for as long as it lives.
// Whoever is left does not fetch a second time what it has, so that nothing else would
// move the high watermark. Kafka's followers fetch each partition again and again.
func (r *Replicas) watchBrokers(ctx context.Context) {
	known := r.view.Snapshot().Brokers()
	for {
		s, err := r.view.Wait(ctx, func(s *cluster.Snapshot) bool { return !sameBrokers(s.Brokers(), known) })
		if err != nil {
			return
		}
		known = s.Brokers()
		for p := range r.table.all() {
			p.localMoved()
		}
	}
}

func sameBrokers(a, b []cluster.Broker) bool {
	return slices.EqualFunc(a, b, func(a, b cluster.Broker) bool { return a.ID == b.ID })
}

// uncleanAllowed says whether unclean.leader.election.enable allows this broker to lead a
// partition, whatever its log lacks.
func (r *Replicas) uncleanAllowed(tp protocol.TopicPartition) bool {
	p := r.table.get(tp)
	if p == nil {
		return false
	}
	log := p.role.Load().log
	return log != nil && log.Config().UncleanLeaderElection
}

// Stop ends that, and completes the produces that still wait with
// kerr.NotLeaderForPartition, by which clients try elsewhere. The partitions stay
// readable: closing their logs is the store's work.
func (r *Replicas) Stop(context.Context) error {
	if r.stopReviews != nil {
		r.stopReviews()
		r.reviews.Wait()
	}
	if r.fetchers != nil {
		r.fetchers.stop()
		r.shared.alters.stop()
		r.shared.inquiries.stop()
	}
	r.shared.syncer.stop()
	for p := range r.table.all() {
		p.waiters.failAll(fmt.Errorf("%v: the broker is stopping: %w", p.tp, kerr.NotLeaderForPartition))
	}
	return nil
}

// Partition finds a partition that this broker hosts. Errors wrap
// kerr.KafkaStorageError if its log directory has failed, NotLeaderForPartition
// if it is known to be elsewhere, else UnknownTopicOrPartition.
func (r *Replicas) Partition(tp protocol.TopicPartition) (*Partition, error) {
	if p := r.table.get(tp); p != nil {
		if role := p.role.Load(); role.gone != nil {
			return nil, role.serve(tp, false, NoEpoch)
		}
		return p, nil
	}
	if _, exists := r.view.Snapshot().Partition(tp); exists {
		return nil, fmt.Errorf("%v is on other brokers: %w", tp, kerr.NotLeaderForPartition)
	}
	return nil, fmt.Errorf("%v: %w", tp, kerr.UnknownTopicOrPartition)
}

// ByTopicID finds a partition by its topic's id (KIP-516), and returns its name
// as far as the cluster knows it. Errors are those of Partition, and
// kerr.UnknownTopicID or InconsistentTopicID if the replica here belongs to
// another incarnation of the topic.
func (r *Replicas) ByTopicID(id protocol.TopicID, partition int32) (*Partition, protocol.TopicPartition, error) {
	topic, ok := r.view.Snapshot().TopicByID(id)
	if !ok {
		return nil, protocol.TopicPartition{Partition: partition}, fmt.Errorf("topic id %v: %w", id, kerr.UnknownTopicID)
	}
	tp := protocol.TopicPartition{Topic: topic.Name, Partition: partition}
	p, err := r.Partition(tp)
	if err != nil {
		return nil, tp, err
	}
	if own := p.TopicID(); !own.IsZero() && own != id {
		return nil, tp, fmt.Errorf("%v has topic id %v here and not %v: %w", tp, own, id, kerr.InconsistentTopicID)
	}
	return p, tp, nil
}

// All iterates over the partitions that are hosted, in no order.
func (r *Replicas) All() iter.Seq[*Partition] {
	return func(yield func(*Partition) bool) {
		for p := range r.table.all() {
			if p.role.Load().gone == nil && !yield(p) {
				return
			}
		}
	}
}

// flushed follows up on an fsync that flush.ms has asked for.
func (r *Replicas) flushed(tp protocol.TopicPartition) {
	if p := r.table.get(tp); p != nil {
		p.localMoved()
	}
}
