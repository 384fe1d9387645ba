package topics

import (
	"context"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
)

// await waits until every topic in wanted is as done says, and returns those that are
// not when time is up. What was found done is not looked at again, so that a waiter
// costs little at each change of the view.
func (m *Manager) await(ctx context.Context, deadline time.Time, wanted map[string]int32, done func(s *cluster.Snapshot, name string, partitions int32) bool) (missing map[string]bool) {
	missing = make(map[string]bool, len(wanted))
	for name := range wanted {
		missing[name] = true
	}
	check := func(s *cluster.Snapshot) bool {
		for name := range missing {
			if done(s, name, wanted[name]) {
				delete(missing, name)
			}
		}
		return len(missing) == 0
	}
	if check(m.view.Snapshot()) {
		return nil
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	m.view.Wait(ctx, check) // what is missing when it ends says all
	return missing
}

// hasLeaders: partitions 0 to n-1 of a topic are led.
func hasLeaders(s *cluster.Snapshot, name string, partitions int32) bool {
	t, ok := s.Topic(name)
	if !ok || len(t.Partitions) < int(partitions) {
		return false
	}
	for i := range partitions {
		if p, ok := t.Partition(i); !ok || p.Leader == cluster.NoLeader {
			return false
		}
	}
	return true
}

// isGone: there is no such topic.
func isGone(s *cluster.Snapshot, name string, _ int32) bool {
	_, ok := s.Topic(name)
	return !ok
}
