package replica

import (
	"slices"
	"testing"
	"time"
)

func TestHighWatermarkRule(t *testing.T) {
	now := time.Unix(1000, 0)
	others := []follower{{id: 2, end: 70}, {id: 3, end: 50}, {id: 4, end: 200}, {id: 9, end: noOffset},
		{id: 5, end: 90, caughtUp: now.Add(-9 * time.Second)}, {id: 6, end: 80, caughtUp: now.Add(-9 * time.Second)}}
	alive := func(id int32) bool { return id != 6 }
	for _, c := range []struct {
		isr  []int32
		want int64
	}{
		{[]int32{1}, 90}, // 5 is about to join; 6 would be, if it were alive
		{nil, 90},
		{[]int32{1, 2}, 70},
		{[]int32{2, 1, 3}, 50},
		{[]int32{1, 4}, 90},       // a follower that is ahead, as after an unclean election
		{[]int32{1, 9}, noOffset}, // one that has not fetched yet
	} {
		if got := highWatermark(100, 100, c.isr, others, now, 10*time.Second, alive); got != c.want {
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

func TestShrinkRule(t *testing.T) {
	const lag = 10 * time.Second
	others := []follower{{id: 2, end: 100}, {id: 3, end: 90, caughtUp: at(100)}, {id: 4, end: 90, caughtUp: at(89)}, {id: 5, end: noOffset}}
	for _, c := range []struct{ isr, want []int32 }{
		{[]int32{1, 2, 3}, nil},
		{[]int32{4, 1, 3}, []int32{1, 3}},
		{[]int32{1, 5, 2, 4}, []int32{1, 2}},
		{[]int32{1}, nil},
	} {
		if got := shrinkISR(c.isr, others, 100, at(100), lag); !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("ISR %v: %v, want %v", c.isr, got, c.want)
		}
	}
}

// A follower joins with all that is committed, and all from before the epoch.
func TestMayJoinRule(t *testing.T) {
	for _, c := range []struct {
		end, hw, epochStart int64
		want                bool
	}{
		{100, 100, 50, true}, {99, 100, 50, false}, {100, 90, 100, true}, {99, 90, 100, false}, {noOffset, 0, 0, false},
	} {
		if got := mayJoin(&follower{end: c.end}, c.hw, c.epochStart); got != c.want {
			t.Errorf("end %d, high watermark %d, epoch from %d: %v", c.end, c.hw, c.epochStart, got)
		}
	}
}

// Until the controller has answered, who would join counts, and who would leave
// still counts.
func TestMaximalISR(t *testing.T) {
	for _, c := range []struct{ isr, pending, want []int32 }{
		{[]int32{1, 2}, nil, []int32{1, 2}},
		{[]int32{1, 2}, []int32{1, 2, 3}, []int32{1, 2, 3}},
		{[]int32{1, 2}, []int32{1}, []int32{1, 2}},
	} {
		if got := (&role{isr: c.isr, pending: c.pending}).maximalISR(); !slices.Equal(got, c.want) {
			t.Errorf("ISR %v, pending %v: %v", c.isr, c.pending, got)
		}
	}
}
