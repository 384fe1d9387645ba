package replica

import (
	"testing"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
)

// The controller is asked to look again when there is a live leader to follow.
func TestRefusalIsSettledByAnotherLeader(t *testing.T) {
	w := newWorld(t)
	var s refusals
	s.add(t0)
	allowed := false
	for _, step := range []struct {
		name    string
		leader  int32
		brokers []cluster.Broker
		want    bool
	}{
		{"nobody leads", -1, []cluster.Broker{{ID: self}, {ID: 2}}, false},
		{"this broker leads, they think", self, []cluster.Broker{{ID: self}, {ID: 2}}, false},
		{"a dead broker leads", 2, []cluster.Broker{{ID: self}}, false},
		{"another leads", 2, []cluster.Broker{{ID: self}, {ID: 2}}, true},
		{"it has been settled", 2, []cluster.Broker{{ID: self}, {ID: 2}}, false},
	} {
		w.view.Apply(cluster.Update{ControllerID: self, Brokers: step.brokers, Topics: []cluster.TopicUpdate{{Name: "t", ID: tID, Partitions: []cluster.Partition{{Leader: step.leader}}}}})
		if got := s.settle(w.view.Snapshot(), self, func(protocol.TopicPartition) bool { return allowed }); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	s.add(t0)
	w.view.Apply(cluster.Update{ControllerID: self, Topics: []cluster.TopicUpdate{{Name: "t", ID: tID, Partitions: []cluster.Partition{{Leader: -1}}}}})
	allowed = true
	if !s.settle(w.view.Snapshot(), self, func(protocol.TopicPartition) bool { return allowed }) {
		t.Error("unclean elections are allowed, and nobody is told")
	}
}
