package txn

import (
	"context"
	"sync"

	"github.com/gracchus-mq/gracchus/statelog"
)

// partition is one partition of __transaction_state while this broker leads it. It is
// made when leadership begins and thrown away when it ends: what comes late, a load, an
// acknowledgement or an answer about markers, finds only what is dead.
//
// Lock order: an id's, then mu; mu is also taken alone. Nothing is called under it, but
// goroutines are started.
type partition struct {
	c        *Coordinator
	number   int32
	epoch    int32 // in which leadership began; the coordinator epoch of markers
	appender *statelog.Appender[queued]
	ctx      context.Context // ends with the leadership
	cancel   context.CancelFunc

	mu    sync.RWMutex
	phase phase
	ids   map[string]*hosted
}

type phase int8

const (
	loading phase = iota
	serving
	resigned
)

// check returns why the partition serves no ids. mu is held.
func (p *partition) check() error {
	switch p.phase {
	case loading:
		return errLoading
	case resigned:
		return errNotCoordinator
	}
	return nil
}

// find returns an id, or nil if it is not known.
func (p *partition) find(id string) (*hosted, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.check(); err != nil {
		return nil, err
	}
	return p.ids[id], nil
}

// findOrCreate returns an id, which is new if it was not known. There is no new one
// without room: the error is kerr.CoordinatorNotAvailable then.
func (p *partition) findOrCreate(id string) (*hosted, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.check(); err != nil {
		return nil, err
	}
	h := p.ids[id]
	if h == nil && p.c.budget.room() <= 0 {
		p.c.budget.refused()
		return nil, errNotAvailable
	}
	if h == nil {
		h = &hosted{of: p, id: newTransaction(id, &p.c.settings.Limits)}
		p.ids[id] = h
	}
	return h, nil
}

// forget removes an id that is dead.
func (p *partition) forget(h *hosted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ids[h.id.id] == h {
		delete(p.ids, h.id.id)
	}
}

// all returns the ids, in no order; none while they are being loaded.
func (p *partition) all() []*hosted {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.phase != serving {
		return nil
	}
	list := make([]*hosted, 0, len(p.ids))
	for _, h := range p.ids {
		list = append(list, h)
	}
	return list
}

// publish has the loaded ids served. It returns false if the leadership has ended
// meanwhile.
func (p *partition) publish(ids map[string]*hosted) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase != loading {
		return false
	}
	p.phase, p.ids = serving, ids
	return true
}

// spawn goes on with a request in another goroutine, unless the leadership has ended:
// then nobody may wait for goroutines any more, and the request is refused.
func (p *partition) spawn(r *request, f func(*partition, *request)) {
	p.mu.RLock()
	ended := p.phase == resigned
	if !ended {
		p.c.background.Go(func() { f(p, r) })
	}
	p.mu.RUnlock()
	if ended {
		r.refuse(errNotCoordinator)
	}
}

// resign ends the leadership: whoever waits is told that this is not the coordinator.
// It returns how many ids there were.
func (p *partition) resign() int {
	p.cancel()
	p.mu.Lock()
	ids := p.ids
	p.phase, p.ids = resigned, nil
	p.mu.Unlock()
	p.c.markers.drop(p)
	p.appender.Close()
	for _, h := range ids {
		h.resign()
	}
	return len(ids)
}
