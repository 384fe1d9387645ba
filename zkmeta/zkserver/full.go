package zkserver

import (
	"fmt"
	"time"
)

// lookInterval is how often a full store is asked whether it has room.
const lookInterval = time.Second

// takeBack follows a commit for which the disk has no room: the state becomes that
// of the store again. Connections with output that was waiting for the commit are
// closed without it, so that their clients know that they know nothing; all others
// go on, with their watches. From then on, until there is room, whatever would
// change something is answered ErrQuotaExceeded, no session begins, ends or
// expires, and everything else is served.
func (l *loop) takeBack(cause error) error {
	if !l.full {
		l.log.Error("zkserver: no room on the disk: changes are refused until there is", "error", cause)
	}
	l.full, l.nextLook = true, l.clock.now()+lookInterval
	l.due = l.nextLook
	for i, c := range l.touched {
		c.touched = false
		l.touched[i] = nil
		l.drop(c)
	}
	l.touched = l.touched[:0]
	before := l.sessions
	l.tree, l.sessions, l.zxid = newTree(), map[int64]*session{}, 0
	if err := l.load(); err != nil {
		return fmt.Errorf("read the store again: %w", err)
	}
	for id, old := range before {
		now := l.sessions[id]
		if now == nil {
			continue // its creation was taken back, and its connection is closed
		}
		now.heard.Store(old.heard.Load())
		now.reprieved = old.reprieved
		if c := old.conn; c != nil {
			now.conn = c
			c.session.Store(now)
		}
	}
	return nil
}

// mayChange reports whether there is room for changes, as far as is known.
func (l *loop) mayChange() bool {
	if !l.full || l.clock.now() < l.nextLook {
		return !l.full
	}
	l.nextLook = l.clock.now() + lookInterval
	if l.full = !l.store.HasRoom(); !l.full {
		l.log.Info("zkserver: there is room on the disk again: changes go on")
	}
	return !l.full
}
