package replica

// The rules here are pure: they decide from what they are given and change
// nothing.

// noOffset stands for the end of a replica that has not fetched from this leader
// yet.
const noOffset int64 = -1

// highWatermark is the offset that a leader's high watermark may rise to: below
// it every in-sync replica has all records. self has the leader's own log up to
// localEnd; followerEnd is asked for the other members' ends, noOffset if
// unknown.
//
// Kafka keeps the high watermark where it is while the ISR is smaller than
// min.insync.replicas; that is for the caller to see to, with enoughInSync.
func highWatermark(localEnd int64, isr []int32, self int32, followerEnd func(id int32) int64) int64 {
	hw := localEnd
	for _, id := range isr {
		if id != self {
			hw = min(hw, followerEnd(id))
		}
	}
	return hw
}

// enoughInSync reports whether an ISR satisfies min.insync.replicas. A topic
// with fewer replicas than that asks for all of them.
func enoughInSync(isr, replicas int, minInSync int32) bool {
	return isr >= min(int(minInSync), replicas)
}
