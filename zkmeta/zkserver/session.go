package zkserver

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// sessionBase is added to the zxid of the transaction that created a session to
// make the session's id: zxids are durable and never used twice, hence neither
// are session ids, over restarts too. In ZooKeeper the top byte is the server's
// number, and 0x80 and 0xff have special meanings there.
const sessionBase int64 = 1 << 56

const passwordBytes = 16

// session is one client's session. It belongs to the loop, but for heard,
// which the reader of the session's connection moves on with every frame.
type session struct {
	id       int64
	password []byte
	timeout  time.Duration
	conn     *conn // nil while the client is away
	heard    atomic.Int64

	reprieved time.Duration // heard, as expire last set it; -1 if it never did
}

// touch notes that the client was heard from.
func (s *session) touch(now time.Duration) { s.heard.Store(int64(now)) }

func (s *session) deadline() time.Duration { return time.Duration(s.heard.Load()) + s.timeout }

func sessionKey(id int64) string { return fmt.Sprintf("%016x", uint64(id)) }

// sessionFormat is the first byte of a stored session; the timeout in
// milliseconds and the password follow.
const sessionFormat = 1

func (s *session) encode() []byte {
	b := append(make([]byte, 0, 32), sessionFormat)
	return zkproto.AppendBuffer(zkproto.AppendLong(b, s.timeout.Milliseconds()), s.password)
}

func decodeSession(key string, value []byte) (*session, error) {
	id, err := strconv.ParseUint(key, 16, 64)
	if err != nil || len(key) != 16 {
		return nil, fmt.Errorf("bad key")
	}
	if len(value) == 0 || value[0] != sessionFormat {
		return nil, fmt.Errorf("unknown format")
	}
	d := zkproto.NewDecoder(value[1:])
	s := &session{id: int64(id), reprieved: -1}
	s.timeout = time.Duration(d.Long()) * time.Millisecond
	s.password = bytes.Clone(d.Buffer())
	if d.Err() != nil || s.timeout <= 0 || len(s.password) != passwordBytes {
		return nil, fmt.Errorf("damaged")
	}
	return s, nil
}

// connect serves the first request of a connection: it makes a session, or
// resumes one.
func (l *loop) connect(c *conn, r *zkproto.ConnectRequest) {
	c.connected = true
	client := c.nc.RemoteAddr().String()
	if r.LastZxidSeen > l.zxid {
		// It has seen a future that this store does not have: it was
		// connected to something else, or the store was replaced.
		l.log.Warn("zkserver: refusing a client that has seen a later transaction", "client", client,
			"its_zxid", r.LastZxidSeen, "zxid", l.zxid)
		l.finish(c)
		return
	}
	timeout := min(max(time.Duration(r.TimeoutMS)*time.Millisecond, l.cfg.MinSessionTimeout), l.cfg.MaxSessionTimeout)
	timeout = max(timeout.Truncate(time.Millisecond), time.Millisecond)
	var s *session
	if r.SessionID == 0 {
		if !c.owner && len(l.sessions) >= l.cfg.MaxSessions {
			if l.refusals.Say() {
				l.log.Warn("zkserver: too many sessions", "limit", l.cfg.MaxSessions, "refused", client, "others_refused", l.refusals.Unsaid())
			}
			l.finish(c)
			return
		}
		if !l.mayChange() {
			l.finish(c)
			return
		}
		l.zxid++
		s = &session{id: sessionBase + l.zxid, password: make([]byte, passwordBytes), timeout: timeout, reprieved: -1}
		_, _ = rand.Read(s.password) // never fails
		l.sessions[s.id] = s
		l.dirtySessions[s.id] = struct{}{}
		l.log.Debug("zkserver: new session", "session", sessionKey(s.id), "timeout", timeout, "client", client)
	} else {
		s = l.sessions[r.SessionID]
		if s == nil || subtle.ConstantTimeCompare(s.password, r.Password) != 1 {
			l.log.Debug("zkserver: session has expired, or the password is wrong", "session", sessionKey(r.SessionID), "client", client)
			l.answerConnect(c, r, &zkproto.ConnectResponse{Password: make([]byte, passwordBytes)})
			l.finish(c)
			return
		}
		if s.timeout != timeout && !l.mayChange() {
			timeout = s.timeout
		}
		if s.timeout != timeout {
			s.timeout = timeout
			l.dirtySessions[s.id] = struct{}{}
		}
		if old := s.conn; old != nil && old != c {
			l.drop(old)
		}
		l.log.Debug("zkserver: session resumed", "session", sessionKey(s.id), "timeout", timeout, "client", client)
	}
	s.touch(l.clock.now())
	l.due = min(l.due, s.deadline())
	s.conn = c
	c.session.Store(s)
	l.answerConnect(c, r, &zkproto.ConnectResponse{
		TimeoutMS: int32(timeout.Milliseconds()), SessionID: s.id, Password: s.password,
	})
}

func (l *loop) answerConnect(c *conn, r *zkproto.ConnectRequest, resp *zkproto.ConnectResponse) {
	resp.HasReadOnly = r.HasReadOnly
	l.stage(c, func(b []byte) []byte { return zkproto.AppendFrame(b, resp) })
}

// endSession is the transaction that ends a session: its ephemeral nodes are
// gone with it.
func (l *loop) endSession(s *session) {
	l.zxid++
	for _, path := range slices.Sorted(maps.Keys(l.tree.ephemerals[s.id])) {
		l.removeNode(path, l.tree.get(path))
	}
	delete(l.sessions, s.id)
	l.dirtySessions[s.id] = struct{}{}
	l.announceAll()
}

// expire ends the sessions that were not heard from for their timeout. If the
// loop itself comes late, by more than a tick, then this process was stopped
// or starved, and clients may have spoken without being heard: everyone gets
// another timeout, but only one until heard from again.
func (l *loop) expire(now, late time.Duration) {
	if late > l.cfg.TickTime {
		l.log.Warn("zkserver: the process stood still; sessions get more time", "for", late)
		for _, s := range l.sessions {
			if s.heard.Load() != int64(s.reprieved) {
				s.touch(now)
				s.reprieved = now
			}
		}
	}
	var due []*session
	for _, s := range l.sessions {
		if s.deadline() <= now {
			due = append(due, s)
		}
	}
	slices.SortFunc(due, func(a, b *session) int { return int(min(max(a.id-b.id, -1), 1)) })
	for _, s := range due {
		l.log.Info("zkserver: session expired", "session", sessionKey(s.id), "timeout", s.timeout)
		c := s.conn
		l.endSession(s)
		if c != nil {
			l.drop(c)
		}
	}
}

// reapContainers deletes containers that have lost their last child.
func (l *loop) reapContainers(now time.Duration) {
	if now < l.nextContainer {
		return
	}
	l.nextContainer = now + containerInterval
	for _, path := range slices.Sorted(maps.Keys(l.tree.containers)) {
		if n := l.tree.get(path); n.creates > 0 && len(n.children) == 0 {
			l.zxid++
			l.removeNode(path, n)
			l.announceAll()
		}
	}
}
