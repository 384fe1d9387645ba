package zkserver

import (
	"errors"
	"strings"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// maxReplyBytes bounds the reply to a multiRead, whose request can name one
// large node many times.
const maxReplyBytes = 16 << 20

func errorCode(err error) zkproto.Error {
	var code zkproto.Error
	if errors.As(err, &code) {
		return code
	}
	return zkproto.ErrSystem
}

// serve answers one request of a client.
func (l *loop) serve(c *conn, r request) {
	if !c.connected {
		l.connect(c, r.body.(*zkproto.ConnectRequest)) // the reader's first, always
		return
	}
	s := c.session.Load()
	if s == nil || s.conn != c {
		l.finish(c) // refused, or moved to another connection
		return
	}
	xid := r.header.XID
	switch {
	case r.header.Op == zkproto.OpReconfig:
		l.reply(c, xid, l.zxid, nil, zkproto.ErrReconfigDisabled)
		return
	case r.body == nil, r.header.Op == zkproto.OpDeleteContainer:
		// Nothing that a client may send. ZooKeeper hangs up, too.
		l.reply(c, xid, l.zxid, nil, zkproto.ErrUnimplemented)
		l.finish(c)
		return
	case r.bad && r.header.Op == zkproto.OpAuth:
		l.finish(c)
		return
	case r.bad:
		l.reply(c, xid, l.zxid, nil, zkproto.ErrMarshalling)
		return
	}
	switch r.header.Op {
	case zkproto.OpPing:
		l.reply(c, zkproto.XIDPing, l.zxid, nil, nil)
	case zkproto.OpAuth:
		l.auth(c, xid, r.body.(*zkproto.AuthRequest))
	case zkproto.OpCloseSession:
		if !l.mayChange() {
			l.reply(c, xid, l.zxid, nil, zkproto.ErrQuotaExceeded)
			return
		}
		l.endSession(s)
		l.reply(c, xid, l.zxid, nil, nil)
		l.finish(c)
	default:
		body, err := l.perform(c, s, r)
		l.reply(c, xid, l.zxid, body, err)
	}
}

// auth adds an identity to the connection. A failure ends the connection, since
// the client would otherwise work on with fewer rights than it believes.
func (l *loop) auth(c *conn, xid int32, r *zkproto.AuthRequest) {
	switch {
	case r.Scheme == "digest" && len(c.who) < maxIdentities:
		id := digestIdentity(r.Auth)
		for _, w := range c.who {
			if w == id {
				l.reply(c, xid, 0, nil, nil)
				return
			}
		}
		c.who = append(c.who, id)
		l.reply(c, xid, 0, nil, nil)
	case r.Scheme == "ip" && len(c.who) > 0:
		l.reply(c, xid, 0, nil, nil) // has been so since it connected
	default:
		l.reply(c, xid, 0, nil, zkproto.ErrAuthFailed)
		l.finish(c)
	}
}

// perform does what the request asks for.
func (l *loop) perform(c *conn, s *session, r request) (zkproto.Record, error) {
	op := r.header.Op
	switch req := r.body.(type) {
	case *zkproto.PathWatchRequest:
		return l.read(c, op, req)
	case *zkproto.PathRequest:
		switch op {
		case zkproto.OpSync:
			// One server has nothing to catch up with, and its replies
			// are in order.
			return &zkproto.PathResponse{Path: req.Path}, nil
		case zkproto.OpGetEphemerals:
			return l.getEphemerals(s, req.Path), nil
		case zkproto.OpGetAllChildrenNumber:
			if _, err := l.readable(c, req.Path); err != nil {
				return nil, err
			}
			return &zkproto.GetAllChildrenNumberResponse{Total: int32(l.tree.descendants(req.Path))}, nil
		}
		return l.getACL(c, req.Path)
	case *zkproto.MultiRequest:
		if op == zkproto.OpMultiRead {
			return l.multiRead(c, req)
		}
		return l.multi(c, req)
	case *zkproto.SetWatchesRequest:
		l.setWatches(c, req)
		return nil, nil
	case *zkproto.SetWatches2Request:
		l.setWatches(c, &req.SetWatchesRequest)
		for _, path := range req.Persistent {
			l.watches.add(c, path, dataPersistent|childPersistent)
		}
		for _, path := range req.PersistentRecursive {
			l.watches.add(c, path, recursive)
		}
		return nil, nil
	case *zkproto.AddWatchRequest:
		return &zkproto.ErrorResponse{}, l.addWatch(c, req.Path, req.Mode)
	case *zkproto.WatchesRequest:
		bits, err := watcherBits(req.Type)
		if err != nil {
			return nil, err
		}
		if op == zkproto.OpCheckWatches && l.watches.has(c, req.Path, bits) ||
			op == zkproto.OpRemoveWatches && l.watches.remove(c, req.Path, bits) {
			return nil, nil
		}
		return nil, zkproto.ErrNoWatcher
	case *zkproto.Empty: // whoAmI
		resp := &zkproto.WhoAmIResponse{}
		for _, w := range c.who {
			user, _, _ := strings.Cut(w.id, ":")
			resp.ClientInfo = append(resp.ClientInfo, zkproto.ClientInfo{AuthScheme: w.scheme, User: user})
		}
		return resp, nil
	}
	if op == zkproto.OpCheck {
		return nil, l.check(c, r.body.(*zkproto.CheckVersionRequest))
	}
	return l.transact(func() (zkproto.Record, error) { return l.write(c, op, r.body) })
}
