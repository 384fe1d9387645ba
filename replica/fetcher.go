package replica

import (
	"context"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetcher copies partitions from one leader: one connection, one fetch session,
// one request at a time. A request that asks for what comes next also tells what
// has arrived, by which the leader's high watermark moves; so the next one leaves
// as soon as a response is in the logs.
//
// Concurrency: one goroutine, run, owns everything but what changes guard.
type fetcher struct {
	*fetchers
	leader int32
	logger *slog.Logger

	changing sync.Mutex
	changes  map[*Partition]*role // new roles; nil: not to be fetched any more
	changed  chan struct{}        // holds at most one signal

	session  fetchSession
	epoch    int64 // of this broker's registration, as the leader was told in the session
	copies   map[*Partition]*copied
	byTarget map[fetchTarget]*copied
	delayed  map[*copied]time.Time // those that have failed, until they are tried again
	unnamed  int                   // copies whose topic has no id
	line     line
	response kmsg.FetchResponse // reused
	unsynced []*copied          // reused: those to be synced before the next request
	outside  []*copied          // reused: those whose log ends outside of the leader's
	failures int                // connections or requests in a row that failed
}

func newFetcher(leader int32, fs *fetchers) *fetcher {
	return &fetcher{
		fetchers: fs,
		leader:   leader,
		logger:   fs.logger.With("leader", leader),
		changes:  map[*Partition]*role{},
		changed:  make(chan struct{}, 1),
		session:  newFetchSession(),
		copies:   map[*Partition]*copied{},
		byTarget: map[fetchTarget]*copied{},
		delayed:  map[*copied]time.Time{},
		line:     line{clientID: "broker-" + strconv.Itoa(int(fs.broker)) + "-fetcher-0", timeout: fs.settings.SocketTimeout},
	}
}

// change gives a partition another role, nil if it is not to be fetched from this
// leader any more. What is waiting at the leader is not interrupted.
func (f *fetcher) change(p *Partition, r *role) {
	f.changing.Lock()
	f.changes[p] = r
	f.changing.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *fetcher) run(ctx context.Context) {
	defer f.line.close()
	for ctx.Err() == nil {
		f.takeChanges()
		f.resume(time.Now())
		if f.session.empty() {
			f.idle(ctx)
			continue
		}
		err := f.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.failures++
			f.logger.Debug("fetching has failed", "err", err, "times", f.failures)
			f.line.close()
			f.restartSession()
			f.pause(ctx)
			continue
		}
		f.failures = 0
	}
}

// takeChanges brings the copies up to what the roles have become.
func (f *fetcher) takeChanges() {
	var changes map[*Partition]*role
	f.changing.Lock()
	if len(f.changes) > 0 {
		changes, f.changes = f.changes, map[*Partition]*role{}
	}
	f.changing.Unlock()
	for p, r := range changes {
		if old := f.copies[p]; old != nil {
			f.drop(old)
		}
		if r != nil {
			f.add(p, r)
		}
	}
	if byName := f.unnamed > 0; byName != f.session.byName {
		f.session.byName = byName
		clear(f.byTarget)
		for _, c := range f.copies {
			c.target = f.targetOf(c)
			f.byTarget[c.target] = c
		}
		f.restartSession()
	}
}

func (f *fetcher) add(p *Partition, r *role) {
	c := &copied{p: p, role: r, id: r.log.TopicID()}
	c.target = f.targetOf(c)
	f.copies[p] = c
	f.byTarget[c.target] = c
	if c.id.IsZero() {
		f.unnamed++
	}
	if err := p.beginFollowing(r); err != nil {
		f.applied(c, err)
		return
	}
	f.session.want(c)
}

func (f *fetcher) drop(c *copied) {
	f.session.forget(c)
	delete(f.copies, c.p)
	delete(f.delayed, c)
	if f.byTarget[c.target] == c {
		delete(f.byTarget, c.target)
	}
	if c.id.IsZero() {
		f.unnamed--
	}
}

func (f *fetcher) targetOf(c *copied) fetchTarget {
	t := fetchTarget{partition: c.p.tp.Partition}
	if f.session.byName {
		t.topic = c.p.tp.Topic
	} else {
		t.id = c.id
	}
	return t
}

// restartSession begins a new session with all partitions that need not wait.
func (f *fetcher) restartSession() {
	f.session.reset(func(yield func(*copied) bool) {
		for c := range maps.Values(f.copies) {
			if _, waits := f.delayed[c]; !waits && !yield(c) {
				return
			}
		}
	})
}

// delay takes a partition out of the session for a while.
func (f *fetcher) delay(c *copied) {
	f.session.forget(c)
	c.failures++
	f.delayed[c] = time.Now().Add(f.backoff(c.failures))
}

// firstBackoff is how long a fetcher waits after the first failure in a row. Most
// are over when the leader hears from the controller, too.
const firstBackoff = 50 * time.Millisecond

// backoff grows to replica.fetch.backoff.ms, which is what Kafka waits at once.
func (f *fetcher) backoff(failures int) time.Duration {
	return min(firstBackoff<<min(failures-1, 10), f.settings.FetchBackoff)
}

func (f *fetcher) resume(now time.Time) {
	for c, at := range f.delayed {
		if !at.After(now) {
			delete(f.delayed, c)
			f.session.want(c)
		}
	}
}

// idle waits until there is something to fetch. Nobody needs the connection while
// there are no partitions.
func (f *fetcher) idle(ctx context.Context) {
	var due <-chan time.Time
	if len(f.copies) == 0 {
		f.line.close()
		f.restartSession()
	}
	if len(f.delayed) > 0 {
		var first time.Time
		for _, at := range f.delayed {
			if first.IsZero() || at.Before(first) {
				first = at
			}
		}
		timer := time.NewTimer(time.Until(first))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-f.changed:
	case <-due:
	}
}

// pause waits before the leader is tried again.
func (f *fetcher) pause(ctx context.Context) {
	timer := time.NewTimer(f.backoff(f.failures))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// fetch asks once and applies the answer. An error is about all partitions.
func (f *fetcher) fetch(ctx context.Context) error {
	if err := f.connect(ctx); err != nil {
		return err
	}
	if epoch := f.brokerEpoch(); epoch != f.epoch {
		// The leader has to hear of every partition that this broker has it still: where
		// nothing happens it would propose the old registration for the ISR for ever.
		f.epoch = epoch
		f.restartSession()
	}
	req := f.session.request(f.broker, f.epoch, &f.settings)
	f.response.Version = req.Version
	if err := f.line.ask(ctx, req, &f.response, f.settings.FetchWait); err != nil {
		return err
	}
	switch err := kerr.ErrorForCode(f.response.ErrorCode); err {
	case nil:
	case kerr.FetchSessionIDNotFound, kerr.InvalidFetchSessionEpoch, kerr.FetchSessionTopicIDError:
		f.logger.Debug("a new fetch session is needed", "err", err)
		f.restartSession()
		return nil
	default:
		return err
	}
	f.session.answered(f.response.SessionID)
	if err := f.apply(ctx); err != nil {
		return err
	}
	if f.session.epoch == sessionInitial {
		f.restartSession() // the leader keeps none
	}
	return nil
}

func (f *fetcher) connect(ctx context.Context) error {
	if f.line.conn != nil {
		return nil
	}
	conn, err := f.peers.Connect(ctx, f.leader)
	if err == nil {
		f.line.open(conn)
	}
	return err
}
