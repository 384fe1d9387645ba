package cleaner

import (
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// Status is what compaction looks like at a moment.
type Status struct {
	// LastRun is when the logs were last looked through for one to be compacted; zero:
	// never. With log.cleaner.enable it is never longer ago than log.cleaner.backoff.ms
	// and the compaction of one log.
	LastRun time.Time
	// DirtiestRatio is how much of the log was dirty, then, of which most was.
	DirtiestRatio float64
	// Uncleanable are the logs that are not compacted any more, because of what is in
	// them.
	Uncleanable []Uncleanable
}

// Uncleanable is a log that cannot be compacted.
type Uncleanable struct {
	Partition protocol.TopicPartition
	Since     time.Time
	Err       error
}

// Status returns the current one. Uncleanable is sorted by partition.
func (c *Cleaner) Status() Status {
	k := &c.compactor
	k.mu.Lock()
	defer k.mu.Unlock()
	status := Status{LastRun: k.lastRun, DirtiestRatio: k.ratio}
	for log, s := range k.states {
		if s.uncleanable != nil {
			status.Uncleanable = append(status.Uncleanable, Uncleanable{log.Partition(), s.since, s.uncleanable})
		}
	}
	slices.SortFunc(status.Uncleanable, func(a, b Uncleanable) int { return a.Partition.Compare(b.Partition) })
	return status
}

// LastCleaned is when a log was last compacted; zero: not since the start.
func (c *Cleaner) LastCleaned(log *commitlog.Log) time.Time {
	c.compactor.mu.Lock()
	defer c.compactor.mu.Unlock()
	if s := c.compactor.states[log]; s != nil {
		return s.cleaned
	}
	return time.Time{}
}
