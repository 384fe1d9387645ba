package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// term is the time from one election won to its end: the claim that fences its
// writes, the state read at its beginning and kept since, and the outboxes. It
// belongs to the loop's goroutine. Every method returns an error only if the term
// cannot go on.
type term struct {
	c      *Controller
	cfg    Config
	logger *slog.Logger
	watch  watches
	claim  zkmeta.Claim
	zk     *zkmeta.Client // in the claim's session
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // outboxes

	st      *state
	brokers *brokerSet
	// unreadable are topics whose znode does not parse. They are left alone, and
	// reported once.
	unreadable map[string]bool
}

// beginTerm reads the cluster's state and brings it in order, step by step as Kafka's
// controller does. It returns the term also with an error.
func beginTerm(l *loop, claim zkmeta.Claim) (*term, error) {
	t := &term{
		c: l.c, cfg: l.cfg, logger: l.logger, watch: l.watch,
		claim: claim, zk: l.zk.In(claim.Session),
		st: newState(), unreadable: map[string]bool{},
	}
	t.ctx, t.cancel = context.WithCancel(l.tenancy.ctx)
	for _, step := range []func() error{
		t.setUpFeatures,
		t.dropNotifications,
		t.load,
		t.listDeletions,
		t.takeOffice,
		t.startReplicas,
		t.resumeDeletions,
		t.electPreferred,
	} {
		if err := step(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// end stops all outboxes.
func (t *term) end() {
	t.cancel()
	t.wg.Wait()
}

// handle reacts to what happened. Topics come before their deletion, and brokers
// before topics, so that what is new finds what it is about.
func (t *term) handle(e events) error {
	if e.brokers {
		if err := t.readBrokers(); err != nil {
			return err
		}
	}
	if e.topics {
		if err := t.readTopics(); err != nil {
			return err
		}
	}
	if len(e.topicData) > 0 {
		if err := t.readAssignments(e.topicData); err != nil {
			return err
		}
	}
	if e.deletions {
		if err := t.readDeletions(); err != nil {
			return err
		}
	}
	if e.preferred {
		if err := t.electPreferred(); err != nil {
			return err
		}
	}
	if e.logDirs {
		if err := t.readLogDirEvents(); err != nil {
			return err
		}
	}
	if e.isrChanges {
		if err := t.readISRChanges(); err != nil {
			return err
		}
	}
	if len(e.receipts) > 0 {
		return t.readReceipts(e.receipts)
	}
	return nil
}

// setUpFeatures makes sure that finalized features are switched on (KIP-584). There
// are none in a cluster on ZooKeeper, and any would stop the brokers that do not know
// it, so that what stands there stays.
func (t *term) setUpFeatures() error {
	f, _, exists, err := t.zk.Feature(t.ctx, nil)
	var malformed *zkmeta.MalformedError
	switch {
	case errors.As(err, &malformed):
		t.logger.Error("the finalized features cannot be read and are left as they are", "error", err)
		return nil
	case err != nil:
		return err
	case exists && f.Enabled && f.Version == 2:
		return nil
	case len(f.Features) > 0:
		t.logger.Warn("finalized features of an older form are left as they are", "features", f.Features)
		return nil
	}
	_, err = t.zk.SetFeature(t.ctx, zkmeta.Feature{Version: 2, Enabled: true})
	return err
}

// dropNotifications deletes what was left for an earlier controller: all that it
// tells is read anew. The watches for further ones are armed.
func (t *term) dropNotifications() error {
	_, names, err := t.zk.LogDirEvents(t.ctx, t.watch.logDirs)
	if err != nil {
		return err
	}
	if err := t.zk.DeleteLogDirEvents(t.ctx, t.claim, names); err != nil {
		return err
	}
	_, names, err = t.zk.ISRChanges(t.ctx, t.watch.isrChanges)
	if err != nil {
		return err
	}
	return t.zk.DeleteISRChanges(t.ctx, t.claim, names)
}

// load reads brokers, topics and partition states, arming the watches.
func (t *term) load() error {
	live, err := t.listBrokers()
	if err != nil {
		return err
	}
	for _, b := range live {
		t.st.brokers[b.ID] = &broker{LiveBroker: b, offline: map[protocol.TopicPartition]bool{}}
	}
	names, err := t.zk.Topics(t.ctx, t.watch.topics)
	if err != nil {
		return err
	}
	added, err := t.addTopics(names)
	if err != nil {
		return err
	}
	tps := make([]protocol.TopicPartition, len(added))
	for i, p := range added {
		tps[i] = p.TopicPartition
	}
	entries, err := t.zk.PartitionStates(t.ctx, tps)
	if err != nil {
		return err
	}
	for i, e := range entries {
		switch {
		case e.Err == nil:
			t.st.setState(added[i], e.State, e.ZkVersion)
		case errors.Is(e.Err, kerr.UnknownTopicOrPartition): // it is new
		default:
			t.logger.Error("the state of a partition cannot be read; it is left alone", "partition", e.TopicPartition, "error", e.Err)
			t.st.retire(added[i], statusUnreadable)
		}
	}
	return nil
}

// takeOffice lets others see the new controller, and tells every broker who lives
// before it tells them anything else.
func (t *term) takeOffice() error {
	for _, b := range t.st.brokers {
		t.open(b)
	}
	t.brokersChanged()
	return nil
}

// startReplicas tells every live broker its part in all partitions that have a
// state, and every broker all states. Where leaders are missing it elects, and dead
// replicas leave the ISR.
func (t *term) startReplicas() error {
	var b batch
	for _, p := range t.st.selectPartitions(func(p *partition) bool { return p.stored && p.status != statusDeleting }) {
		b.announce(t.st, p, p.assignment.Replicas, false)
	}
	b.post(t.st)
	return t.replicasWentOffline(func(id int32, tp protocol.TopicPartition) bool { return !t.st.online(id, tp) })
}

// publish updates what others see of this term.
func (t *term) publish() {
	epochs := make(map[int32]int64, len(t.st.brokers))
	for id, b := range t.st.brokers {
		epochs[id] = b.Epoch
	}
	t.c.active.Store(&office{claim: t.claim, ctx: t.ctx, epochs: epochs})
}

// uncleanAllowed reads for which topics a replica outside the ISR may lead.
func (t *term) uncleanAllowed(topics map[string]bool) (map[string]bool, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	var entities []zkmeta.ConfigEntity
	for name := range topics {
		entities = append(entities, zkmeta.TopicConfig(name))
	}
	configs, err := t.zk.Configs(t.ctx, entities)
	if err != nil {
		return nil, fmt.Errorf("reading whether unclean election is allowed: %w", err)
	}
	allowed := map[string]bool{}
	for _, c := range configs {
		if c.Err != nil {
			t.logger.Error("a topic's configuration cannot be read; no unclean election", "topic", c.Entity.Name(), "error", c.Err)
			continue
		}
		allowed[c.Entity.Name()] = t.cfg.Settings.Topic(c.Values).UncleanLeaderElection
	}
	return allowed, nil
}
