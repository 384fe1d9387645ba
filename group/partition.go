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
// Lock order: a group's, then mu; mu is also taken alone. Nothing is called under it.
type partition struct {
	number   int32
	epoch    int32 // in which leadership began
	appender *statelog.Appender[queued]
	acks     int16 // of writes that somebody waits for
	budget   *budget
	ctx      context.Context // ends with the leadership
	cancel   context.CancelFunc

	mu     sync.RWMutex
	phase  phase
	groups map[string]*hosted
	// deleted are the partitions that were deleted during the load, ended the transactions
	// that ended then.
	deleted []protocol.TopicPartition
	ended   []TransactionEnd
	// open are the groups that have offsets in a producer's transaction, by its id.
	open map[int64]map[*hosted]struct{}
}

type phase int8

const (
	loading phase = iota
	serving
	resigned
)

// check returns why the partition serves no groups. mu is held.
func (p *partition) check() error {
	switch p.phase {
	case loading:
		return errLoading
	case resigned:
		return errNotCoordinator
	}
	return nil
}

// find returns a group, or nil if there is none of that name.
func (p *partition) find(id string) (*hosted, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.check(); err != nil {
		return nil, err
	}
	return p.groups[id], nil
}

// findOrCreate returns a group, which is new if there was none of that name. There is no
// new one without room: the error is kerr.CoordinatorNotAvailable then.
func (p *partition) findOrCreate(id string, create func() *classicGroup) (*hosted, error) {
	if h, err := p.find(id); h != nil || err != nil {
		return h, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(); err != nil {
		return nil, err
	}
	h := p.groups[id]
	if h == nil && p.budget.room() <= 0 {
		p.budget.refused()
		return nil, errDead
	}
	if h == nil {
		h = &hosted{of: p, group: create()}
		p.groups[id] = h
	}
	return h, nil
}

// forget removes a group that is dead.
func (p *partition) forget(h *hosted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups[h.group.id] == h {
		delete(p.groups, h.group.id)
	}
}

// all returns the groups, in no order; none while they are being loaded.
func (p *partition) all() []*hosted {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.phase != serving {
		return nil
	}
	list := make([]*hosted, 0, len(p.groups))
	for _, h := range p.groups {
		list = append(list, h)
	}
	return list
}

// publish has the loaded groups served. It returns false if the leadership has ended
// meanwhile, and else the partitions that were deleted, and the transactions that ended.
func (p *partition) publish(groups map[string]*hosted) (deleted []protocol.TopicPartition, ended []TransactionEnd, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != loading {
		return nil, nil, false
	}
	p.phase, p.groups = serving, groups
	deleted, ended = p.deleted, p.ended
	p.deleted, p.ended = nil, nil
	return deleted, ended, true
}

// resign ends the leadership: whoever waits is told that this is not the coordinator.
// It returns how many groups there were.
func (p *partition) resign() int {
	p.cancel()
	p.mu.Lock()
	groups := p.groups
	p.phase, p.groups, p.open, p.ended = resigned, nil, nil, nil
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
	if p.phase == loading {
		p.deleted = append(p.deleted, partitions...)
	}
	p.mu.Unlock()
	for _, h := range p.all() {
		var fx effects
		g, now := h.begin()
		if known := g.known(partitions); len(known) > 0 && g.state != Dead {
			g.removeOffsets(now, known, &fx)
		}
		h.end(&fx, false)
	}
}
