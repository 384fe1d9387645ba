package replica

import (
	"sync"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
)

// refusals are the partitions that this broker would not lead, because it lacks
// committed records. The controller takes it for offline there, and does not tell it
// of a leader that it could follow. It has to be asked to look again, as after the
// failure of a log directory, once there is such a leader.
type refusals struct {
	mu         sync.Mutex
	partitions map[protocol.TopicPartition]struct{}
}

func (s *refusals) add(tp protocol.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.partitions == nil {
		s.partitions = map[protocol.TopicPartition]struct{}{}
	}
	s.partitions[tp] = struct{}{}
}

// settle takes out the partitions that another live broker leads by now, and those that
// this one may lead after all, and reports whether there were some.
func (s *refusals) settle(view *cluster.Snapshot, self int32, mayLead func(protocol.TopicPartition) bool) (some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for tp := range s.partitions {
		p, known := view.Partition(tp)
		if !known {
			continue
		}
		if _, alive := view.Broker(p.Leader); alive && p.Leader != self || mayLead(tp) {
			delete(s.partitions, tp)
			some = true
		}
	}
	return some
}
