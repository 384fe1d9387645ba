package commitlog

import "sync"

// cuts remembers where ranges of a segment were made to end, because the next batch did not
// fit: there their readers go on. Without it each read of large batches looks twice for the
// same place, at the end of one range and at the beginning of the next.
//
// Concurrency: mu, held for a few comparisons.
type cuts struct {
	mu     sync.Mutex
	cycle  int32              // counts how often everything was forgotten
	n      uint32             // places ever remembered; the newest is places[(n-1)%cutsLength]
	places *[cutsLength]place // allocated by the first one
}

// cutsLength is for how many readers of large batches, each at another place of a segment, a
// cut is remembered.
const cutsLength = 8

// begin returns what remember is to be given with a place that is looked for from now on.
func (c *cuts) begin() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cycle
}

// remember keeps a place, unless the segment was cut since begin: then what was read may be
// of what is gone.
func (c *cuts) remember(cycle int32, p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cycle != c.cycle {
		return
	}
	if c.places == nil {
		c.places = new([cutsLength]place)
	}
	c.places[c.n%cutsLength] = p
	c.n++
}

// find returns the batch that holds the offset, if that is known.
func (c *cuts) find(offset int64) (p place, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range min(c.n, cutsLength) {
		if q := c.places[i]; q.base <= offset && offset < q.next {
			return q, true
		}
	}
	return place{}, false
}

// forget is called when the end of the segment has been cut off, and nothing is written
// there yet.
func (c *cuts) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cycle++
	c.n = 0
}
