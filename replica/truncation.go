package replica

// truncation decides how a follower's log is cut whose leader says that the two
// part (KIP-279): the leader's newest epoch that is not above the follower's is
// leader.Epoch, and ends at leader.EndOffset in the leader's log. own says the
// same of the follower's log for that epoch, as EndOffsetForEpoch answers; ownEnd is where the
// whole of it ends.
//
// If the follower does not know the leader's epoch, it goes back to the end of the
// one before, and the next fetch compares anew.
func truncation(leader, own Divergence, ownEnd int64) (to int64) {
	switch {
	case own.Epoch == leader.Epoch:
		return min(own.EndOffset, leader.EndOffset, ownEnd)
	case own.Epoch >= 0 && own.EndOffset >= 0:
		return min(own.EndOffset, ownEnd)
	}
	// A log without history, as one of a format before 0.11.
	return min(leader.EndOffset, ownEnd)
}

// restart decides what a follower does whose fetch offset, where its log ends,
// the leader does not have. leaderStart and leaderEnd bound the leader's log.
type restart struct {
	truncate bool  // cut the log at offset
	anew     bool  // or empty it, to begin there
	offset   int64 // else fetch on from here
}

func restartAt(leaderStart, leaderEnd, ownEnd int64) restart {
	switch {
	case leaderEnd < ownEnd: // after an unclean election
		return restart{truncate: true, offset: leaderEnd}
	case leaderStart > ownEnd: // it was away for longer than records are kept, or is new
		return restart{anew: true, offset: leaderStart}
	}
	return restart{offset: ownEnd}
}
