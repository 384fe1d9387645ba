package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// checkSettled holds what must be true of a cluster in which everything has come to
// rest: broker 1 is controller, nothing waits to be deleted, every partition is led by
// a member of its ISR, all of them replicas, and every live broker knows what ZooKeeper
// says. It returns that, by partition.
func (l *lab) checkSettled(fail func(format string, args ...any)) map[string]zkmeta.PartitionEntry {
	if _, active := l.controller.Active(); !active {
		fail("the controller is not active")
	}
	if left, err := l.admin.DeleteTopicRequests(l.ctx, nil); err != nil || len(left) > 0 {
		fail("deletions left: %v, error %v", left, err)
	}
	names, err := l.admin.Topics(l.ctx, nil)
	l.must(err)
	topics, err := l.admin.TopicAssignments(l.ctx, names, nil)
	l.must(err)
	all := map[string]zkmeta.PartitionEntry{}
	states := map[string]string{}
	roles := map[int32]map[string]string{}
	for _, topic := range topics {
		var tps []protocol.TopicPartition
		for number := range topic.Partitions {
			tps = append(tps, protocol.TopicPartition{Topic: topic.Name, Partition: number})
		}
		entries, err := l.admin.PartitionStates(l.ctx, tps)
		l.must(err)
		for _, e := range entries {
			if e.Err != nil {
				fail("%v has no state: %v", e.TopicPartition, e.Err)
				continue
			}
			replicas := topic.Partitions[e.Partition].Replicas
			if e.State.Leader < 0 || !slices.Contains(e.State.ISR, e.State.Leader) {
				fail("%v is led by %d, in sync are %v", e.TopicPartition, e.State.Leader, e.State.ISR)
			}
			for _, id := range e.State.ISR {
				if !slices.Contains(replicas, id) {
					fail("%v: %d is in sync, but not a replica", e.TopicPartition, id)
				}
			}
			all[e.TopicPartition.String()] = e
			text := fmt.Sprintf("leader=%d epoch=%d isr=%s zv=%d", e.State.Leader, e.State.LeaderEpoch, joinIDs(e.State.ISR), e.ZkVersion)
			if offline := filter(replicas, func(id int32) bool { return id != 1 && l.others[id] == nil }); len(offline) > 0 {
				text += " offline=" + joinIDs(offline)
			}
			states[e.TopicPartition.String()] = text
			for _, id := range replicas {
				if roles[id] == nil {
					roles[id] = map[string]string{}
				}
				// Within a leader epoch the leader changes ISRs by itself, and learns of it by
				// the answer.
				roles[id][e.TopicPartition.String()] = fmt.Sprintf("leader=%d epoch=%d", e.State.Leader, e.State.LeaderEpoch)
			}
		}
	}
	l.fakes.mu.Lock()
	defer l.fakes.mu.Unlock()
	if epoch, _ := l.controller.Active(); epoch > 1 {
		// A broker that could not be told of a deletion before the controller's term ended
		// is never told, as with Kafka's controller: the next one knows nothing of the
		// topic.
		for _, k := range l.fakes.knows {
			maps.DeleteFunc(k.states, func(name, _ string) bool { return !slices.Contains(names, name[:strings.LastIndex(name, "-")]) })
		}
	}
	for id, k := range l.fakes.knows {
		if l.fakes.gone[id] {
			continue
		}
		if got, want := describeMap(k.states), describeMap(states); got != want {
			fail("broker %d knows the states\n%s\nwant\n%s", id, got, want)
		}
		if got, want := describeMap(k.roles), describeMap(roles[id]); got != want {
			fail("broker %d has the roles\n%s\nwant\n%s", id, got, want)
		}
	}
	return all
}

func describeMap(m map[string]string) string {
	var lines []string
	for name, text := range m {
		lines = append(lines, name+" "+text)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
