package topics

import (
	"testing"

	"github.com/gracchus-mq/gracchus/cluster"
)

func TestHasLeaders(t *testing.T) {
	led := func(id int32) cluster.Partition { return cluster.Partition{ID: id, Leader: 1} }
	orphan := func(id int32) cluster.Partition { return cluster.Partition{ID: id, Leader: cluster.NoLeader} }
	tests := []struct {
		partitions []cluster.Partition
		wanted     int32
		want       bool
	}{
		{nil, 1, false},
		{[]cluster.Partition{led(0), led(1)}, 2, true},
		{[]cluster.Partition{led(0), led(1)}, 3, false},
		{[]cluster.Partition{led(0), led(2)}, 2, false},
		{[]cluster.Partition{led(0), orphan(1)}, 2, false},
		{[]cluster.Partition{led(0), led(1), orphan(2)}, 2, true},
	}
	for _, test := range tests {
		v := cluster.NewView()
		v.Apply(cluster.Update{Topics: []cluster.TopicUpdate{{Name: "t", Partitions: test.partitions}}})
		if got := hasLeaders(v.Snapshot(), "t", test.wanted); got != test.want {
			t.Errorf("%v has %d leaders: %v", test.partitions, test.wanted, got)
		}
	}
}
