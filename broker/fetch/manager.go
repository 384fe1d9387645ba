package fetch

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Session epochs with a meaning of their own (KIP-227).
const (
	InitialEpoch = 0  // make a session
	FinalEpoch   = -1 // use none, and drop the one named
)

// evictAfter is how long a session may be idle, and how old it must be, before a
// newcomer may take its place.
const evictAfter = 2 * time.Minute

// Manager holds the fetch sessions. Safe for concurrent use; it has no goroutine
// of its own.
type Manager struct {
	slots  int
	most   int // partitions of all sessions
	lookup Lookup

	mu         sync.Mutex
	sessions   map[int32]*session
	partitions int // in the sessions, as their sizes say
}

// maxPartitions bounds the partitions of all sessions together, each of which takes
// some 250 bytes. Who would have more does without a session.
const maxPartitions = 250_000

// session is a client's session. Its fields are guarded by Manager.mu, except
// for the set, which belongs to whoever has set busy.
type session struct {
	id       int32
	epoch    int32 // of the next request
	follower bool
	size     int // partitions, after the last request
	created  time.Time
	lastUsed time.Time
	busy     bool // a request is being answered
	gone     bool // no longer in the cache: close the set when not busy
	set      *set

	connection context.Context // of the last request
	unbind     func() bool     // has its end not end the session any more
}

// New makes a Manager with room for that many sessions
// (max.incremental.fetch.session.cache.slots).
func New(slots int, lookup Lookup) (*Manager, error) {
	if slots < 0 || lookup == nil {
		return nil, errors.New("fetch: the number of session slots is negative, or there is nowhere to look partitions up")
	}
	return &Manager{slots: slots, most: maxPartitions, lookup: lookup, sessions: map[int32]*session{}}, nil
}

// Fetch answers a request, or returns the wait for what is to be its answer: then the
// caller begins it, and may end it early. ctx is that of the client's connection; when it
// ends the caller ends the wait.
//
// A session ends with the connection over which it was used last. Kafka keeps it until
// others need its place; but clients begin a new one after they have lost a connection,
// and what is left of one costs every partition in it memory, and news that nobody hears.
func (m *Manager) Fetch(ctx context.Context, req *Request) (Response, *Wait) {
	if req.SessionEpoch == InitialEpoch || req.SessionEpoch == FinalEpoch {
		if req.SessionID != 0 {
			m.drop(req.SessionID)
		}
		return m.full(ctx, req, req.SessionEpoch == InitialEpoch)
	}
	s, err := m.claim(ctx, req)
	if err != nil {
		return Response{Err: err}, nil
	}
	for i := range req.Partitions {
		s.set.put(&req.Partitions[i])
	}
	for _, k := range req.Forgotten {
		s.set.remove(k)
	}
	if s.set.size() == 0 { // the client has let go of all it had
		m.drop(s.id)
		m.release(s)
		return Response{}, nil
	}
	return begin(collector{set: s.set, lookup: m.lookup, req: req}, func(results []Result) Response {
		m.release(s)
		return Response{SessionID: req.SessionID, Results: results}
	})
}

// full answers a request that names all its partitions, and keeps them as a
// session if it is to and there is room.
func (m *Manager) full(ctx context.Context, req *Request, keep bool) (Response, *Wait) {
	set := newSet(req.ByID, len(req.Partitions))
	set.follower = req.Reader.IsFollower()
	for i := range req.Partitions {
		set.put(&req.Partitions[i])
	}
	return begin(collector{set: set, lookup: m.lookup, req: req, full: true, lazy: !keep}, func(results []Result) Response {
		if keep && ctx.Err() == nil {
			if id := m.admit(ctx, set, req.Reader.IsFollower() && req.Refuse == nil); id != 0 {
				return Response{SessionID: id, Results: results}
			}
		}
		set.close()
		return Response{Results: results}
	})
}

// begin looks at what there is, and returns the response or the wait for it.
func begin(c collector, conclude func([]Result) Response) (Response, *Wait) {
	w := &Wait{collector: c, conclude: conclude}
	if w.collector.run() {
		return conclude(w.collector.finish()), nil
	}
	return Response{}, w
}

// claim finds the session of an incremental request and takes it for this
// request.
func (m *Manager) claim(ctx context.Context, req *Request) (*session, error) {
	var victim *session // grown too large
	defer func() {
		if victim != nil {
			victim.set.close()
		}
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[req.SessionID]
	switch {
	case !ok:
		return nil, kerr.FetchSessionIDNotFound
	case s.epoch != req.SessionEpoch || s.busy:
		return nil, kerr.InvalidFetchSessionEpoch
	case s.set.byID != req.ByID:
		return nil, kerr.FetchSessionTopicIDError
	case m.partitions+len(req.Partitions) > m.most && len(req.Partitions) > len(req.Forgotten):
		m.remove(s)
		victim = s
		return nil, kerr.FetchSessionIDNotFound
	}
	if s.connection != ctx {
		m.bind(s, ctx)
	}
	s.epoch = nextEpoch(s.epoch)
	s.busy = true
	s.lastUsed = time.Now()
	return s, nil
}

// bind has the session end with a connection. mu must be held.
func (m *Manager) bind(s *session, connection context.Context) {
	if s.unbind != nil {
		s.unbind()
	}
	s.connection = connection
	s.unbind = context.AfterFunc(connection, func() { m.ended(s, connection) })
}

// ended drops the session of a connection that has ended, unless another one is used for it
// now.
func (m *Manager) ended(s *session, connection context.Context) {
	m.mu.Lock()
	if s.gone || s.connection != connection {
		m.mu.Unlock()
		return
	}
	s = m.remove(s)
	m.mu.Unlock()
	if s != nil {
		s.set.close()
	}
}

func nextEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// release ends the use of a claimed session.
func (m *Manager) release(s *session) {
	size := s.set.size()
	m.mu.Lock()
	s.busy = false
	if !s.gone {
		m.partitions += size - s.size
	}
	s.size = size
	s.lastUsed = time.Now()
	gone := s.gone
	m.mu.Unlock()
	if gone {
		s.set.close()
	}
}

// drop takes a session out of the cache, if it is there.
func (m *Manager) drop(id int32) {
	m.mu.Lock()
	s := m.remove(m.sessions[id])
	m.mu.Unlock()
	if s != nil {
		s.set.close()
	}
}

// remove takes a session out; it returns it if its set is to be closed.
func (m *Manager) remove(s *session) *session {
	if s == nil {
		return nil
	}
	delete(m.sessions, s.id)
	m.partitions -= s.size
	s.gone = true
	s.unbind()
	if s.busy {
		return nil // whoever uses it will close it
	}
	return s
}

// admit makes a session of a set. It returns 0 if there is no room.
func (m *Manager) admit(ctx context.Context, set *set, follower bool) int32 {
	now := time.Now()
	s := &session{epoch: 1, follower: follower, size: set.size(), created: now, lastUsed: now, set: set}
	m.mu.Lock()
	if m.partitions+s.size > m.most {
		m.mu.Unlock()
		return 0
	}
	var victim *session
	if len(m.sessions) >= m.slots {
		worst := m.worst(s, now)
		if worst == nil {
			m.mu.Unlock()
			return 0
		}
		victim = m.remove(worst)
	}
	for s.id == 0 || m.sessions[s.id] != nil {
		s.id = rand.Int32N(math.MaxInt32-1) + 1
	}
	m.sessions[s.id] = s
	m.partitions += s.size
	m.bind(s, ctx)
	m.mu.Unlock()
	if victim != nil {
		victim.set.close()
	}
	return s.id
}

// worst chooses the session that has to go for a new one, nil if all are worth
// more: one that has been idle for long, else the least valuable of those that
// the newcomer may evict. Followers are worth more than consumers, then more
// partitions more than fewer. A consumer's session is safe from consumers, but
// not from followers, in its first two minutes.
func (m *Manager) worst(newcomer *session, now time.Time) *session {
	var idlest, least *session
	for _, s := range m.sessions {
		if idlest == nil || s.lastUsed.Before(idlest.lastUsed) {
			idlest = s
		}
		mayGo := s.lastUsed.Sub(s.created) > evictAfter || newcomer.follower && !s.follower
		if mayGo && (least == nil || worthLess(s, least)) {
			least = s
		}
	}
	switch {
	case idlest != nil && now.Sub(idlest.lastUsed) > evictAfter:
		return idlest
	case least == nil || worthLess(newcomer, least):
		return nil
	}
	return least
}

func worthLess(a, b *session) bool {
	if a.follower != b.follower {
		return b.follower
	}
	if a.size != b.size {
		return a.size < b.size
	}
	return a.id < b.id
}

// Count returns the number of sessions and of partitions in them.
func (m *Manager) Count() (sessions, partitions int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		partitions += s.size
	}
	return len(m.sessions), partitions
}
