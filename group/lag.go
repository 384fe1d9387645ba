package group

import (
	"iter"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Lag is how far a group is behind in a partition.
type Lag struct {
	Group string
	protocol.TopicPartition
	Committed int64
	// End is where the partition ends for its readers, and Lag the records from
	// Committed up to there, never below 0. Both are −1 if the end is not known.
	End, Lag int64
}

// Lags iterates over all committed offsets of the groups that this broker coordinates.
// end says where a partition ends, its high watermark, or false if it is not known
// here. The groups are looked at one after the other, and none is locked while the
// loop's body or end runs.
func (c *Coordinator) Lags(end func(protocol.TopicPartition) (int64, bool)) iter.Seq[Lag] {
	return func(yield func(Lag) bool) {
		var offsets []CommittedOffset
		for _, p := range *c.led.Load() {
			for _, h := range p.all() {
				h.mu.Lock()
				offsets = h.group.appendOffsets(offsets[:0])
				h.mu.Unlock()
				for _, o := range offsets {
					l := Lag{h.group.id, o.TopicPartition, o.Offset, -1, -1}
					if at, known := end(o.TopicPartition); known {
						l.End, l.Lag = at, max(at-o.Offset, 0)
					}
					if !yield(l) {
						return
					}
				}
			}
		}
	}
}
