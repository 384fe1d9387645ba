package server

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// heldFile is what an open file of a reply counts for: descriptors are scarce.
	heldFile = 64 << 10
	// stalledAfter is for how long the peer must not have taken a byte of a reply, for
	// its connection to be closed when memory for replies is short.
	stalledAfter = 500 * time.Millisecond
	// unsentPoll is how often those who wait for others' replies to go look again.
	unsentPoll = 100 * time.Millisecond
	// admitEvery is how long the next one who waited waits after another, so that the
	// reply of that one counts before: all at once would find the same room.
	admitEvery = 5 * time.Millisecond
)

// unsent accounts for the replies of some keys that are on their way. Peers that do
// not read theirs could fill the memory, each with one: beyond a limit, no request of
// these keys is handled until there is room, and those whose replies do not move are
// closed to make it. Half of the room is for those who have read a reply before: who
// only connects to ask for much is not in their way. Safe for concurrent use.
type unsent struct {
	limit int64

	total atomic.Int64 // bytes, once more: all that most requests ask

	mu     sync.Mutex
	bytes  int64
	conns  map[*conn]sending
	looked time.Time
	turns  [2]chan struct{} // hold an element while a newcomer, or another, is next to go on
	freed  chan struct{}    // closed and replaced when bytes has fallen and somebody may have room
}

// sending is what one connection has on its way.
type sending struct {
	bytes int64
	begun time.Time
	acked uint64    // what the peer had taken when somebody looked
	since time.Time // when somebody first saw that; zero: nobody has looked
}

func newUnsent(limit int64) *unsent {
	return &unsent{limit: limit, conns: map[*conn]sending{}, freed: make(chan struct{}),
		turns: [2]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}}
}

// begin notes replies that are about to be written, and reports whether there is
// anything to end: small ones do not count. A connection writes one batch at a time.
func (u *unsent) begin(c *conn, replies []*Reply) bool {
	n := int64(0)
	for _, p := range replies {
		n += int64(cap(p.Buf)) + heldFile*int64(len(p.files))
	}
	if n <= chunkSize {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns[c] = sending{bytes: n, begun: time.Now()}
	u.bytes += n
	u.total.Store(u.bytes)
	return true
}

func (u *unsent) end(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.bytes
	u.bytes -= u.conns[c].bytes
	delete(u.conns, c)
	u.total.Store(u.bytes)
	if before > u.limit/2 && u.bytes <= u.limit { // newcomers or all may wait
		close(u.freed)
		u.freed = make(chan struct{})
	}
}

// waitRoom returns when the replies on their way leave room for one of c.
func (u *unsent) waitRoom(c *conn) error {
	room, turn := u.limit, u.turns[1]
	if !c.answered.Load() {
		room, turn = room/2, u.turns[0]
	}
	if u.total.Load() <= room {
		return nil
	}
	select {
	case turn <- struct{}{}:
		defer func() { time.AfterFunc(admitEvery, func() { <-turn }) }()
	case <-c.srv.hurry:
		return errClosed
	case <-c.ctx.Done():
		return errClosed
	}
	for u.total.Load() > room {
		victims, freed := u.stalled(room)
		if freed == nil {
			return nil
		}
		for _, v := range victims {
			v.closeBecause("its replies are not read, and the broker needs their memory")
		}
		poll := time.NewTimer(unsentPoll)
		select {
		case <-freed:
		case <-poll.C:
		case <-c.srv.hurry:
			poll.Stop()
			return errClosed
		case <-c.ctx.Done():
			poll.Stop()
			return errClosed
		}
		poll.Stop()
	}
	return nil
}

// stalled returns, while there is too much, which connections are to be closed, and
// a channel that tells when it is enough; else nil and nil. They are so many that half
// of the room is free then: others who do not read will want it at once.
func (u *unsent) stalled(room int64) ([]*conn, <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bytes <= room {
		return nil, nil
	}
	now := time.Now()
	if now.Sub(u.looked) < unsentPoll/2 {
		return nil, u.freed // somebody else has just looked
	}
	u.looked = now
	var victims []*conn
	for c, s := range u.conns {
		if c.listener.Internal {
			continue
		}
		if acked := c.acked(); s.since.IsZero() || acked != s.acked {
			s.acked, s.since = acked, now
			u.conns[c] = s
		} else if now.Sub(s.since) >= stalledAfter {
			victims = append(victims, c)
		}
	}
	slices.SortFunc(victims, func(a, b *conn) int { return u.conns[a].begun.Compare(u.conns[b].begun) })
	excess := u.bytes - room/2
	for i, c := range victims {
		if excess -= u.conns[c].bytes; excess <= 0 {
			return victims[:i+1], u.freed
		}
	}
	return victims, u.freed
}
