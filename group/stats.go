package group

import (
	"sync/atomic"
	"time"
)

// counters are what happened since the coordinator was made.
type counters struct {
	commits   atomic.Uint64
	expired   atomic.Uint64
	loads     atomic.Uint64
	loadNanos atomic.Int64
	loadMax   atomic.Int64
}

func (c *counters) loaded(took time.Duration) {
	c.loads.Add(1)
	c.loadNanos.Add(int64(took))
	for {
		longest := c.loadMax.Load()
		if int64(took) <= longest || c.loadMax.CompareAndSwap(longest, int64(took)) {
			return
		}
	}
}

// Stats are figures of the coordinator, for what shows them.
type Stats struct {
	Groups  map[State]int // of each state that there are any of
	Offsets int           // committed ones
	Bytes   int64         // what the groups take in memory, about
	// Since the coordinator was made: offsets of commits, offsets that have expired,
	// partitions that were loaded, and how long that took.
	Commits, Expired, Loads  uint64
	LoadTime, LongestLoading time.Duration
}

// Stats counts.
func (c *Coordinator) Stats() Stats {
	s := Stats{
		Groups:         map[State]int{},
		Bytes:          c.budget.used.Load(),
		Commits:        c.stats.commits.Load(),
		Expired:        c.stats.expired.Load(),
		Loads:          c.stats.loads.Load(),
		LoadTime:       time.Duration(c.stats.loadNanos.Load()),
		LongestLoading: time.Duration(c.stats.loadMax.Load()),
	}
	for _, p := range c.led.All() {
		for _, h := range p.table.All() {
			h.mu.Lock()
			s.Groups[h.group.state]++
			s.Offsets += h.group.offsets.len()
			h.mu.Unlock()
		}
	}
	return s
}
