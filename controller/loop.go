package controller

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// loop is the goroutine that owns the controller's state; all of its fields belong
// to it, and nothing else reads or writes them while it runs. It waits in two places
// only: for events, and for ZooKeeper to answer what it reads or writes, pipelined,
// in one state change. It never waits for a broker.
//
// Whatever fails within a term ends that term: the place is given up and the next
// term, here or elsewhere, begins by reading everything again.
type loop struct {
	c          *Controller
	cfg        Config
	zk         *zkmeta.Client
	logger     *slog.Logger
	watch      watches
	decided    chan struct{} // closed when the first election is over
	registered session.ID    // where this broker has registered last
	tenancy    tenancy
	term       *term         // nil while another is controller
	abandoned  *zkmeta.Claim // of a term that ended without giving up the place
	retry      *time.Timer   // nil, or when to stand again
}

// watches are made once and armed by each read.
type watches struct {
	controller, brokers, topics, topicData, deletions, preferred, logDirs, isrChanges *session.Watch
}

func newLoop(c *Controller) *loop {
	b := c.inbox
	return &loop{
		c: c, cfg: c.cfg, zk: c.zk, logger: c.cfg.Logger, decided: make(chan struct{}),
		watch: watches{
			controller: b.flag(func(e *events) { e.controller = true }),
			brokers:    b.flag(func(e *events) { e.brokers = true }),
			topics:     b.flag(func(e *events) { e.topics = true }),
			deletions:  b.flag(func(e *events) { e.deletions = true }),
			preferred:  b.flag(func(e *events) { e.preferred = true }),
			logDirs:    b.flag(func(e *events) { e.logDirs = true }),
			isrChanges: b.flag(func(e *events) { e.isrChanges = true }),
			topicData: session.NewWatch(func(w session.WatchEvent) {
				b.put(func(e *events) {
					if e.topicData == nil {
						e.topicData = map[string]bool{}
					}
					e.topicData[w.Path[len(zkmeta.TopicsPath)+1:]] = true
				})
			}),
		},
	}
}

func (l *loop) run(ctx context.Context) {
	defer l.endTerm()
	for {
		var retry <-chan time.Time
		if l.retry != nil {
			retry = l.retry.C
		}
		select {
		case <-l.c.inbox.wake:
		case <-retry:
			l.retry = nil
			l.c.inbox.put(func(e *events) { e.controller = true })
		case <-ctx.Done():
			return
		}
		l.step(l.c.inbox.take())
	}
}

// step handles what happened.
func (l *loop) step(e events, now tenancy) {
	if e.sessionChanged {
		l.moveTo(now)
		e = events{controller: true} // all else is read when a term begins
	}
	if l.tenancy.id == 0 {
		return // the next session brings its own event
	}
	if e.controller {
		l.stand()
	}
	if l.term != nil {
		if err := l.term.handle(e); err != nil {
			l.lose(err)
		}
	}
}

// moveTo follows the session. The term of the old one, if any, is over already: its
// context was cancelled when the session ended.
func (l *loop) moveTo(now tenancy) {
	if l.term != nil {
		l.abandoned = &l.term.claim
		l.endTerm()
	}
	l.tenancy = now
}

// stand makes sure of a registration in the session, looks who is controller, and
// claims the place if it is free.
func (l *loop) stand() {
	ctx, id := l.tenancy.ctx, l.tenancy.id
	if l.retry != nil && l.term == nil {
		return // not yet
	}
	if l.registered != id {
		if err := l.cfg.Register(ctx, id); err != nil {
			l.standLater(err, "cannot register this broker in the new ZooKeeper session")
			return
		}
		l.registered = id
	}
	if claim := l.abandoned; claim != nil {
		// If the session is the same after all, the node is still ours, but the term is
		// not: what others decided meanwhile must be read.
		l.abandoned = nil
		if claim.Session == id {
			if err := l.zk.ResignController(ctx, *claim); err != nil && !errors.Is(err, zkmeta.ErrNotController) {
				l.abandoned = claim
				l.standLater(err, "cannot give up the controller's place")
				return
			}
		}
	}
	reg, taken, err := l.zk.In(id).Controller(ctx, l.watch.controller)
	if err != nil {
		l.endTerm() // it cannot be seen to be in place
		l.standLater(err, "cannot read who is controller")
		return
	}
	own := taken && reg.BrokerID == l.cfg.BrokerID
	if own && l.term != nil {
		return // it is this term's own node
	}
	l.endTerm()
	if taken && !own {
		l.logger.Debug("another broker is controller", "broker", reg.BrokerID)
		l.decide()
		return
	}
	// A place that is held without a term is one that was lost in another way than by
	// an election, as when somebody writes the epoch by hand: the claim gives it up.
	claim, won, err := l.zk.ClaimController(ctx, id, l.cfg.BrokerID)
	if err != nil {
		l.standLater(err, "cannot stand for election")
		return
	}
	if !won {
		if own {
			l.decide() // of this broker's earlier session: its end is the next election
		}
		return // the watch tells who did
	}
	l.begin(claim)
}

// begin takes up the work of an election that was won.
func (l *loop) begin(claim zkmeta.Claim) {
	t, err := beginTerm(l, claim)
	l.term = t
	if err != nil {
		l.lose(err)
		return
	}
	l.logger.Info("this broker is the controller", "epoch", claim.Epoch, "brokers", len(t.st.brokers), "topics", len(t.st.topics))
	l.decide()
}

// lose ends a term in which something failed.
func (l *loop) lose(err error) {
	claim, ctx := l.term.claim, l.tenancy.ctx
	l.endTerm()
	switch {
	case ctx.Err() != nil, errors.Is(err, session.ErrExpired), errors.Is(err, session.ErrStopped):
		l.abandoned = &claim // the session's events tell how it goes on
	case errors.Is(err, zkmeta.ErrNotController):
		l.logger.Info("no longer the controller: another broker was elected", "epoch", claim.Epoch)
		l.c.inbox.put(func(e *events) { e.controller = true })
	default:
		l.standLater(err, "giving up the controller's place")
		if err := l.zk.ResignController(ctx, claim); err != nil && !errors.Is(err, zkmeta.ErrNotController) {
			l.abandoned = &claim
		}
	}
}

// standLater logs a failure that the session's end does not explain, and tries again
// after a while, in which others may be faster.
func (l *loop) standLater(err error, what string) {
	if l.tenancy.ctx.Err() != nil {
		return
	}
	l.logger.Error(what, "error", err, "again in", l.cfg.RetryBackoff)
	l.retry = time.NewTimer(l.cfg.RetryBackoff)
}

func (l *loop) endTerm() {
	if l.term == nil {
		return
	}
	l.c.active.Store(nil)
	l.term.end()
	l.logger.Info("this broker is no longer the controller", "epoch", l.term.claim.Epoch)
	l.term = nil
}

// decide tells Start that the first election is over.
func (l *loop) decide() {
	select {
	case <-l.decided:
	default:
		close(l.decided)
	}
}
