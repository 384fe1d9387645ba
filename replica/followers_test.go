package replica

import (
	"testing"
	"time"
)

// at is a time in seconds.
func at(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

// Who reaches the leader's end is caught up; so is who reaches what was the end
// when it fetched before, as of then; who stays behind is not.
func TestFollowerCatchesUp(t *testing.T) {
	f := follower{end: noOffset, seenEnd: noOffset}
	for i, step := range []struct {
		end, leaderEnd int64
		at             int
		caughtUp       time.Time
	}{
		{0, 100, 10, time.Time{}}, // the first fetch says nothing about before
		{50, 200, 11, time.Time{}},
		{200, 300, 12, at(11)}, // behind, but has what there was at 11
		{250, 310, 13, at(11)},
		{310, 310, 14, at(14)},
		{310, 400, 15, at(14)},
		{400, 500, 16, at(15)},
	} {
		f.fetch(0, step.end, step.leaderEnd, at(step.at))
		if !f.caughtUp.Equal(step.caughtUp) {
			t.Errorf("step %d: caught up at %v, want %v", i, f.caughtUp, step.caughtUp)
		}
	}
}

// A silent follower that has everything is caught up until the leader appends.
func TestFollowerIsCaughtUpUntilAnAppend(t *testing.T) {
	f := follower{end: 7, seenEnd: 7, caughtUp: at(10)}
	const lag = 30 * time.Second
	if f.lags(7, at(1000), lag) {
		t.Error("lags with everything")
	}
	f.appended(7, at(1000))
	f.appended(8, at(1020))
	if f.lags(9, at(1030), lag) {
		t.Error("lags before its time")
	}
	if !f.lags(9, at(1031), lag) {
		t.Error("does not lag after its time")
	}
}

func TestNewFollowers(t *testing.T) {
	if fs := newFollowers([]int32{1}, []int32{1}, 1, at(5)); fs != nil {
		t.Errorf("of a leader without others: %+v", fs.all)
	}
	fs := newFollowers([]int32{3, 1, 2}, []int32{1, 2, 9}, 1, at(5))
	var ids []int32
	for _, f := range fs.all {
		ids = append(ids, f.id)
		if inISR := f.id != 3; f.caughtUp.IsZero() == inISR || f.end != noOffset {
			t.Errorf("%+v", f)
		}
	}
	if len(ids) != 3 {
		t.Errorf("followers %v", ids)
	}
}
