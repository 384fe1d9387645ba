package zkserver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// tree is the znodes in memory.
//
// It belongs to the server's loop, the one goroutine that serves requests:
// nothing here is locked. A change is made at once; dirty remembers which paths
// the next commit has to store, and nothing that a change led to leaves the
// server before that commit. While a multi runs, journal remembers how to take
// its changes back.
type tree struct {
	nodes      map[string]*node
	ephemerals map[int64]map[string]struct{} // paths by session
	containers map[string]struct{}
	dirty      map[string]struct{}
	dirtyBytes int // about what dirty will cost to store

	journaling bool
	journal    []undo
	dataBytes  int64 // of paths and data, for the monitor
}

// undo takes back one change: a node that was changed gets its state back, one
// that was added goes, one that was removed returns.
type undo struct {
	path  string
	node  *node
	state nodeState
	kind  undoKind
}

type undoKind uint8

const (
	undoChange undoKind = iota
	undoAdd
	undoRemove
)

func newTree() *tree {
	return &tree{
		nodes:      map[string]*node{},
		ephemerals: map[int64]map[string]struct{}{},
		containers: map[string]struct{}{},
		dirty:      map[string]struct{}{},
	}
}

// plant makes the nodes that every ZooKeeper has, as ZooKeeper makes them:
// before the first transaction, hence with zeroes throughout, and without
// counting as creations for their parents.
func (t *tree) plant() {
	for _, path := range []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		n := &node{nodeState: nodeState{data: []byte{}, acl: openACL}}
		if path == "/zookeeper/config" {
			n.acl, n.aversion = shareACL(zkproto.WorldACL(zkproto.PermRead)), -1
		}
		t.link(path, n)
		t.mark(path, n)
	}
}

// get finds a node. The empty path is the root, as ZooKeeper has it.
func (t *tree) get(path string) *node {
	if path == "" {
		path = "/"
	}
	return t.nodes[path]
}

// descendants counts the nodes below path. As in ZooKeeper, it looks at all there are.
func (t *tree) descendants(path string) (n int) {
	prefix := strings.TrimSuffix(path, "/") + "/"
	for p := range t.nodes {
		if len(p) > len(prefix) && strings.HasPrefix(p, prefix) {
			n++
		}
	}
	return n
}

// mark notes that the node has to be stored.
func (t *tree) mark(path string, n *node) {
	t.dirty[path] = struct{}{}
	t.dirtyBytes += 128 + len(path) + len(n.data)
}

// change calls f to change the node's state.
func (t *tree) change(path string, n *node, f func(*nodeState)) {
	if t.journaling {
		t.journal = append(t.journal, undo{path, n, n.nodeState, undoChange})
	}
	t.dataBytes -= int64(len(n.data))
	f(&n.nodeState)
	t.dataBytes += int64(len(n.data))
	t.mark(path, n)
}

// add puts a new node into the tree; its parent is there, and has no such
// child.
func (t *tree) add(path string, n *node) {
	if t.journaling {
		t.journal = append(t.journal, undo{path: path, node: n, kind: undoAdd})
	}
	t.link(path, n)
	t.mark(path, n)
}

// remove takes a node without children out of the tree.
func (t *tree) remove(path string, n *node) {
	if t.journaling {
		t.journal = append(t.journal, undo{path: path, node: n, kind: undoRemove})
	}
	t.unlink(path, n)
	t.dirty[path] = struct{}{}
	t.dirtyBytes += 128 + len(path)
}

func (t *tree) link(path string, n *node) {
	t.nodes[path] = n
	t.dataBytes += int64(len(path) + len(n.data))
	if path != "/" {
		parentPath, name, _ := splitPath(path)
		t.nodes[parentPath].adopt(name)
	}
	switch {
	case n.owner == containerOwner:
		t.containers[path] = struct{}{}
	case n.owner != 0:
		if t.ephemerals[n.owner] == nil {
			t.ephemerals[n.owner] = map[string]struct{}{}
		}
		t.ephemerals[n.owner][path] = struct{}{}
	}
}

func (t *tree) unlink(path string, n *node) {
	parentPath, name, _ := splitPath(path)
	t.nodes[parentPath].lose(name)
	delete(t.nodes, path)
	t.dataBytes -= int64(len(path) + len(n.data))
	switch {
	case n.owner == containerOwner:
		delete(t.containers, path)
	case n.owner != 0:
		delete(t.ephemerals[n.owner], path)
		if len(t.ephemerals[n.owner]) == 0 {
			delete(t.ephemerals, n.owner)
		}
	}
}

// begin starts to remember changes; rollback takes back those made since, and
// keep forgets how to. Paths that rollback leaves dirty are stored once more as
// they were.
func (t *tree) begin() { t.journaling = true }

func (t *tree) keep() { t.journaling, t.journal = false, t.journal[:0] }

func (t *tree) rollback() {
	for _, u := range slices.Backward(t.journal) {
		switch u.kind {
		case undoChange:
			t.dataBytes += int64(len(u.state.data) - len(u.node.data))
			u.node.nodeState = u.state
		case undoAdd:
			t.unlink(u.path, u.node)
		case undoRemove:
			t.link(u.path, u.node)
		}
	}
	clear(t.journal)
	t.keep()
}

// takeChanges returns what has to be stored, and starts anew.
func (t *tree) takeChanges(into []Change) []Change {
	for path := range t.dirty {
		c := Change{Bucket: BucketNodes, Key: path}
		if n := t.nodes[path]; n != nil {
			c.Value = n.encode()
		}
		into = append(into, c)
	}
	clear(t.dirty)
	t.dirtyBytes = 0
	return into
}

// restore fills an empty tree with stored nodes.
func (t *tree) restore(stored map[string]*node) error {
	paths := make([]string, 0, len(stored))
	for path := range stored {
		paths = append(paths, path)
	}
	slices.Sort(paths) // a parent before its children
	for _, path := range paths {
		if path != "/" {
			parent, _, ok := splitPath(path)
			if !ok || t.nodes[parent] == nil {
				return fmt.Errorf("stored node %q has no parent", path)
			}
		}
		t.link(path, stored[path])
	}
	for _, path := range []string{"/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"} {
		if t.nodes[path] == nil {
			return fmt.Errorf("node %q is missing", path)
		}
	}
	return nil
}
