package group

import "iter"

// AllOffsets iterates over the committed offsets of all groups that this broker
// coordinates, and the ids of their groups, in no order. The groups are looked at one
// after the other, and none is locked while the loop's body runs.
func (c *Coordinator) AllOffsets() iter.Seq2[string, CommittedOffset] {
	return func(yield func(string, CommittedOffset) bool) {
		var offsets []CommittedOffset
		for _, p := range c.led.All() {
			for _, h := range p.table.All() {
				h.mu.Lock()
				offsets = h.group.appendOffsets(offsets[:0])
				h.mu.Unlock()
				for _, o := range offsets {
					if !yield(h.group.id, o) {
						return
					}
				}
			}
		}
	}
}
