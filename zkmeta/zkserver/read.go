package zkserver

import (
	"maps"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// readable finds a node that the client may read.
func (l *loop) readable(c *conn, path string) (*node, error) {
	n := l.tree.get(path)
	if n == nil {
		return nil, zkproto.ErrNoNode
	}
	if !permitted(n.acl, zkproto.PermRead, c.who) {
		return nil, zkproto.ErrNoAuth
	}
	return n, nil
}

// read serves exists, getData, getChildren and getChildren2. A watch is left
// only on what could be read, except by exists, which watches for creation.
func (l *loop) read(c *conn, op zkproto.Op, r *zkproto.PathWatchRequest) (zkproto.Record, error) {
	if op == zkproto.OpExists && strings.IndexByte(r.Path, 0) >= 0 {
		return nil, zkproto.ErrBadArguments
	}
	n, err := l.readable(c, r.Path)
	if r.Watch && (err == nil || op == zkproto.OpExists && err == zkproto.ErrNoNode) {
		bits := dataOnce
		if op == zkproto.OpGetChildren || op == zkproto.OpGetChildren2 {
			bits = childOnce
		}
		l.watches.add(c, r.Path, bits)
	}
	if err != nil {
		return nil, err
	}
	switch op {
	case zkproto.OpExists:
		return &zkproto.StatResponse{Stat: n.stat()}, nil
	case zkproto.OpGetData:
		return &zkproto.GetDataResponse{Data: n.data, Stat: n.stat()}, nil
	case zkproto.OpGetChildren:
		return &zkproto.GetChildrenResponse{Children: n.children}, nil
	}
	return &zkproto.GetChildren2Response{Children: n.children, Stat: n.stat()}, nil
}

func (l *loop) getACL(c *conn, path string) (zkproto.Record, error) {
	n := l.tree.get(path)
	if n == nil {
		return nil, zkproto.ErrNoNode
	}
	if !permitted(n.acl, zkproto.PermRead|zkproto.PermAdmin, c.who) {
		return nil, zkproto.ErrNoAuth
	}
	acl := n.acl
	if !permitted(acl, zkproto.PermAdmin, c.who) {
		acl = hideDigests(acl)
	}
	return &zkproto.GetACLResponse{ACL: acl, Stat: n.stat()}, nil
}

func (l *loop) getEphemerals(s *session, prefix string) zkproto.Record {
	all := slices.Sorted(maps.Keys(l.tree.ephemerals[s.id]))
	if p := strings.TrimSpace(prefix); p != "" && p != "/" {
		all = slices.DeleteFunc(all, func(path string) bool { return !strings.HasPrefix(path, prefix) })
	}
	return &zkproto.GetEphemeralsResponse{Ephemerals: all}
}

// multiRead answers each part by itself. It leaves no watches.
func (l *loop) multiRead(c *conn, r *zkproto.MultiRequest) (zkproto.Record, error) {
	resp := &zkproto.MultiResponse{Results: make([]zkproto.Result, 0, len(r.Ops))}
	size := 0
	for _, o := range r.Ops {
		req, ok := o.Request.(*zkproto.PathWatchRequest)
		if !ok {
			return nil, zkproto.ErrMarshalling // a write
		}
		body, err := l.read(c, o.Op, &zkproto.PathWatchRequest{Path: req.Path})
		if err != nil {
			resp.Results = append(resp.Results, zkproto.Result{Op: zkproto.OpError, Err: errorCode(err)})
			continue
		}
		switch b := body.(type) {
		case *zkproto.GetDataResponse:
			size += len(b.Data)
		case *zkproto.GetChildrenResponse:
			for _, name := range b.Children {
				size += 4 + len(name)
			}
		}
		if size > maxReplyBytes {
			return nil, zkproto.ErrMarshalling
		}
		resp.Results = append(resp.Results, zkproto.Result{Op: o.Op, Response: body})
	}
	return resp, nil
}
