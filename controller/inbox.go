package controller

import (
	"context"
	"sync"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// events is what happened since the loop last looked. Watches only raise flags: the
// loop reads again and compares, so that it does not matter how often something
// changed, or in what order it was told.
type events struct {
	sessionChanged bool
	controller     bool // /controller came, went or changed
	brokers        bool // registrations
	topics         bool // the list of topics
	topicData      map[string]bool
	deletions      bool
	preferred      bool
	logDirs        bool
	isrChanges     bool
	receipts       []receipt
	alterations    []*alteration // leaders' requests to change ISRs
	questions      []*question   // other requests
	unclean        bool          // unclean election was allowed somewhere
	rebalance      bool          // it is time to look at leaderships
}

// tenancy is the time in which the loop may act in one ZooKeeper session: from its
// connection to its end, or until it may have ended unheard.
type tenancy struct {
	id     session.ID // 0: no session
	ctx    context.Context
	cancel context.CancelFunc
}

// inbox collects events for the loop. Everybody may add to it and nobody waits: mu
// guards the fields and is held for a few assignments. It stays small whatever
// happens: flags coalesce, outboxes cannot send receipts for more than the loop has
// given them, and of requests there are as many as the handlers that wait for them.
//
// The end of a session takes effect here and at once: the tenancy's context is
// cancelled in the session's own callback, before a new session can be opened, so
// that what the loop is doing at that moment fails.
type inbox struct {
	root context.Context // of all tenancies
	wake chan struct{}   // capacity 1

	mu      sync.Mutex
	events  events
	tenancy tenancy
}

func newInbox(root context.Context) *inbox {
	return &inbox{root: root, wake: make(chan struct{}, 1)}
}

// put changes the events under the lock and wakes the loop.
func (b *inbox) put(change func(e *events)) {
	b.mu.Lock()
	change(&b.events)
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// flag makes a watch that raises a flag.
func (b *inbox) flag(raise func(e *events)) *session.Watch {
	return session.NewWatch(func(session.WatchEvent) { b.put(raise) })
}

// take returns the events so far and the tenancy, and leaves no events behind.
func (b *inbox) take() (events, tenancy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.events
	b.events = events{}
	return e, b.tenancy
}

// begin starts a tenancy in a session, unless one runs there already.
func (b *inbox) begin(id session.ID) {
	b.mu.Lock()
	if b.tenancy.id != id {
		b.endLocked()
		ctx, cancel := context.WithCancel(b.root)
		b.tenancy = tenancy{id: id, ctx: ctx, cancel: cancel}
		b.events.sessionChanged = true
	}
	b.mu.Unlock()
	b.signal()
}

// end ends the tenancy, whichever it is.
func (b *inbox) end() {
	b.mu.Lock()
	b.endLocked()
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) endLocked() {
	if b.tenancy.cancel != nil {
		b.tenancy.cancel()
		b.events.sessionChanged = true
	}
	b.tenancy = tenancy{}
}

// onSession is the callback for the session's events.
func (b *inbox) onSession(e session.Event) {
	switch e.Kind {
	case session.Connected:
		b.begin(e.Session)
	case session.Lapsed, session.Expired:
		b.end()
	}
	// Disconnected by itself changes nothing: the session lives on.
}
