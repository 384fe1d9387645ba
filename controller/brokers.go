package controller

import (
	"reflect"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// listBrokers reads the registrations and arms their watches.
func (t *term) listBrokers() ([]zkmeta.LiveBroker, error) {
	live, malformed, err := t.zk.Brokers(t.ctx, t.watch.brokers, t.watch.brokers)
	for _, err := range malformed {
		t.logger.Error("a broker's registration cannot be read; the broker is left out", "error", err)
	}
	return live, err
}

// open starts the outbox of a broker.
func (t *term) open(b *broker) {
	if _, ok := endpointOf(b.LiveBroker, t.cfg.Listener); !ok {
		t.logger.Error("a broker does not have the controller's listener and cannot be told anything", "broker", b.ID, "listener", t.cfg.Listener)
		return
	}
	b.outbox = &outbox{
		broker:  b.ID,
		epoch:   b.Epoch,
		from:    identity{t.claim.BrokerID, t.claim.Epoch},
		sender:  t.c.sender,
		backoff: t.cfg.ResendBackoff,
		logger:  t.logger,
		brokers: newBrokerSet(nil, ""),
		report: func(r receipt) {
			if len(r.roles)+len(r.stops) > 0 {
				t.c.inbox.put(func(e *events) { e.receipts = append(e.receipts, r) })
			}
		},
	}
	startOutbox(t.ctx, &t.wg, b.outbox)
}

// brokersChanged tells all brokers who lives now.
func (t *term) brokersChanged() {
	t.brokers = newBrokerSet(t.st.liveBrokers(), t.cfg.InterBroker)
	for _, b := range t.st.brokers {
		if b.outbox != nil {
			endpoint, _ := endpointOf(b.LiveBroker, t.cfg.Listener)
			b.outbox.setBrokers(t.brokers, endpoint)
		}
	}
	t.publish()
}

// readBrokers compares the registrations with what was known. A broker that has
// another epoch was restarted in between: it is treated as one that went and one that
// came.
func (t *term) readBrokers() error {
	live, err := t.listBrokers()
	if err != nil {
		return err
	}
	registered := make(map[int32]bool, len(live))
	var came []zkmeta.LiveBroker
	gone := map[int32]bool{}
	moved := false
	for _, b := range live {
		registered[b.ID] = true
		known, ok := t.st.brokers[b.ID]
		switch {
		case !ok:
			came = append(came, b)
		case known.Epoch != b.Epoch:
			gone[b.ID] = true
			came = append(came, b)
		case !reflect.DeepEqual(known.Endpoints, b.Endpoints) || known.Rack != b.Rack:
			known.LiveBroker = b
			if known.outbox == nil {
				t.open(known)
			}
			moved = true
		}
	}
	for id := range t.st.brokers {
		if !registered[id] {
			gone[id] = true
		}
	}
	if len(gone) > 0 {
		if err := t.brokersWent(gone); err != nil {
			return err
		}
	}
	if len(came) > 0 {
		return t.brokersCame(came)
	}
	if moved {
		t.brokersChanged()
	}
	return nil
}

func (t *term) brokersWent(ids map[int32]bool) error {
	for id := range ids {
		t.logger.Info("a broker is gone", "broker", id)
		if o := t.st.brokers[id].outbox; o != nil {
			o.close()
		}
		delete(t.st.brokers, id)
	}
	t.brokersChanged()
	return t.replicasWentOffline(func(id int32, _ protocol.TopicPartition) bool { return ids[id] })
}

// brokersCame tells new brokers everything, the others that they are there, and
// elects where they make it possible.
func (t *term) brokersCame(came []zkmeta.LiveBroker) error {
	for _, b := range came {
		t.logger.Info("a broker is here", "broker", b.ID, "broker epoch", b.Epoch)
		fresh := &broker{LiveBroker: b, offline: map[protocol.TopicPartition]bool{}}
		t.st.brokers[b.ID] = fresh
		t.open(fresh)
	}
	t.brokersChanged()
	var fresh []*news // all states, for those who know none
	var hosted batch  // for everybody: of these, fewer replicas are offline than before
	for _, p := range t.st.selectPartitions(func(p *partition) bool { return p.stored }) {
		fresh = append(fresh, t.st.newsOf(p))
		var hosts []int32
		for _, b := range came {
			if slices.Contains(p.assignment.Replicas, b.ID) {
				hosts = append(hosts, b.ID)
			}
		}
		if len(hosts) > 0 && p.status != statusDeleting {
			hosted.announce(t.st, p, hosts, false)
		}
	}
	for _, b := range came {
		if o := t.st.brokers[b.ID].outbox; o != nil {
			o.add(func(m *mail) {
				for _, n := range fresh {
					m.addState(n)
				}
			})
		}
	}
	hosted.post(t.st)
	if err := t.electLeaderless(); err != nil {
		return err
	}
	return t.deletionsGotBrokers(came)
}

// readLogDirEvents asks the brokers that report a failed log directory for all of
// their replicas: telling them their roles again makes them answer which are gone.
func (t *term) readLogDirEvents() error {
	ids, names, err := t.zk.LogDirEvents(t.ctx, t.watch.logDirs)
	if err != nil {
		return err
	}
	for _, id := range ids {
		b, live := t.st.brokers[id]
		if !live || b.outbox == nil {
			continue
		}
		t.logger.Warn("a broker asks for its replicas: a log directory has failed, or has room again", "broker", id)
		hosted := t.st.selectPartitions(func(p *partition) bool {
			return p.stored && p.status != statusDeleting && slices.Contains(p.assignment.Replicas, id)
		})
		b.outbox.add(func(m *mail) {
			for _, p := range hosted {
				m.addRole(t.st.newsOf(p), false)
			}
		})
	}
	return t.zk.DeleteLogDirEvents(t.ctx, t.claim, names)
}

// readISRChanges takes over what leaders with an inter-broker protocol before 2.7
// have written themselves, and lets all brokers know.
func (t *term) readISRChanges() error {
	tps, names, err := t.zk.ISRChanges(t.ctx, t.watch.isrChanges)
	if err != nil {
		return err
	}
	entries, err := t.zk.PartitionStates(t.ctx, tps)
	if err != nil {
		return err
	}
	var b batch
	for _, e := range entries {
		if p, known := t.st.partition(e.TopicPartition); known && p.stored && e.Err == nil && p.status != statusDeleting {
			t.st.setState(p, e.State, e.ZkVersion)
			b.state(t.st, p)
		}
	}
	b.post(t.st)
	return t.zk.DeleteISRChanges(t.ctx, t.claim, names)
}

// readReceipts takes in what brokers answered: which replicas could be made, and
// which were removed.
func (t *term) readReceipts(receipts []receipt) error {
	failed := map[int32]map[protocol.TopicPartition]bool{}
	back := false
	for _, r := range receipts {
		b, live := t.st.brokers[r.broker]
		if !live || b.Epoch != r.epoch || r.term != t.claim.Epoch {
			continue // the answer of a registration, or in a term, that has ended
		}
		for tp, code := range r.roles {
			p, known := t.st.partition(tp)
			if !known || p.status == statusDeleting {
				continue
			}
			switch {
			case code == kerr.KafkaStorageError.Code && !b.offline[tp]:
				b.offline[tp] = true
				if failed[r.broker] == nil {
					failed[r.broker] = map[protocol.TopicPartition]bool{}
				}
				failed[r.broker][tp] = true
			case code == 0 && b.offline[tp]:
				delete(b.offline, tp)
				back = true
			}
		}
		t.replicasRemoved(r)
	}
	if len(failed) > 0 {
		err := t.replicasWentOffline(func(id int32, tp protocol.TopicPartition) bool { return failed[id][tp] })
		if err != nil {
			return err
		}
	}
	if back { // there was no room for it on the disk, say, and now there is
		if err := t.electLeaderless(); err != nil {
			return err
		}
	}
	return t.resumeDeletions()
}
