package broker

import (
	"fmt"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
)

// observations are what clients were told and brokers took themselves for. They keep
// what must not have been.
type observations struct {
	mu      sync.Mutex
	leaders map[simReign]int32   // the leader of a partition in an epoch
	roles   map[simPost]simRole  // what brokers take themselves for
	epochs  [simPartitions]int32 // the newest that clients know
	latest  [simPartitions]int64 // the highest end that was answered
	answers int                  // ends
	wrong   []string
}

type simReign struct {
	partition protocol.TopicPartition
	epoch     int32
}

type simPost struct {
	broker    int32
	partition protocol.TopicPartition
}

// simRole is what a broker takes itself for, since when, and how often that has changed.
type simRole struct {
	leads   bool
	epoch   int32
	since   time.Time
	changes int
}

func newObservations() *observations {
	return &observations{leaders: map[simReign]int32{}, roles: map[simPost]simRole{}}
}

func (o *observations) bad(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.badLocked(format, args...)
}

func (o *observations) badLocked(format string, args ...any) {
	const enough = 10
	if len(o.wrong) < enough {
		o.wrong = append(o.wrong, fmt.Sprintf(format, args...))
	}
}

// took is told of each change of a broker's role.
func (o *observations) took(broker int32, e replica.RoleEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	leads := e.Role == replica.Leader
	if leads {
		o.leadsLocked(broker, simReign{e.Partition, e.Epoch})
	}
	post := simPost{broker, e.Partition}
	o.roles[post] = simRole{leads, e.Epoch, time.Now(), o.roles[post].changes + 1}
}

// begins is told of a broker that has started and has no roles yet.
func (o *observations) begins(broker int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for post, role := range o.roles {
		if post.broker == broker {
			o.roles[post] = simRole{since: time.Now(), changes: role.changes + 1}
		}
	}
}

func (o *observations) role(broker int32, partition protocol.TopicPartition) simRole {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.roles[simPost{broker, partition}]
}

func (o *observations) leadsLocked(broker int32, r simReign) {
	if before, known := o.leaders[r]; known && before != broker {
		o.badLocked("partition %v has two leaders in epoch %d, brokers %d and %d", r.partition, r.epoch, before, broker)
	}
	o.leaders[r] = broker
}

// told is what a client has heard from a broker about leaders.
func (o *observations) told(found []placed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, at := range found {
		if at.leader > 0 {
			o.leadsLocked(at.leader, simReign{simPartition(int32(p)), at.epoch})
		}
		o.epochs[p] = max(o.epochs[p], at.epoch)
	}
}

func (o *observations) known() (epochs [simPartitions]int32, latest [simPartitions]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epochs, o.latest
}

// ended is what a broker has answered about ends, to a question of a time when floor was
// the highest that had been answered.
func (o *observations) ended(broker int32, ends []placedEnd, floor [simPartitions]int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p, end := range ends {
		if end.offset < 0 {
			continue
		}
		o.answers++
		o.leadsLocked(broker, simReign{simPartition(int32(p)), end.epoch})
		o.epochs[p] = max(o.epochs[p], end.epoch)
		if end.offset < floor[p] {
			o.badLocked("broker %d says in epoch %d that partition %d ends at %d, after an answer of %d", broker, end.epoch, p, end.offset, floor[p])
		}
		o.latest[p] = max(o.latest[p], end.offset)
	}
}

// observe asks one broker all the time where partitions end. As clients do, it tells the
// newest epoch that any answer has named, so that a leader that has been replaced, and
// cannot know, does not answer.
func (s *simulation) observe(broker int32, stop <-chan struct{}) {
	w := wire{process: s.clients}
	defer w.close()
	rnd := s.random(2000 + uint64(broker))
	for !closed(stop) {
		epochs, floor := s.seen.known()
		ends, again, err := w.listEnds(broker, epochs[:])
		if err == nil {
			s.seen.ended(broker, ends, floor)
		}
		if again {
			if found, err := w.leaders(broker); err == nil {
				s.seen.told(found)
			}
			continue
		}
		time.Sleep(time.Duration(20+rnd.IntN(300)) * time.Millisecond)
	}
}
