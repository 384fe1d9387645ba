package replica

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// RoleChange is what a LeaderAndIsr request says about one partition.
type RoleChange struct {
	Partition       protocol.TopicPartition
	TopicID         protocol.TopicID // zero if the controller gave none
	Leader          int32
	LeaderEpoch     int32
	PartitionEpoch  int32 // version of the partition's state in ZooKeeper
	ControllerEpoch int32 // of the controller that decided this
	Replicas, ISR   []int32
	IsNew           bool // the partition cannot have been here before
	// Recovering says that the leader was chosen outside of the in-sync replicas, by
	// an unclean election (KIP-704): what it lacks is given up.
	Recovering bool
}

// ApplyRoles makes this broker leader or follower as the controller says. err
// refuses the whole request and wraps kerr.StaleControllerEpoch; otherwise errs
// has one entry for each change, nil if it was applied, or is older than what is
// known of the partition's state. They wrap, as in Kafka:
//
//   - kerr.KafkaStorageError: the partition's log directory has failed, or there is
//     no room to create its log, or it lacks committed records and is to lead;
//   - InconsistentTopicID: the log here belongs to another incarnation;
//   - StaleControllerEpoch: the leader epoch is not newer than the known one;
//   - UnknownTopicOrPartition: this broker is none of the replicas.
//
// When it returns, subscribers have been told, or another goroutine is about to.
func (r *Replicas) ApplyRoles(ctx context.Context, controllerEpoch int32, changes []RoleChange) (errs []error, err error) {
	configs := r.configsOfNew(ctx, changes) // from ZooKeeper, hence without a lock
	defer r.refreshConfigs(ctx, configs)
	defer r.events.deliver()
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.checkController(controllerEpoch); err != nil {
		return nil, err
	}
	errs = make([]error, len(changes))
	forEach(len(changes), func(i int) { errs[i] = r.applyRole(&changes[i], configs) })
	return errs, nil
}

// ObserveController is the check of controller epochs for the requests that
// change no role, as UpdateMetadata. The error wraps kerr.StaleControllerEpoch.
func (r *Replicas) ObserveController(epoch int32) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	return r.checkController(epoch)
}

// checkController takes requests of the newest controller known, and of a newer
// one. r.changes must be held.
func (r *Replicas) checkController(epoch int32) error {
	if epoch < r.controllerEpoch {
		return fmt.Errorf("request of controller epoch %d, the newest seen is %d: %w", epoch, r.controllerEpoch, kerr.StaleControllerEpoch)
	}
	r.controllerEpoch = epoch
	return nil
}

func (r *Replicas) applyRole(c *RoleChange, configs map[string]topicConfig) error {
	p := r.table.get(c.Partition)
	if p == nil {
		// Before the epochs, as there are none yet, come these.
		if err := r.checkTopicID(c); err != nil {
			return err
		}
		if !slices.Contains(c.Replicas, r.broker) {
			return notReplica(c)
		}
		p = r.table.getOrAdd(c.Partition, func() *Partition { return newPartition(c.Partition, r.shared) })
	}
	next, err := p.setRole(func(current *role) (*role, error) { return r.nextRole(c, current, configs) })
	r.assign(p, next)
	if next == nil || next.leader < 0 && next.gone == nil {
		return err
	}
	event := RoleEvent{Partition: c.Partition, Role: Follower, Epoch: next.leaderEpoch}
	switch {
	case next.gone != nil:
		event.Role, event.Cause = None, FailedDirectory
	case next.leading:
		event.Role = Leader
	}
	r.events.add(event)
	return err
}

// assign has the partition fetched, or not any more, if its role has changed.
func (r *Replicas) assign(p *Partition, next *role) {
	if next != nil && r.fetchers != nil {
		r.fetchers.assign(p, next)
	}
}

// nextRole is the role that follows from a change, nil if the current one
// stays.
func (r *Replicas) nextRole(c *RoleChange, current *role, configs map[string]topicConfig) (*role, error) {
	if current.gone != nil {
		return nil, current.serve(c.Partition, false, NoEpoch)
	}
	if err := r.checkTopicID(c); err != nil {
		return nil, err
	}
	switch {
	case c.LeaderEpoch < current.leaderEpoch,
		c.LeaderEpoch == current.leaderEpoch && !r.bringsTopicID(c, current):
		return nil, fmt.Errorf("%v: leader epoch %d, the newest seen is %d: %w", c.Partition, c.LeaderEpoch, current.leaderEpoch, kerr.StaleControllerEpoch)
	case c.LeaderEpoch == current.leaderEpoch:
		return nil, current.log.SetTopicID(c.TopicID)
	case !slices.Contains(c.Replicas, r.broker):
		return nil, notReplica(c)
	case c.PartitionEpoch < current.partitionEpoch:
		r.logger.Debug("older partition state skipped", "partition", c.Partition.String(), "version", c.PartitionEpoch, "known", current.partitionEpoch)
		return nil, nil
	}
	log, err := r.openLog(c, configs)
	if vfs.NoRoom(err) {
		return nil, err // another request can succeed
	} else if errors.Is(err, kerr.KafkaStorageError) {
		return &role{gone: kerr.KafkaStorageError, leader: -1, leaderEpoch: current.leaderEpoch}, err
	} else if err != nil {
		return nil, err
	}
	next := &role{
		log:            log,
		leader:         c.Leader,
		leaderEpoch:    c.LeaderEpoch,
		partitionEpoch: c.PartitionEpoch,
		replicas:       slices.Clone(c.Replicas),
	}
	if c.Leader != r.broker {
		return r.follow(next, current, c)
	}
	if err := r.mayLead(log, c); err != nil {
		return nil, err
	}
	return r.lead(next, current, c)
}

// mayLead refuses to lead with a log that has lost committed records in a crash,
// while another replica may have them: who follows it would cut them off there. The
// controller takes the error for a replica that is offline, and chooses another;
// this one may follow, and has them again then (see refusals). Kafka leads in this
// case, and loses the records.
func (r *Replicas) mayLead(log *commitlog.Log, c *RoleChange) error {
	lost := log.LostBelow()
	if lost == 0 || len(c.Replicas) == 1 || c.Recovering || log.Config().UncleanLeaderElection {
		return nil
	}
	r.refusals.add(c.Partition)
	return fmt.Errorf("%v ends at %d and had committed records up to %d: it does not lead until it has followed a replica that has them, or an unclean election allows it: %w", c.Partition, log.EndOffset(), lost, kerr.KafkaStorageError)
}

// lead makes next a leader's role. The partition's lock is held, so that nothing
// is appended meanwhile: the epoch begins where the log ends.
func (r *Replicas) lead(next, current *role, c *RoleChange) (*role, error) {
	next.leading = true
	next.isr = slices.Clone(c.ISR)
	next.followers = newFollowers(next.replicas, next.isr, r.broker, time.Now())
	next.epochStart = next.log.EndOffset()
	next.leadingSince = next.leaderEpoch
	if current.leading {
		next.leadingSince = current.leadingSince
	}
	// The epoch is noted before any data is written in it: a follower may ask
	// where an older one ended.
	if err := next.log.AssignLeaderEpoch(next.leaderEpoch); err != nil {
		return &role{gone: kerr.KafkaStorageError, leader: -1, leaderEpoch: current.leaderEpoch}, err
	}
	next.log.Complete() // whatever it lacks, nobody has it from now on
	r.logger.Debug("leads", "partition", c.Partition.String(), "epoch", next.leaderEpoch, "from", next.epochStart, "isr", next.isr, "controllerEpoch", c.ControllerEpoch)
	return next, nil
}

// follow makes next a follower's role, unless the leader is unknown: then, as in
// Kafka, the log is there and the role stays, to be decided by the next request. While
// nobody leads, a replica that would refuse to does so: else the controller, to which a
// replica without complaints is online again, would elect it without end.
func (r *Replicas) follow(next, current *role, c *RoleChange) (stays *role, err error) {
	if _, alive := r.view.Snapshot().Broker(next.leader); alive {
		return next, nil
	}
	if current.log == nil {
		waiting := *current
		waiting.log = next.log
		stays = &waiting
	}
	if next.leader < 0 {
		err = r.mayLead(next.log, c)
	}
	return stays, err
}

func notReplica(c *RoleChange) error {
	return fmt.Errorf("%v: this broker is none of the replicas %v: %w", c.Partition, c.Replicas, kerr.UnknownTopicOrPartition)
}

// checkTopicID compares the topic's id with that of the log, hosted or not.
func (r *Replicas) checkTopicID(c *RoleChange) error {
	if c.TopicID.IsZero() {
		return nil
	}
	log, ok := r.store.Log(c.Partition)
	if !ok {
		return nil
	}
	if own := log.TopicID(); !own.IsZero() && own != c.TopicID {
		return fmt.Errorf("%v has topic id %v here and not %v: %w", c.Partition, own, c.TopicID, kerr.InconsistentTopicID)
	}
	return nil
}

// bringsTopicID: a controller that has been upgraded sends ids without new
// epochs.
func (r *Replicas) bringsTopicID(c *RoleChange, current *role) bool {
	return !c.TopicID.IsZero() && current.log != nil && current.log.TopicID().IsZero()
}

// forEach calls f for 0 to n−1, several at a time: most of the work is making
// files.
func forEach(n int, f func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range min(n, 2*runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
}
