package group

import (
	"context"
	"sync"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/statelog"
)

// partition is one partition of __consumer_offsets while this broker leads it. It is
// made when leadership begins and thrown away when it ends: what comes late, a load
// or an acknowledgement, finds only what is dead.
//
// Lock order: a group's, then mu, then the table's; each is also taken alone.
type partition struct {
	number   int32
	epoch    int32 // in which leadership began
	appender *statelog.Appender[queued]
	acks     int16 // of writes that somebody waits for
	budget   *budget
	ctx      context.Context // ends with the leadership
	cancel   context.CancelFunc

	table statelog.Table[hosted] // groups

	mu sync.Mutex
	// deleted are the partitions that were deleted during the load, ended the transactions
	// that ended then.
	deleted []protocol.TopicPartition
	ended   []TransactionEnd
	// open are the groups that have offsets in a producer's transaction, by its id.
	open map[int64]map[*hosted]struct{}
}

// findOrCreate returns a group, which is new if there was none of that name. There is no
// new one without room: the error is kerr.CoordinatorNotAvailable then.
func (p *partition) findOrCreate(id string, create func() *classicGroup) (*hosted, error) {
	return p.table.GetOrAdd(id, func() (*hosted, error) {
		if p.budget.room() <= 0 {
			p.budget.refused()
			return nil, errDead
		}
		return &hosted{of: p, group: create()}, nil
	})
}

// publish has the loaded groups served. It returns false if the leadership has ended
// meanwhile, and else the partitions that were deleted, and the transactions that ended.
func (p *partition) publish(groups map[string]*hosted) (deleted []protocol.TopicPartition, ended []TransactionEnd, ok bool) {
	if !p.table.Publish(groups) {
		return nil, nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	deleted, ended = p.deleted, p.ended
	p.deleted, p.ended = nil, nil
	return deleted, ended, true
}

// resign ends the leadership: whoever waits is told that this is not the coordinator.
// It returns how many groups there were.
func (p *partition) resign() int {
	p.cancel()
	groups := p.table.Resign()
	p.mu.Lock()
	p.open, p.ended = nil, nil
	p.mu.Unlock()
	p.appender.Close()
	for _, h := range groups {
		h.resign()
	}
	return len(groups)
}

// partitionsDeleted removes the offsets of partitions that do not exist any more.
func (p *partition) partitionsDeleted(partitions []protocol.TopicPartition) {
	p.mu.Lock()
	if p.table.Loading() {
		p.deleted = append(p.deleted, partitions...)
	}
	p.mu.Unlock()
	for _, h := range p.table.All() {
		var fx effects
		g, now := h.begin()
		if known := g.known(partitions); len(known) > 0 && g.state != Dead {
			g.removeOffsets(now, known, &fx)
		}
		h.end(&fx, false)
	}
}
