package zkserver

import (
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// watchBits are the watches that one connection has on one path: for the
// node's data and for its children, once, persistent, or persistent for
// everything below as well.
type watchBits uint8

const (
	dataOnce watchBits = 1 << iota
	childOnce
	dataPersistent
	childPersistent
	dataRecursive
	childRecursive

	dataWatches  = dataOnce | dataPersistent | dataRecursive
	childWatches = childOnce | childPersistent | childRecursive
	recursive    = dataRecursive | childRecursive
)

// watchCost is about what a watch costs in memory, beside its path.
const watchCost = 300

// watchTable holds the watches of all connections. It belongs to the server's
// loop. A watch belongs to a connection, not to a session: it is gone with the
// connection, and clients set it again.
//
// Different kinds of watches on one path are kept apart, as ZooKeeper does from
// 3.9 on; in 3.8 a later one-shot watch replaced a persistent one.
type watchTable struct {
	byPath    map[string]map[*conn]watchBits
	recursive int // paths and connections with a recursive watch
	total     int
	strangers int // what the watches of connections that are not the owner's cost, in bytes
}

func newWatchTable() *watchTable { return &watchTable{byPath: map[string]map[*conn]watchBits{}} }

func (w *watchTable) add(c *conn, path string, bits watchBits) {
	conns := w.byPath[path]
	if conns == nil {
		conns = map[*conn]watchBits{}
		w.byPath[path] = conns
	}
	w.update(c, path, conns, conns[c]|bits)
}

// update sets what a connection watches on a path, and all that is counted.
func (w *watchTable) update(c *conn, path string, conns map[*conn]watchBits, bits watchBits) {
	old, had := conns[c]
	if old&recursive != 0 {
		w.recursive--
	}
	if bits&recursive != 0 {
		w.recursive++
	}
	switch {
	case bits == 0 && had:
		delete(conns, c)
		delete(c.watched, path)
		w.charge(c, -(watchCost + len(path)))
		w.total--
		if len(conns) == 0 {
			delete(w.byPath, path)
		}
	case bits != 0:
		conns[c] = bits
		if !had {
			c.watched[path] = struct{}{}
			w.charge(c, watchCost+len(path))
			w.total++
		}
	}
}

func (w *watchTable) charge(c *conn, bytes int) {
	c.watchBytes += bytes
	if !c.owner {
		w.strangers += bytes
	}
}

// remove takes away the given kinds of watches of a connection on exactly this
// path, and tells whether there were any.
func (w *watchTable) remove(c *conn, path string, bits watchBits) bool {
	conns := w.byPath[path]
	old := conns[c]
	if old&bits == 0 {
		return false
	}
	w.update(c, path, conns, old&^bits)
	return true
}

func (w *watchTable) has(c *conn, path string, bits watchBits) bool {
	return w.byPath[path][c]&bits != 0
}

func (w *watchTable) drop(c *conn) {
	for path := range c.watched {
		w.update(c, path, w.byPath[path], 0)
	}
}

// trigger returns the connections that a change of the path concerns, and
// takes away their one-shot watches. kind is dataWatches or childWatches.
// Recursive watches sit on the path or above it, and are told of everything
// but changed children, since they are told of the child itself.
func (w *watchTable) trigger(path string, kind watchBits, event zkproto.EventType) map[*conn]struct{} {
	var hit map[*conn]struct{}
	add := func(c *conn) {
		if hit == nil {
			hit = map[*conn]struct{}{}
		}
		hit[c] = struct{}{}
	}
	for c, bits := range w.byPath[path] {
		if bits&kind&^recursive != 0 || bits&kind&recursive != 0 && event != zkproto.EventNodeChildrenChanged {
			add(c)
		}
	}
	for c := range hit {
		w.remove(c, path, kind&(dataOnce|childOnce))
	}
	if w.recursive > 0 && event != zkproto.EventNodeChildrenChanged {
		for p := path; p != "/" && p != ""; {
			p, _, _ = splitPath(p)
			for c, bits := range w.byPath[p] {
				if bits&kind&recursive != 0 {
					add(c)
				}
			}
		}
	}
	return hit
}

// happening is a change of the tree that watches are told of once its whole
// transaction has been applied. The ACLs are those of the time of the change:
// who may not read a node is not told of it.
type happening struct {
	event     zkproto.EventType // created, deleted or data changed
	path      string
	acl       []zkproto.ACL
	parentACL []zkproto.ACL
}

// announce stages the events of a change for everyone who watches.
func (l *loop) announce(h happening) {
	told := l.watches.trigger(h.path, dataWatches, h.event)
	l.stageEvents(told, nil, h.event, h.path, h.acl)
	if h.event == zkproto.EventNodeDataChanged {
		return
	}
	if h.event == zkproto.EventNodeDeleted {
		l.stageEvents(l.watches.trigger(h.path, childWatches, h.event), told, h.event, h.path, h.acl)
	}
	parent, _, _ := splitPath(h.path)
	changed := zkproto.EventNodeChildrenChanged
	l.stageEvents(l.watches.trigger(parent, childWatches, changed), nil, changed, parent, h.parentACL)
}

func (l *loop) stageEvents(to, except map[*conn]struct{}, event zkproto.EventType, path string, acl []zkproto.ACL) {
	for c := range to {
		if _, skip := except[c]; !skip && permitted(acl, zkproto.PermRead, c.who) {
			l.stageEvent(c, event, path)
		}
	}
}

func (l *loop) stageEvent(c *conn, event zkproto.EventType, path string) {
	e := zkproto.WatcherEvent{Type: event, State: zkproto.StateSyncConnected, Path: path}
	before := len(c.staged)
	l.stage(c, func(b []byte) []byte { return zkproto.AppendEvent(b, -1, e) })
	c.eventBytes += len(c.staged) - before
}

// setWatches re-arms watches on a new connection. What happened since the
// client saw relativeZxid it is told at once.
func (l *loop) setWatches(c *conn, r *zkproto.SetWatchesRequest) {
	for _, path := range r.Data {
		switch n := l.tree.get(path); {
		case n == nil:
			l.stageEvent(c, zkproto.EventNodeDeleted, path)
		case n.mzxid > r.RelativeZxid:
			l.stageEvent(c, zkproto.EventNodeDataChanged, path)
		default:
			l.watches.add(c, path, dataOnce)
		}
	}
	for _, path := range r.Exist {
		if l.tree.get(path) != nil {
			l.stageEvent(c, zkproto.EventNodeCreated, path)
		} else {
			l.watches.add(c, path, dataOnce)
		}
	}
	for _, path := range r.Child {
		switch n := l.tree.get(path); {
		case n == nil:
			l.stageEvent(c, zkproto.EventNodeDeleted, path)
		case n.pzxid > r.RelativeZxid:
			l.stageEvent(c, zkproto.EventNodeChildrenChanged, path)
		default:
			l.watches.add(c, path, childOnce)
		}
	}
}

func (l *loop) addWatch(c *conn, path string, mode zkproto.AddWatchMode) error {
	switch mode {
	case zkproto.AddWatchPersistent:
		l.watches.add(c, path, dataPersistent|childPersistent)
	case zkproto.AddWatchPersistentRecursive:
		l.watches.add(c, path, recursive)
	default:
		return zkproto.ErrMarshalling // as ZooKeeper answers
	}
	return nil
}

func watcherBits(t zkproto.WatcherType) (watchBits, error) {
	switch t {
	case zkproto.WatcherChildren:
		return childWatches, nil
	case zkproto.WatcherData:
		return dataWatches, nil
	case zkproto.WatcherAny:
		return dataWatches | childWatches, nil
	}
	return 0, zkproto.ErrMarshalling
}
