package zkserver

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// Each of the functions here checks everything first, in the order in which
// ZooKeeper checks it, since that decides which of several errors a client
// sees; then it changes the tree. The zxid that they write is l.zxid: the caller
// has counted it up, and counts it down again if there was an error, so that a
// request that changes nothing uses none. (ZooKeeper spends one on it.)

// transact runs f as a transaction of its own.
func (l *loop) transact(f func() (zkproto.Record, error)) (zkproto.Record, error) {
	if !l.mayChange() {
		return nil, zkproto.ErrQuotaExceeded
	}
	l.zxid++
	body, err := f()
	if err != nil {
		l.zxid--
		return nil, err
	}
	l.announceAll()
	return body, nil
}

func (l *loop) announceAll() {
	for _, h := range l.happenings {
		l.announce(h)
	}
	clear(l.happenings)
	l.happenings = l.happenings[:0]
}

// write serves one of the operations that change the tree, alone or in a multi.
func (l *loop) write(c *conn, op zkproto.Op, body zkproto.Record) (zkproto.Record, error) {
	switch r := body.(type) {
	case *zkproto.CreateRequest:
		return l.create(c, op, r, -1)
	case *zkproto.CreateTTLRequest:
		return l.create(c, op, &r.CreateRequest, r.TTL)
	case *zkproto.SetDataRequest:
		return l.setData(c, r)
	case *zkproto.SetACLRequest:
		return l.setACL(c, r)
	case *zkproto.DeleteRequest: // the body of check, too
		if op == zkproto.OpCheck {
			return nil, l.check(c, r)
		}
		return nil, l.delete(c, r)
	}
	return nil, zkproto.ErrMarshalling
}

func (l *loop) create(c *conn, op zkproto.Op, r *zkproto.CreateRequest, ttl int64) (zkproto.Record, error) {
	switch {
	case !r.Mode.Valid():
		return nil, zkproto.ErrBadArguments
	case r.Mode.TTL():
		// As in ZooKeeper unless zookeeper.extendedTypesEnabled is set.
		return nil, zkproto.ErrUnimplemented
	case op == zkproto.OpCreateTTL:
		return nil, zkproto.ErrBadArguments
	case ttl >= 0:
		return nil, zkproto.ErrBadArguments
	}
	parentPath, _, ok := splitPath(r.Path)
	if !ok {
		return nil, zkproto.ErrBadArguments
	}
	acl, err := fixACL(r.ACL, c.who)
	if err != nil {
		return nil, err
	}
	parent := l.tree.get(parentPath)
	if parent == nil {
		return nil, zkproto.ErrNoNode
	}
	if !permitted(parent.acl, zkproto.PermCreate, c.who) {
		return nil, zkproto.ErrNoAuth
	}
	path := r.Path
	if r.Mode.Sequential() {
		path = fmt.Sprintf("%s%010d", path, parent.creates)
	}
	if !validPath(path) {
		return nil, zkproto.ErrBadArguments
	}
	if l.tree.get(path) != nil {
		return nil, zkproto.ErrNodeExists
	}
	if parent.ephemeral() {
		return nil, zkproto.ErrNoChildrenForEphemerals
	}
	now := time.Now().UnixMilli()
	n := &node{nodeState: nodeState{
		czxid: l.zxid, mzxid: l.zxid, pzxid: l.zxid, ctime: now, mtime: now,
		data: bytes.Clone(r.Data), acl: acl,
	}}
	switch {
	case op == zkproto.OpCreateContainer:
		n.owner = containerOwner
	case r.Mode.Ephemeral():
		n.owner = c.session.Load().id
	}
	l.tree.change(parentPath, parent, func(s *nodeState) {
		s.creates++
		s.pzxid = l.zxid
	})
	l.tree.add(path, n)
	if n.owner == containerOwner {
		l.due = min(l.due, l.nextContainer)
	}
	l.happenings = append(l.happenings, happening{zkproto.EventNodeCreated, path, acl, parent.acl})
	if op == zkproto.OpCreate {
		return &zkproto.PathResponse{Path: path}, nil
	}
	return &zkproto.Create2Response{Path: path, Stat: n.stat()}, nil
}

func (l *loop) delete(c *conn, r *zkproto.DeleteRequest) error {
	parentPath, _, ok := splitPath(r.Path)
	if !ok || isReserved(r.Path) {
		return zkproto.ErrBadArguments
	}
	parent := l.tree.get(parentPath)
	if parent == nil {
		return zkproto.ErrNoNode
	}
	if !permitted(parent.acl, zkproto.PermDelete, c.who) {
		return zkproto.ErrNoAuth
	}
	n := l.tree.get(r.Path)
	if n == nil {
		return zkproto.ErrNoNode
	}
	if r.Version != zkproto.AnyVersion && r.Version != n.version {
		return zkproto.ErrBadVersion
	}
	if len(n.children) > 0 {
		return zkproto.ErrNotEmpty
	}
	l.removeNode(r.Path, n)
	return nil
}

// removeNode deletes a node without children.
func (l *loop) removeNode(path string, n *node) {
	parentPath, _, _ := splitPath(path)
	parent := l.tree.get(parentPath)
	l.tree.remove(path, n)
	l.tree.change(parentPath, parent, func(s *nodeState) { s.pzxid = l.zxid })
	l.happenings = append(l.happenings, happening{zkproto.EventNodeDeleted, path, n.acl, parent.acl})
}

func (l *loop) setData(c *conn, r *zkproto.SetDataRequest) (zkproto.Record, error) {
	if !validPath(r.Path) {
		return nil, zkproto.ErrBadArguments
	}
	n := l.tree.get(r.Path)
	if n == nil {
		return nil, zkproto.ErrNoNode
	}
	if !permitted(n.acl, zkproto.PermWrite, c.who) {
		return nil, zkproto.ErrNoAuth
	}
	if r.Version != zkproto.AnyVersion && r.Version != n.version {
		return nil, zkproto.ErrBadVersion
	}
	l.tree.change(r.Path, n, func(s *nodeState) {
		s.data = bytes.Clone(r.Data)
		s.version++
		s.mzxid = l.zxid
		s.mtime = time.Now().UnixMilli()
	})
	l.happenings = append(l.happenings, happening{event: zkproto.EventNodeDataChanged, path: r.Path, acl: n.acl})
	return &zkproto.StatResponse{Stat: n.stat()}, nil
}

func (l *loop) setACL(c *conn, r *zkproto.SetACLRequest) (zkproto.Record, error) {
	if !validPath(r.Path) {
		return nil, zkproto.ErrBadArguments
	}
	acl, err := fixACL(r.ACL, c.who)
	if err != nil {
		return nil, err
	}
	n := l.tree.get(r.Path)
	if n == nil {
		return nil, zkproto.ErrNoNode
	}
	if !permitted(n.acl, zkproto.PermAdmin, c.who) {
		return nil, zkproto.ErrNoAuth
	}
	if r.Version != zkproto.AnyVersion && r.Version != n.aversion {
		return nil, zkproto.ErrBadVersion
	}
	l.tree.change(r.Path, n, func(s *nodeState) {
		s.acl = acl
		s.aversion++
	})
	return &zkproto.StatResponse{Stat: n.stat()}, nil
}

func (l *loop) check(c *conn, r *zkproto.CheckVersionRequest) error {
	if !validPath(r.Path) {
		return zkproto.ErrBadArguments
	}
	n := l.tree.get(r.Path)
	if n == nil {
		return zkproto.ErrNoNode
	}
	if !permitted(n.acl, zkproto.PermRead, c.who) {
		return zkproto.ErrNoAuth
	}
	if r.Version != zkproto.AnyVersion && r.Version != n.version {
		return zkproto.ErrBadVersion
	}
	return nil
}

// multi is all or nothing, in one transaction: each operation sees what those
// before it did. Its reply has no error of its own but in its results.
func (l *loop) multi(c *conn, r *zkproto.MultiRequest) (zkproto.Record, error) {
	for _, o := range r.Ops {
		switch req := o.Request.(type) {
		case *zkproto.CreateRequest:
			if !req.Mode.Valid() {
				return nil, zkproto.ErrMarshalling
			}
		case *zkproto.PathWatchRequest:
			return nil, zkproto.ErrMarshalling // a read
		}
	}
	if !l.mayChange() {
		return nil, zkproto.ErrQuotaExceeded
	}
	resp := &zkproto.MultiResponse{Results: make([]zkproto.Result, 0, len(r.Ops))}
	l.zxid++
	l.tree.begin()
	for i, o := range r.Ops {
		body, err := l.write(c, o.Op, o.Request)
		if err == nil {
			resp.Results = append(resp.Results, zkproto.Result{Op: o.Op, Response: body})
			continue
		}
		l.tree.rollback()
		clear(l.happenings)
		l.happenings = l.happenings[:0]
		l.zxid--
		return failedMulti(len(r.Ops), i, err), nil
	}
	l.tree.keep()
	l.announceAll()
	return resp, nil
}

// failedMulti tells of each operation why it was not done: those before the
// one that failed could have been (error 0), those after it were not tried.
func failedMulti(ops, failed int, err error) *zkproto.MultiResponse {
	resp := &zkproto.MultiResponse{Results: make([]zkproto.Result, ops)}
	for i := range resp.Results {
		resp.Results[i].Op = zkproto.OpError
		switch {
		case i == failed:
			resp.Results[i].Err = errorCode(err)
		case i > failed:
			resp.Results[i].Err = zkproto.ErrRuntimeInconsistency
		}
	}
	return resp
}
