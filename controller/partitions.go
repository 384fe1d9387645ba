package controller

import (
	"errors"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// writeChunk is how many partition states are written before the brokers are told:
// large enough to fill the pipeline to ZooKeeper, small enough that brokers make
// logs while the next ones are written.
const writeChunk = 1000

func chunks[T any](all []T, yield func([]T) error) error {
	for len(all) > 0 {
		n := min(len(all), writeChunk)
		if err := yield(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// createStates gives new partitions their first leader. Those without a live replica
// stay new until one comes.
func (t *term) createStates(partitions []*partition) error {
	return chunks(partitions, func(partitions []*partition) error {
		var entries []zkmeta.PartitionEntry
		var created []*partition
		for _, p := range partitions {
			first, ok := firstState(p.assignment.Replicas, t.st.liveReplica(p))
			if !ok {
				t.logger.Warn("a new partition has no live replica, and waits for one", "partition", p.TopicPartition, "replicas", p.assignment.Replicas)
				continue
			}
			first.ControllerEpoch = t.claim.Epoch
			entries = append(entries, zkmeta.PartitionEntry{TopicPartition: p.TopicPartition, State: first})
			created = append(created, p)
		}
		results, err := t.zk.CreatePartitionStates(t.ctx, t.claim, entries)
		if err != nil {
			return err
		}
		var b batch
		var found []*partition
		for i, r := range results {
			p := created[i]
			switch {
			case r.Err == nil:
				t.st.setState(p, r.State, r.ZkVersion)
				b.announce(t.st, p, r.State.ISR, true)
			case errors.Is(r.Err, session.ErrNodeExists):
				// Left by a controller that ended between this write and the next read of the
				// topics.
				t.st.setState(p, r.State, r.ZkVersion)
				b.announce(t.st, p, p.assignment.Replicas, false)
				if p.status == statusOffline {
					found = append(found, p)
				}
			default:
				t.logger.Warn("the state of a new partition was not written", "partition", p.TopicPartition, "error", r.Err)
			}
		}
		b.post(t.st)
		return t.electAll(electOffline, found)
	})
}

// electLeaderless tries again for all partitions without leader: new ones get their
// first state, offline ones an election.
func (t *term) electLeaderless() error {
	var fresh, offline []*partition
	for _, p := range t.st.electable() {
		if p.stored {
			offline = append(offline, p)
		} else {
			fresh = append(fresh, p)
		}
	}
	if err := t.createStates(fresh); err != nil {
		return err
	}
	return t.electAll(electOffline, offline)
}

// electAll elects leaders for partitions, and writes and announces the outcome. A
// partition for which no replica may lead stays as it is.
func (t *term) electAll(why election, partitions []*partition) error {
	unclean, err := t.uncleanCandidates(why, partitions)
	if err != nil {
		return err
	}
	next := func(p *partition) (zkmeta.PartitionState, bool) {
		return elect(why, p.state, candidates{
			assignment:   p.assignment.Replicas,
			live:         t.st.liveReplica(p),
			shuttingDown: t.st.leaving,
			unclean:      unclean[p.Topic],
		})
	}
	return t.change(partitions, next, func(b *batch, p *partition) {
		t.logger.Debug("elected", "partition", p.TopicPartition, "why", why, "leader", p.state.Leader, "isr", p.state.ISR, "leader epoch", p.state.LeaderEpoch)
		b.announce(t.st, p, p.assignment.Replicas, false)
	})
}

// change writes new states of partitions: next computes one from what is known, or
// says that there is nothing to write. A state that another wrote meanwhile is taken
// over, and the change computed again. done is called for each one written.
func (t *term) change(partitions []*partition, next func(*partition) (zkmeta.PartitionState, bool), done func(*batch, *partition)) error {
	return chunks(partitions, func(left []*partition) error {
		for len(left) > 0 {
			var entries []zkmeta.PartitionEntry
			var changing []*partition
			for _, p := range left {
				if p.state.ControllerEpoch > t.claim.Epoch {
					t.logger.Error("a partition was written by a controller of a later epoch; it is left alone",
						"partition", p.TopicPartition, "its epoch", p.state.ControllerEpoch, "epoch", t.claim.Epoch)
					continue
				}
				s, ok := next(p)
				if !ok {
					continue
				}
				s.ControllerEpoch = t.claim.Epoch
				entries = append(entries, zkmeta.PartitionEntry{TopicPartition: p.TopicPartition, State: s, ZkVersion: p.zkVersion})
				changing = append(changing, p)
			}
			results, err := t.zk.UpdatePartitionStates(t.ctx, t.claim, entries)
			if err != nil {
				return err
			}
			left = nil
			var b batch
			for i, r := range results {
				p := changing[i]
				switch {
				case r.Err == nil:
					t.st.setState(p, r.State, r.ZkVersion)
					done(&b, p)
				case errors.Is(r.Err, session.ErrBadVersion):
					t.st.setState(p, r.State, r.ZkVersion)
					left = append(left, p)
				default:
					t.logger.Warn("a partition's state was not written", "partition", p.TopicPartition, "error", r.Err)
				}
			}
			b.post(t.st)
		}
		return nil
	})
}

// replicasWentOffline handles replicas that do not live any more, by the failure of
// a broker or of a log directory: partitions that they led get another leader, and
// then they leave the ISR of all others. The last member of an ISR stays in it.
func (t *term) replicasWentOffline(gone func(id int32, tp protocol.TopicPartition) bool) error {
	affected, err := t.electInsteadOf(gone)
	if err != nil {
		return err
	}
	return t.takeOutOfISRs(affected, gone)
}

// electInsteadOf elects leaders for the partitions that replicas have led which are
// gone, and for whatever else has none. It returns all partitions with such a replica.
func (t *term) electInsteadOf(gone func(id int32, tp protocol.TopicPartition) bool) ([]*partition, error) {
	affected := t.st.selectPartitions(func(p *partition) bool {
		if !p.stored || p.status == statusDeleting {
			return false
		}
		for _, id := range p.assignment.Replicas {
			if gone(id, p.TopicPartition) {
				return true
			}
		}
		return false
	})
	for _, p := range affected {
		if p.state.Leader != zkmeta.NoLeader && !t.st.alive(p.state.Leader, p.TopicPartition) {
			t.st.setOffline(p)
		}
	}
	return affected, t.electLeaderless()
}

// takeOutOfISRs has replicas that are gone leave the ISRs of partitions.
func (t *term) takeOutOfISRs(affected []*partition, gone func(id int32, tp protocol.TopicPartition) bool) error {
	next := func(p *partition) (zkmeta.PartitionState, bool) {
		return withoutReplicas(p.state, func(id int32) bool { return gone(id, p.TopicPartition) })
	}
	err := t.change(affected, next, func(b *batch, p *partition) {
		b.announce(t.st, p, p.assignment.Replicas, false)
	})
	if err != nil {
		return err
	}
	// Others are to see which replicas are offline even where nothing was written.
	var b batch
	for _, p := range affected {
		b.state(t.st, p)
	}
	b.post(t.st)
	return t.deletionsLostReplicas(gone)
}

// electPreferred serves the request of a legacy tool that the first replica of some
// partitions lead again.
func (t *term) electPreferred() error {
	asked, exists, err := t.zk.PreferredElection(t.ctx, t.watch.preferred)
	var malformed *zkmeta.MalformedError
	if errors.As(err, &malformed) {
		t.logger.Error("a request for preferred leaders cannot be read and is dropped", "error", err)
		return t.zk.DeletePreferredElection(t.ctx, t.claim)
	}
	if err != nil || !exists {
		return err
	}
	var partitions []*partition
	for _, tp := range asked {
		p, known := t.st.partition(tp)
		if known && p.status != statusDeleting && p.stored && p.state.Leader != p.preferred() {
			partitions = append(partitions, p)
		}
	}
	sortPartitions(partitions)
	if err := t.electAll(electPreferred, partitions); err != nil {
		return err
	}
	return t.zk.DeletePreferredElection(t.ctx, t.claim)
}
