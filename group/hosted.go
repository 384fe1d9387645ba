package group

import (
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/statelog"
)

// hosted is a group that this broker coordinates: its state machine, the mutex that
// each of its steps is taken under, and the alarm that calls it when something is due.
//
// A step is what begin and end enclose. Its writes are in the appender's line before
// the mutex is released; replies are given after.
type hosted struct {
	of *partition

	mu    sync.Mutex
	group *classicGroup
	taken footprint // what the budget knows of
	alarm statelog.Alarm
}

// begin begins a step, and returns the group and the time.
func (h *hosted) begin() (*classicGroup, time.Time) {
	h.mu.Lock()
	h.group.room = h.of.budget.room()
	return h.group, time.Now()
}

// end ends a step and does what it asks for. In a callback of the log nothing may be
// appended: callback says that this is one.
func (h *hosted) end(fx *effects, callback bool) {
	h.charge()
	if len(fx.writes) == 0 && len(fx.joins) == 0 && len(fx.syncs) == 0 && len(fx.commits) == 0 && h.group.state != Dead {
		h.arm()
		h.mu.Unlock()
		return
	}
	due, closed := false, false
	if len(fx.writes) > 0 {
		due, closed = h.queue(fx.writes, callback)
	}
	h.arm()
	dead := h.group.state == Dead
	h.mu.Unlock()
	if dead {
		h.of.table.Remove(h.group.id, h)
	}
	fx.answer()
	if fx.noRoom {
		h.of.budget.refused()
	}
	if due {
		h.of.appender.Run()
	}
	if closed {
		for i := range fx.writes {
			h.written(&fx.writes[i], -1, errNotCoordinator)
		}
	}
}

// charge has the budget know what the group takes.
func (h *hosted) charge() {
	takes := h.group.takes
	if h.group.state == Dead {
		takes = 0
	}
	if takes != h.taken {
		h.of.budget.used.Add(int64(takes - h.taken))
		h.taken = takes
	}
}

// arm has the alarm ring when the group's next tick is due.
func (h *hosted) arm() {
	if h.group.state == Dead {
		h.alarm.Stop()
		return
	}
	h.alarm.Set(h.group.wake, h)
}

// Tick does what is due.
func (h *hosted) Tick() {
	var fx effects
	g, now := h.begin()
	h.alarm.Rang()
	if g.state != Dead {
		g.tick(now, &fx)
	}
	h.end(&fx, false)
}

// written goes on with the group when a write of it is in the log, in a batch at base,
// or has failed.
func (h *hosted) written(w *write, base int64, err error) {
	var fx effects
	g, now := h.begin()
	switch {
	case w.commit != nil:
		if err != nil {
			err = commitError(err)
		}
		g.committed(w, base, err, &fx)
	case w.metadata != nil:
		if err != nil {
			err = metadataError(err)
		}
		g.groupStored(now, w.metadata, err, &fx)
	}
	h.end(&fx, true)
}

// resign ends the group here.
func (h *hosted) resign() {
	var fx effects
	g, now := h.begin()
	g.resign(now, &fx)
	h.end(&fx, false)
}
