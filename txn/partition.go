package txn

import (
	"context"

	"github.com/gracchus-mq/gracchus/statelog"
)

// partition is one partition of __transaction_state while this broker leads it. It is
// made when leadership begins and thrown away when it ends: what comes late, a load, an
// acknowledgement or an answer about markers, finds only what is dead.
//
// Lock order: an id's, then the table's, which is also taken alone.
type partition struct {
	c        *Coordinator
	number   int32
	epoch    int32 // in which leadership began; the coordinator epoch of markers
	appender *statelog.Appender[queued]
	ctx      context.Context // ends with the leadership
	cancel   context.CancelFunc

	table statelog.Table[hosted] // ids
}

// findOrCreate returns an id, which is new if it was not known. There is no new one
// without room: the error is kerr.CoordinatorNotAvailable then.
func (p *partition) findOrCreate(id string) (*hosted, error) {
	return p.table.GetOrAdd(id, func() (*hosted, error) {
		if p.c.budget.room() <= 0 {
			p.c.budget.refused()
			return nil, errNotAvailable
		}
		return &hosted{of: p, id: newTransaction(id, &p.c.settings.Limits)}, nil
	})
}

// spawn goes on with a request in another goroutine, unless the leadership has ended:
// then nobody may wait for goroutines any more, and the request is refused.
func (p *partition) spawn(r *request, f func(*partition, *request)) {
	if err := p.table.WhileLed(func() { p.c.background.Go(func() { f(p, r) }) }); err != nil {
		r.refuse(err)
	}
}

// resign ends the leadership: whoever waits is told that this is not the coordinator.
// It returns how many ids there were.
func (p *partition) resign() int {
	p.cancel()
	ids := p.table.Resign()
	p.c.markers.drop(p)
	p.appender.Close()
	for _, h := range ids {
		h.resign()
	}
	return len(ids)
}
