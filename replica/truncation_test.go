package replica

import "testing"

// The cases of KIP-279 and of Kafka's getOffsetTruncationState.
func TestTruncationRule(t *testing.T) {
	for _, c := range []struct {
		name        string
		leader, own Divergence
		ownEnd      int64
		want        int64
	}{
		{"the leader's epoch ends first", Divergence{3, 70}, Divergence{3, 90}, 100, 70},
		{"the follower's epoch ends first", Divergence{3, 90}, Divergence{3, 70}, 100, 70},
		{"neither has more", Divergence{3, 300}, Divergence{3, 200}, 100, 100},
		{"the follower does not know the leader's epoch", Divergence{3, 90}, Divergence{2, 40}, 100, 40},
		{"the follower has no history", Divergence{3, 90}, Divergence{-1, -1}, 100, 90},
		{"and less", Divergence{3, 90}, Divergence{-1, -1}, 60, 60},
	} {
		if got := truncation(c.leader, c.own, c.ownEnd); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestRestartRule(t *testing.T) {
	for _, c := range []struct {
		leaderStart, leaderEnd, ownEnd int64
		want                           restart
	}{
		{0, 50, 60, restart{truncate: true, offset: 50}},
		{70, 90, 60, restart{anew: true, offset: 70}},
		{20, 90, 60, restart{offset: 60}},
		{60, 60, 60, restart{offset: 60}},
	} {
		if got := restartAt(c.leaderStart, c.leaderEnd, c.ownEnd); got != c.want {
			t.Errorf("leader %d to %d, own end %d: %+v, want %+v", c.leaderStart, c.leaderEnd, c.ownEnd, got, c.want)
		}
	}
}
