package topics

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Expand adds partitions and waits as Create does. Errors are in the order of
// the requests.
func (m *Manager) Expand(ctx context.Context, requests []ExpandRequest, timeout time.Duration, validateOnly bool) []error {
	deadline := time.Now().Add(timeout)
	errs := make([]error, len(requests))
	view := m.view.Snapshot()
	excessive := tooMany(len(requests), func(i int) int32 {
		added := requests[i].Count
		if t, ok := view.Topic(requests[i].Name); ok {
			added -= int32(len(t.Partitions))
		}
		return added
	})
	each(len(requests), func(i int) {
		if excessive(i) {
			errs[i] = errTooMany
			return
		}
		errs[i] = m.expandOne(ctx, requests[i], validateOnly)
	})
	if validateOnly {
		return errs
	}
	wanted := map[string]int32{}
	for i, r := range requests {
		if errs[i] == nil {
			wanted[r.Name] = r.Count
		}
	}
	missing := m.await(ctx, deadline, wanted, hasLeaders)
	for i, r := range requests {
		if errs[i] == nil && (timeout <= 0 || missing[r.Name]) {
			errs[i] = kerr.RequestTimedOut
		}
	}
	return errs
}

// errValidated ends an update that was only to be validated.
var errValidated = errors.New("validated")

func (m *Manager) expandOne(ctx context.Context, req ExpandRequest, validateOnly bool) error {
	if !mayBePath(req.Name) {
		return kerr.UnknownServerError // as Kafka answers, whose ZooKeeper client refuses the path
	}
	if protocol.ValidateTopicName(req.Name) != nil {
		return refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", req.Name)
	}
	deleting, err := m.zk.DeleteTopicRequests(ctx, nil)
	if err != nil {
		return err
	}
	if slices.Contains(deleting, req.Name) {
		return refuse(kerr.InvalidTopicException, "The topic is queued for deletion.")
	}
	live, _, err := m.zk.Brokers(ctx, nil, nil)
	if err != nil {
		return err
	}
	brokers := make([]location, len(live))
	for i, b := range live {
		brokers[i] = location{b.ID, b.Rack}
	}
	err = m.zk.UpdateTopic(ctx, req.Name, func(t *zkmeta.TopicAssignment) error {
		added, err := planExpansion(req, t.Partitions, brokers)
		if err != nil {
			return err
		}
		if validateOnly {
			return errValidated
		}
		first := int32(len(t.Partitions))
		for i, replicas := range added {
			t.Partitions[first+int32(i)] = zkmeta.ReplicaAssignment{Replicas: replicas}
		}
		return nil
	})
	switch {
	case errors.Is(err, errValidated):
		return nil
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", req.Name)
	case err == nil:
		m.cfg.Logger.Debug("expanded a topic", "topic", req.Name, "partitions", req.Count)
	}
	return err
}

// mayBePath reports whether the name of a topic can stand in a znode's path.
func mayBePath(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return false
		}
	}
	return true
}

// planExpansion makes all checks, in Kafka's order, and places the replicas of the
// partitions to be added.
func planExpansion(req ExpandRequest, existing map[int32]zkmeta.ReplicaAssignment, brokers []location) ([][]int32, error) {
	for _, p := range existing {
		if p.Reassigning() {
			return nil, refuse(kerr.ReassignmentInProgress, "A partition reassignment is in progress for the topic '%s'.", req.Name)
		}
	}
	old := int32(len(existing))
	added := req.Count - old
	switch {
	case old == 0:
		return nil, refuse(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", req.Name)
	case added < 0:
		return nil, refuse(kerr.InvalidPartitions, "Topic currently has %d partitions, which is higher than the requested %d.", old, req.Count)
	case added == 0:
		return nil, refuse(kerr.InvalidPartitions, "Topic already has %d partitions.", old)
	}
	first, ok := existing[0]
	if !ok || slices.Max(slices.Collect(maps.Keys(existing))) != old-1 {
		return nil, errors.New("topic " + req.Name + ": its partitions are not numbered from 0 without gaps")
	}
	if req.Assignment != nil {
		return req.Assignment, checkExpansion(req, int(old), len(first.Replicas), int(added), brokers)
	}
	at := slices.IndexFunc(brokers, func(b location) bool { return b.id >= first.Replicas[0] })
	return place(brokers, added, len(first.Replicas), start{index: max(0, at), shift: max(0, at), partition: int(old)})
}

// checkExpansion refuses a placement by hand. Here, unlike at creation, all brokers
// have to live.
func checkExpansion(req ExpandRequest, old, factor, added int, brokers []location) error {
	lives := func(id int32) bool {
		return slices.ContainsFunc(brokers, func(b location) bool { return b.id == id })
	}
	var unknown []int32
	for _, id := range slices.Concat(req.Assignment...) {
		if !lives(id) && !slices.Contains(unknown, id) {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		return refuse(kerr.InvalidReplicaAssignment, "Unknown broker(s) in replica assignment: %s.", joinIDs(unknown))
	}
	if len(req.Assignment) != added {
		return refuse(kerr.InvalidReplicaAssignment, "Increasing the number of partitions by %d but %d assignments provided.", added, len(req.Assignment))
	}
	var numbers, factors []int32
	for i, replicas := range req.Assignment {
		number := int32(old + i)
		if len(replicas) == 0 {
			return refuse(kerr.InvalidReplicaAssignment, "Cannot have replication factor of 0 for partition id %d.", number)
		}
		for j, id := range replicas {
			if slices.Contains(replicas[:j], id) {
				return refuse(kerr.InvalidReplicaAssignment, "Duplicate brokers not allowed in replica assignment: %s for partition id %d.", joinIDs(replicas), number)
			}
		}
		if len(replicas) != factor {
			numbers, factors = append(numbers, number), append(factors, int32(len(replicas)))
		}
	}
	if len(numbers) > 0 {
		return refuse(kerr.InvalidReplicaAssignment, "Inconsistent replication factor between partitions, "+
			"partition 0 has %d while partitions [%s] have replication factors [%s], respectively.", factor, joinIDs(numbers), joinIDs(factors))
	}
	return nil
}
