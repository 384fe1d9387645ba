package zkserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// How much one commit may gather before those who wait get their answers, and
// how many requests of one connection are served before the next one's turn.
const (
	batchRequests = 4096
	batchBytes    = 4 << 20
	turnRequests  = 64
)

// clock tells monotonic time since the server was made.
type clock struct{ start time.Time }

func (c clock) now() time.Duration { return time.Since(c.start) }

// loop is the server's state and the goroutine that owns it. Everything but
// the inbox is touched by that goroutine only (and by load, before it runs).
//
// A round takes whatever waits, changes the state in memory, and stages
// replies and events with the connections they go to, in order. Then it stores
// everything that was changed with one commit, and releases what was staged.
// So what a client hears is durable; events that a change caused go to each
// connection before any reply that could reveal the change; and while a commit
// runs, the requests of the next one gather. If a commit fails, memory is ahead
// of the store and nobody may know: the loop ends, and nothing is released. If
// there was only no room for it, memory goes back to the store (full.go).
type loop struct {
	cfg   Config
	log   *slog.Logger
	store Store
	inbox *inbox
	clock clock

	refusals loglimit.Limit // of sessions

	tree     *tree
	sessions map[int64]*session
	watches  *watchTable
	zxid     int64 // of the last transaction

	storedZxid    int64
	dirtySessions map[int64]struct{}
	happenings    []happening // of the transaction under way
	touched       []*conn     // with staged output, or closing
	served        int         // requests since the last commit
	nextContainer time.Duration
	due           time.Duration // when expire and reapContainers have to look again
	full          bool          // the store has no room: nothing may be changed
	nextLook      time.Duration // for room, if full
	stats         stats
}

func newLoop(cfg Config, store Store, in *inbox) *loop {
	return &loop{
		cfg: cfg, log: cfg.Logger, store: store, inbox: in,
		clock:         clock{time.Now()},
		tree:          newTree(),
		sessions:      map[int64]*session{},
		watches:       newWatchTable(),
		dirtySessions: map[int64]struct{}{},
	}
}

const (
	metaFormat = "format"
	metaZxid   = "zxid"
	format     = 1
)

// load fills the state from the store, and an empty store with the first nodes.
func (l *loop) load() error {
	nodes := map[string]*node{}
	storedFormat := int64(0)
	now := l.clock.now()
	err := l.store.Load(func(e Entry) error {
		switch e.Bucket {
		case BucketMeta:
			if len(e.Value) != 8 {
				return fmt.Errorf("stored %s is damaged", e.Key)
			}
			v := int64(binary.BigEndian.Uint64(e.Value))
			switch e.Key {
			case metaFormat:
				storedFormat = v
			case metaZxid:
				l.zxid = v
			}
		case BucketNodes:
			n, err := decodeNode(e.Value)
			if err != nil {
				return fmt.Errorf("node %q: %w", e.Key, err)
			}
			nodes[e.Key] = n
		case BucketSessions:
			s, err := decodeSession(e.Key, e.Value)
			if err != nil {
				return fmt.Errorf("session %s: %w", e.Key, err)
			}
			s.touch(now)
			l.sessions[s.id] = s
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.storedZxid = l.zxid
	if storedFormat == 0 && len(nodes) == 0 && len(l.sessions) == 0 {
		l.tree.plant()
		l.storedZxid = -1
		return l.commit()
	}
	if storedFormat != format {
		return fmt.Errorf("the store has format %d, this server knows %d", storedFormat, format)
	}
	if err := l.tree.restore(nodes); err != nil {
		return err
	}
	for id, paths := range l.tree.ephemerals {
		if l.sessions[id] == nil {
			return fmt.Errorf("%d ephemeral nodes belong to session %#x, which is not stored", len(paths), id)
		}
	}
	l.log.Debug("zkserver: loaded", "znodes", len(l.tree.nodes), "sessions", len(l.sessions), "zxid", l.zxid)
	return nil
}

// run serves until stop is closed or the store fails.
func (l *loop) run(stop <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var ready, gone []*conn
	l.nextContainer = l.clock.now() + containerInterval
	l.planDue()
	for {
		timer.Reset(max(0, l.due-l.clock.now()))
		if len(ready) == 0 {
			select {
			case <-stop:
				return nil
			case <-l.inbox.wake:
			case <-timer.C:
			}
		} else {
			select {
			case <-stop:
				return nil
			default:
			}
		}
		ready, gone = l.inbox.take(ready, gone)
		for _, c := range gone {
			// What it sent before it went is served all the same.
			if c.lost = true; c.adopt() {
				ready = append(ready, c)
			}
		}
		clear(gone)
		gone = gone[:0]
		ready = l.serveRound(ready)
		if now := l.clock.now(); now >= l.due {
			if l.mayChange() {
				l.expire(now, now-l.due)
				l.reapContainers(now)
			}
			l.planDue()
		}
		err := l.commit()
		if errors.Is(err, ErrNoRoom) {
			err = l.takeBack(err)
		}
		if err != nil {
			l.log.Error("zkserver: the store failed; no longer serving", "error", err)
			return fmt.Errorf("zkserver: %w", err)
		}
		l.release()
	}
}

// serveRound serves the connections in turn until none has a request or the
// batch is full, and returns those that still have some.
func (l *loop) serveRound(ready []*conn) []*conn {
	l.served = 0
	for len(ready) > 0 && l.served < batchRequests && l.tree.dirtyBytes < batchBytes {
		kept := ready[:0]
		for _, c := range ready {
			if l.serveTurn(c) {
				kept = append(kept, c)
			}
		}
		clear(ready[len(kept):])
		ready = kept
	}
	return ready
}

// serveTurn serves a few requests of a connection and tells whether it has to
// come back.
func (l *loop) serveTurn(c *conn) bool {
	for range turnRequests {
		r, ok := c.next()
		if !ok {
			if c.lost {
				l.detach(c)
			}
			return false
		}
		l.served++
		if c.closing {
			continue
		}
		if r.word != "" {
			l.stage(c, func(b []byte) []byte { return append(b, l.answerWord(r.word)...) })
			c.closing = true
			continue
		}
		l.serve(c, r)
		l.stats.note(time.Since(r.at))
		for l.watches.strangers > l.cfg.MaxWatchBytes {
			l.dropMostWatches()
		}
	}
	return true
}

// stage appends output for a connection. It goes out after the commit.
func (l *loop) stage(c *conn, fill func([]byte) []byte) {
	if c.closing || c.lost {
		return
	}
	l.touch(c)
	c.staged = fill(c.staged)
	c.sent.Add(1)
	l.stats.sent++
}

func (l *loop) touch(c *conn) {
	if !c.touched {
		c.touched = true
		l.touched = append(l.touched, c)
	}
}

// reply stages the reply to a request. err decides between body and error code.
func (l *loop) reply(c *conn, xid int32, zxid int64, body zkproto.Record, err error) {
	h := zkproto.ReplyHeader{XID: xid, Zxid: zxid}
	if err != nil {
		h.Err = zkproto.ErrSystem
		errors.As(err, &h.Err)
	}
	l.stage(c, func(b []byte) []byte { return zkproto.AppendReply(b, h, body) })
}

// finish closes a connection once what is staged for it has been sent.
func (l *loop) finish(c *conn) {
	l.touch(c)
	c.closing = true
}

// drop ends a connection without another word.
func (l *loop) drop(c *conn) {
	c.closing = true
	c.staged = nil
	c.close()
	l.detach(c)
}

// dropMostWatches ends the connection whose watches cost most, the owner's left out.
func (l *loop) dropMostWatches() {
	var most *conn
	for _, s := range l.sessions {
		if c := s.conn; c != nil && !c.owner && (most == nil || c.watchBytes > most.watchBytes) {
			most = c
		}
	}
	if l.refusals.Say() {
		l.log.Warn("zkserver: disconnecting the client with the most watches, for there are too many", "client", most.nc.RemoteAddr().String(),
			"watches", len(most.watched), "others_refused", l.refusals.Unsaid())
	}
	l.drop(most)
}

// detach forgets a connection. Its session lives on until it expires.
func (l *loop) detach(c *conn) {
	c.closing = true
	l.watches.drop(c)
	if s := c.session.Load(); s != nil && s.conn == c {
		s.conn = nil
	}
}

// commit stores what has changed since the last commit.
func (l *loop) commit() error {
	changes := l.tree.takeChanges(nil)
	for id := range l.dirtySessions {
		change := Change{Bucket: BucketSessions, Key: sessionKey(id)}
		if s := l.sessions[id]; s != nil {
			change.Value = s.encode()
		}
		changes = append(changes, change)
	}
	clear(l.dirtySessions)
	if len(changes) == 0 && l.zxid == l.storedZxid {
		return nil
	}
	number := func(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
	if l.storedZxid < 0 {
		changes = append(changes, Change{BucketMeta, metaFormat, number(format)})
	}
	changes = append(changes, Change{BucketMeta, metaZxid, number(l.zxid)})
	if err := l.store.Commit(changes); err != nil {
		return err
	}
	l.storedZxid = l.zxid
	l.stats.commits++
	return nil
}

// release lets out what was staged.
func (l *loop) release() {
	for i, c := range l.touched {
		c.touched = false
		l.touched[i] = nil
		if !c.release(c.closing) {
			l.log.Warn("zkserver: disconnecting a client that does not read its events", "client", c.nc.RemoteAddr().String())
			l.drop(c)
		}
	}
	l.touched = l.touched[:0]
}

// planDue works out when the loop has something to do without being asked. A
// session that is heard from in the meantime makes the loop look too early at
// worst.
func (l *loop) planDue() {
	l.due = l.clock.now() + time.Hour
	for _, s := range l.sessions {
		l.due = min(l.due, s.deadline())
	}
	if len(l.tree.containers) > 0 {
		l.due = min(l.due, l.nextContainer)
	}
	if l.full {
		l.due = l.nextLook
	}
}
