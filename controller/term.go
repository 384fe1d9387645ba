package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

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
	// rebalanceTimer raises the flag to look at leaderships; nil if nobody wants that.
	rebalanceTimer *time.Timer
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
	t.rebalanceAfter(firstRebalance)
	return t, nil
}

// end stops all outboxes.
func (t *term) end() {
	if t.rebalanceTimer != nil {
		t.rebalanceTimer.Stop()
	}
	t.cancel()
	t.wg.Wait()
}

// handle reacts to what happened. Topics come before their deletion, and brokers
// before topics, so that what is new finds what it is about.
func (t *term) handle(e events) error {
	for _, step := range []struct {
		due bool
		do  func() error
	}{
		{e.brokers, t.readBrokers},
		{e.topics, t.readTopics},
		{len(e.topicData) > 0, func() error { return t.readAssignments(e.topicData) }},
		{e.deletions, t.readDeletions},
		{e.preferred, t.electPreferred},
		{e.logDirs, t.readLogDirEvents},
		{e.isrChanges, t.readISRChanges},
		{len(e.receipts) > 0, func() error { return t.readReceipts(e.receipts) }},
		{len(e.alterations) > 0, func() error { return t.alterPartitions(e.alterations) }},
		{len(e.questions) > 0, func() error { return t.answer(e.questions) }},
		{e.unclean, t.electLeaderless},
		{e.rebalance, t.rebalance},
	} {
		if step.due {
			if err := step.do(); err != nil {
				return err
			}
		}
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

// startReplicas elects where leaders are missing, tells every live broker its part in
// all partitions that have a state, and every broker all states; then dead replicas
// leave the ISR.
//
// The elections come first, so that their outcome is first in every outbox: brokers
// know most of the rest from the controller before, and clients wait for leaders only.
func (t *term) startReplicas() error {
	gone := func(id int32, tp protocol.TopicPartition) bool { return !t.st.alive(id, tp) }
	affected, err := t.electInsteadOf(gone)
	if err != nil {
		return err
	}
	var b batch
	for _, p := range t.st.selectPartitions(func(p *partition) bool { return p.stored && p.status != statusDeleting }) {
		b.announce(t.st, p, p.assignment.Replicas, false)
	}
	b.post(t.st)
	return t.takeOutOfISRs(affected, gone)
}

// publish updates what others see of this term.
func (t *term) publish() {
	epochs := make(map[int32]int64, len(t.st.brokers))
	for id, b := range t.st.brokers {
		epochs[id] = b.Epoch
	}
	t.c.active.Store(&office{claim: t.claim, ctx: t.ctx, epochs: epochs})
}
