package replica

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Leader epochs that StopReplica carries instead of one.
const (
	epochOfDeletion int32 = -2 // the topic is being deleted, which has no epoch of its own
	epochUnknown    int32 = -1 // the request is of a version without epochs
)

// StopChange is what a StopReplica request says about one partition.
type StopChange struct {
	Partition   protocol.TopicPartition
	LeaderEpoch int32
	Delete      bool
}

// StopReplicas ends replicas, and deletes those that are to be deleted. err
// refuses the whole request and wraps kerr.StaleControllerEpoch; otherwise errs
// has one entry for each change: nil also if there was nothing to delete, else
// wrapping kerr.FencedLeaderEpoch if the request is older than the role, or
// KafkaStorageError.
//
// Without deletion the role stays, as in Kafka: only fetching from the leader
// ends.
func (r *Replicas) StopReplicas(controllerEpoch int32, changes []StopChange) (errs []error, err error) {
	defer r.events.deliver()
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.checkController(controllerEpoch); err != nil {
		return nil, err
	}
	errs = make([]error, len(changes))
	var deletions []deletion
	for i, c := range changes {
		if errs[i] = r.stopReplica(c); errs[i] == nil && c.Delete {
			d := deletion{change: i, tp: c.Partition}
			if log, ok := r.store.Log(c.Partition); ok {
				d.dir = filepath.Dir(log.Dir())
			}
			deletions = append(deletions, d)
		}
	}
	r.delete(deletions, errs)
	return errs, nil
}

// deletion is a log to be deleted, and in which log directory it was, "" if it
// was in none that works.
type deletion struct {
	change int
	tp     protocol.TopicPartition
	dir    string
}

// delete deletes logs together, which costs the disk much less than one by one.
// If some fail, those are the ones whose directory does not work now.
func (r *Replicas) delete(deletions []deletion, errs []error) {
	all := make([]protocol.TopicPartition, len(deletions))
	for i, d := range deletions {
		all[i] = d.tp
	}
	err := r.store.Delete(all...)
	if err == nil {
		return
	}
	online := map[string]bool{}
	for _, dir := range r.store.Dirs() {
		online[filepath.Clean(dir.Path)] = dir.Err == nil
	}
	for _, d := range deletions {
		if _, still := r.store.Log(d.tp); still || !online[d.dir] {
			errs[d.change] = err
		}
	}
}

func (r *Replicas) stopReplica(c StopChange) error {
	p := r.table.get(c.Partition)
	if p == nil {
		return nil // its files may still be here, from before a restart
	}
	next, err := p.setRole(func(current *role) (*role, error) {
		if current.gone != nil {
			return nil, current.serve(c.Partition, false, NoEpoch)
		}
		if c.LeaderEpoch != epochOfDeletion && c.LeaderEpoch != epochUnknown && c.LeaderEpoch < current.leaderEpoch {
			return nil, fmt.Errorf("stop %v: leader epoch %d, it is %d: %w", c.Partition, c.LeaderEpoch, current.leaderEpoch, kerr.FencedLeaderEpoch)
		}
		if !c.Delete && !current.following() {
			return nil, nil
		}
		if !c.Delete {
			stopped := *current
			stopped.stopped = true
			return &stopped, nil
		}
		return &role{gone: kerr.UnknownTopicOrPartition, leader: -1, leaderEpoch: current.leaderEpoch}, nil
	})
	r.assign(p, next)
	if next != nil && c.Delete {
		r.table.remove(c.Partition)
		r.events.add(RoleEvent{Partition: c.Partition, Role: None, Epoch: next.leaderEpoch, Cause: Deleted})
	}
	return err
}

// failed takes partitions out of service whose log directory has failed. They
// answer kerr.KafkaStorageError until the broker starts anew.
func (r *Replicas) failed(partitions []protocol.TopicPartition) {
	defer r.events.deliver()
	r.changes.Lock()
	defer r.changes.Unlock()
	for _, tp := range partitions {
		p := r.table.getOrAdd(tp, func() *Partition { return newPartition(tp, r.shared) })
		next, _ := p.setRole(func(current *role) (*role, error) {
			if errors.Is(current.gone, kerr.KafkaStorageError) {
				return nil, nil
			}
			return &role{gone: kerr.KafkaStorageError, leader: -1, leaderEpoch: current.leaderEpoch}, nil
		})
		r.assign(p, next)
		if next != nil {
			r.events.add(RoleEvent{Partition: tp, Role: None, Epoch: next.leaderEpoch, Cause: FailedDirectory})
		}
	}
}
