package replica

import "testing"

func TestHighWatermarkRule(t *testing.T) {
	ends := map[int32]int64{2: 70, 3: 50, 4: 200}
	followerEnd := func(id int32) int64 {
		if end, ok := ends[id]; ok {
			return end
		}
		return noOffset
	}
	for _, c := range []struct {
		isr  []int32
		want int64
	}{
		{[]int32{1}, 100},
		{nil, 100},
		{[]int32{1, 2}, 70},
		{[]int32{2, 1, 3}, 50},
		{[]int32{1, 4}, 100},      // a follower that is ahead, as after an unclean election
		{[]int32{1, 9}, noOffset}, // one that has not fetched yet
	} {
		if got := highWatermark(100, c.isr, 1, followerEnd); got != c.want {
			t.Errorf("ISR %v: %d, want %d", c.isr, got, c.want)
		}
	}
}

func TestEnoughInSyncRule(t *testing.T) {
	for _, c := range []struct {
		isr, replicas int
		minInSync     int32
		want          bool
	}{
		{1, 1, 1, true}, {1, 1, 2, true}, {1, 3, 2, false}, {2, 3, 2, true}, {2, 3, 9, false}, {3, 3, 9, true}, {0, 1, 1, false},
	} {
		if got := enoughInSync(c.isr, c.replicas, c.minInSync); got != c.want {
			t.Errorf("%d of %d in sync, minimum %d: %v", c.isr, c.replicas, c.minInSync, got)
		}
	}
}
