package session

import (
	"slices"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// setWatchesBatch bounds the paths of one request that re-arms watches, well below
// any server's limit on packets. It is the Java client's number.
const setWatchesBatch = 128 << 10

// watches are the armed watches of a session, by whole path (chroot included), in
// the three kinds that ZooKeeper knows.
//
// It has no lock. The reader of the one live connection owns it, and between two
// connections, when no reader runs, the goroutine that connects.
type watches struct {
	data  map[string][]*Watch // left by a Get, or by an Exists that found the node
	exist map[string][]*Watch // left by an Exists that did not
	child map[string][]*Watch
}

func newWatches() watches {
	return watches{data: map[string][]*Watch{}, exist: map[string][]*Watch{}, child: map[string][]*Watch{}}
}

// arm records the watch that an answered operation has left at the server.
func (ws watches) arm(op zkproto.Op, path string, w *Watch, answer zkproto.Error) {
	var kind map[string][]*Watch
	switch {
	case op == zkproto.OpExists && answer == zkproto.ErrNoNode:
		kind = ws.exist
	case answer != 0:
		return
	case op == zkproto.OpGetData, op == zkproto.OpExists:
		kind = ws.data
	case op == zkproto.OpGetChildren2:
		kind = ws.child
	}
	if kind != nil && !slices.Contains(kind[path], w) {
		kind[path] = append(kind[path], w)
	}
}

// disarm removes and returns the watches that an event fires, each once.
func (ws watches) disarm(event zkproto.EventType, path string) []*Watch {
	var kinds []map[string][]*Watch
	switch event {
	case zkproto.EventNodeCreated, zkproto.EventNodeDataChanged:
		kinds = []map[string][]*Watch{ws.data, ws.exist}
	case zkproto.EventNodeChildrenChanged:
		kinds = []map[string][]*Watch{ws.child}
	case zkproto.EventNodeDeleted:
		kinds = []map[string][]*Watch{ws.data, ws.exist, ws.child}
	}
	var fired []*Watch
	for _, kind := range kinds {
		for _, w := range kind[path] {
			if !slices.Contains(fired, w) {
				fired = append(fired, w)
			}
		}
		delete(kind, path)
	}
	return fired
}

// rearm returns the requests that arm all watches on a new connection of the same
// session. The server answers with events for what has changed after zxid.
func (ws watches) rearm(zxid int64) []zkproto.SetWatchesRequest {
	var requests []zkproto.SetWatchesRequest
	size := setWatchesBatch
	add := func(kind map[string][]*Watch, list func(*zkproto.SetWatchesRequest) *[]string) {
		for path := range kind {
			if size+len(path)+4 > setWatchesBatch {
				requests = append(requests, zkproto.SetWatchesRequest{RelativeZxid: zxid})
				size = 0
			}
			size += len(path) + 4
			l := list(&requests[len(requests)-1])
			*l = append(*l, path)
		}
	}
	add(ws.data, func(r *zkproto.SetWatchesRequest) *[]string { return &r.Data })
	add(ws.exist, func(r *zkproto.SetWatchesRequest) *[]string { return &r.Exist })
	add(ws.child, func(r *zkproto.SetWatchesRequest) *[]string { return &r.Child })
	return requests
}
