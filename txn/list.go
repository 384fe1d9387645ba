package txn

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Description is what DescribeTransactions shows of an id.
type Description struct {
	State      State
	ProducerID int64
	Epoch      int16
	TimeoutMS  int32
	StartMS    int64                     // when its transaction began, in ms since 1970; −1 if it has had none
	Partitions []protocol.TopicPartition // shared: not to be changed
}

// Describe answers DescribeTransactions for one id. Errors are
// kerr.TransactionalIDNotFound, InvalidRequest, CoordinatorNotAvailable,
// CoordinatorLoadInProgress, NotCoordinator.
func (c *Coordinator) Describe(id string) (Description, error) {
	if err := checkID(id); err != nil {
		return Description{}, err
	}
	_, h, err := c.find(id)
	switch {
	case err != nil:
		return Description{}, err
	case h == nil:
		return Description{}, kerr.TransactionalIDNotFound
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.id
	if !t.known || t.state == Dead {
		return Description{}, kerr.TransactionalIDNotFound
	}
	return Description{t.state, t.producerID, t.epoch, t.timeoutMS, t.startMS, t.partitions}, nil
}

// Filter says which ids ListTransactions is to show. The zero value shows all but for
// LongerMS, which has to be negative for that.
type Filter struct {
	ProducerIDs []int64 // any if there are none
	States      []State // any if AnyState
	AnyState    bool
	// LongerMS shows what began more than so many ms ago, and, as with Kafka 3.9, what
	// has not begun; negative shows all.
	LongerMS int64
}

func (f *Filter) shows(t *transaction, now time.Time) bool {
	return t.known && t.state != Dead &&
		(len(f.ProducerIDs) == 0 || slices.Contains(f.ProducerIDs, t.producerID)) &&
		(f.AnyState || slices.Contains(f.States, t.state)) &&
		(f.LongerMS < 0 || now.UnixMilli()-t.startMS > f.LongerMS)
}

// Listed is what ListTransactions shows of an id.
type Listed struct {
	ID         string
	ProducerID int64
	State      State
}

// List answers ListTransactions: the ids that this broker coordinates, by name. Errors
// are kerr.CoordinatorNotAvailable, and CoordinatorLoadInProgress while some are being
// loaded.
func (c *Coordinator) List(f Filter) (list []Listed, err error) {
	if !c.led.Running() {
		return nil, errNotAvailable
	}
	now := time.Now()
	for _, p := range c.led.All() {
		if p.table.Loading() {
			return nil, errLoading
		}
		for _, h := range p.table.All() {
			h.mu.Lock()
			if t := h.id; f.shows(t, now) {
				list = append(list, Listed{t.id, t.producerID, t.state})
			}
			h.mu.Unlock()
		}
	}
	slices.SortFunc(list, func(a, b Listed) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// counters are what happened since the coordinator was made.
type counters struct {
	loads     atomic.Uint64
	loadNanos atomic.Int64
	timedOut  atomic.Uint64
}

func (c *counters) loaded(took time.Duration) {
	c.loads.Add(1)
	c.loadNanos.Add(int64(took))
}

// Stats are figures of the coordinator, for what shows them.
type Stats struct {
	IDs           map[State]int // of each state that there are any of
	OldestStartMS int64         // when the oldest transaction began that has not ended everywhere, in ms since 1970; −1 without one
	Bytes         int64         // what the ids take in memory, about
	Waiting       int           // requests that wait for an id
	Marking       int           // transactions that are decided, and have not ended everywhere
	// Since the coordinator was made: partitions that were loaded, how long that took,
	// and transactions that took too long.
	Loads, TimedOut uint64
	LoadTime        time.Duration
}

// Stats counts.
func (c *Coordinator) Stats() Stats {
	s := Stats{
		IDs: map[State]int{}, OldestStartMS: -1,
		Bytes: c.budget.used.Load(), Waiting: int(c.budget.waiting.Load()), Marking: c.markers.count(),
		Loads: c.stats.loads.Load(), TimedOut: c.stats.timedOut.Load(), LoadTime: time.Duration(c.stats.loadNanos.Load()),
	}
	for _, p := range c.led.All() {
		for _, h := range p.table.All() {
			h.mu.Lock()
			if t := h.id; t.known {
				s.IDs[t.state]++
				if t.state.open() && (s.OldestStartMS < 0 || t.startMS < s.OldestStartMS) {
					s.OldestStartMS = t.startMS
				}
			}
			h.mu.Unlock()
		}
	}
	return s
}
