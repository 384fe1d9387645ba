package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

func (p *parts) openDirectories(context.Context) (err error) {
	p.store, err = storage.Open(storage.Config{
		Storage:                 p.cfg.Storage,
		ProducerExpiration:      p.cfg.Producers.Expiration,
		ProducerExpirationCheck: p.cfg.Producers.ExpirationCheck,
		VerifyTransactions:      func() bool { return p.settings.Broker().Transactions.Verify },
		FileDeleteDelay: func() time.Duration {
			return milliseconds(p.settings.Broker().Log.FileDeleteDelayMS)
		},
		Compaction: func() config.Cleaner { return p.settings.Broker().Cleaner },
	}, p.env.FS, commitlog.NewFileCache(maxOpenFiles(p.cfg.Storage.MaxOpenFiles)), p.logger)
	if err != nil {
		return err
	}
	p.store.OnAllFailed(p.fail)
	return nil
}

// milliseconds is ms as a Duration, at most the longest there is: some of Kafka's
// settings take 2⁶³−1 for "never".
func milliseconds(ms int64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// maxOpenFiles is the bound of the descriptor cache: what is configured, else
// half of what the process may have. The other half is for connections.
func maxOpenFiles(configured int) int {
	if configured > 0 {
		return configured
	}
	const fallback = 1024
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fallback
	}
	const enough = 100_000
	return int(min(limit.Cur/2, enough))
}

// identify agrees with ZooKeeper and the log directories on which cluster this
// is and which broker.
func (p *parts) identify(ctx context.Context) (err error) {
	if err := p.zk.EnsurePaths(ctx); err != nil {
		return err
	}
	meta := p.store.Meta()
	// A cluster that has no id yet is either new or not the one that these
	// directories belong to; only the first may be given one.
	if p.clusterID, err = p.zk.ClusterID(ctx, meta.ClusterID == ""); err != nil {
		return err
	}
	if p.clusterID == "" {
		return fmt.Errorf("the log directories belong to cluster %s, but this ZooKeeper holds no cluster (wrong zookeeper.connect or chroot, or its data is lost)", meta.ClusterID)
	}
	switch {
	case p.cfg.ID >= 0:
		p.id = p.cfg.ID
	case meta.BrokerID >= 0:
		p.id = meta.BrokerID
	case p.cfg.IDGeneration:
		if p.id, err = p.zk.BrokerSequenceID(ctx); err != nil {
			return err
		}
		p.id += p.cfg.ReservedMaxID
	default:
		return errors.New("broker.id is not set, and broker.id.generation.enable=false forbids to generate one")
	}
	p.settings.SetBrokerID(p.id)
	return p.store.Identify(p.id, p.clusterID)
}

// startChanges brings the settings up to what ZooKeeper says, before logs are
// opened with them, and keeps them there.
func (p *parts) startChanges(ctx context.Context) (err error) {
	p.changes, err = topics.NewChanges(topics.ChangesConfig{
		BrokerID: p.id,
		Topic: func(topic string, own map[string]string) {
			settings := p.settings.Topic(own)
			p.store.SetTopicConfig(topic, settings)
			if settings.UncleanLeaderElection {
				p.unclean.tell(struct{}{})
			}
		},
		Broker: p.defaultsChanged,
		Logger: p.logger,
	}, p.zk, p.settings)
	if err != nil {
		return err
	}
	p.events.subscribe(p.changes.OnSession)
	return p.changes.Start(ctx)
}

// defaultsChanged acts on another dynamic configuration of this broker.
func (p *parts) defaultsChanged() {
	p.reloadTopics()
	if p.settings.Broker().Log.UncleanLeaderElection {
		p.unclean.tell(struct{}{})
	}
}

// reloadTopics gives every log the configuration that follows from new defaults.
func (p *parts) reloadTopics() {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.ZooKeeper.SessionTimeout)
	defer cancel()
	own, err := topics.TopicConfigs(ctx, p.zk)
	if err != nil {
		p.logger.Error("the broker's new defaults are not in effect for topics that exist", "error", err)
		return
	}
	done := map[string]bool{}
	for tp := range p.store.Logs() {
		if !done[tp.Topic] {
			done[tp.Topic] = true
			p.store.SetTopicConfig(tp.Topic, p.settings.Topic(own[tp.Topic]))
		}
	}
}

func (p *parts) startFeatures(ctx context.Context) error {
	p.features = newFeatures(p.zk, p.logger)
	p.events.subscribe(p.features.onSession)
	return p.features.start(ctx)
}

func (p *parts) stopFeatures(ctx context.Context) error { return p.features.stop(ctx) }

func (p *parts) stopChanges(ctx context.Context) error { return p.changes.Stop(ctx) }

func (p *parts) loadLogs(ctx context.Context) error {
	own, err := topics.TopicConfigs(ctx, p.zk)
	if err != nil {
		return fmt.Errorf("read the topics' configurations: %w", err)
	}
	return p.store.Load(ctx, func(topic string) *config.Topic { return p.settings.Topic(own[topic]) })
}

func (p *parts) startFailures(ctx context.Context) error {
	p.failures = newFailures(p.zk, p.id, p.logger)
	p.store.OnDirFailure(func(string, []protocol.TopicPartition) { p.failures.happened() })
	p.store.OnRoom(p.failures.happened)
	return p.failures.start(ctx)
}

func (p *parts) stopFailures(ctx context.Context) error { return p.failures.stop(ctx) }

// startReplicas makes the logs known as partitions without a role, and starts
// their upkeep; what this broker leads is for the controller to say.
func (p *parts) startReplicas(ctx context.Context) (err error) {
	p.replicas, err = replica.New(replica.Config{
		BrokerID: p.id,
		TopicConfig: func(ctx context.Context, topic string) (*config.Topic, error) {
			own, err := p.zk.Config(ctx, zkmeta.TopicConfig(topic))
			return p.settings.Topic(own), err
		},
		Peers:       p.peers,
		BrokerEpoch: p.registration.Epoch,
		Replication: p.cfg.Replication,
		LookAgain:   p.failures.happened,
		Logger:      p.logger,
	}, p.store, p.view)
	if err != nil {
		return err
	}
	if err := p.store.Start(ctx); err != nil {
		return err
	}
	return p.replicas.Start(ctx)
}

func (p *parts) stopReplicas(ctx context.Context) error { return p.replicas.Stop(ctx) }
