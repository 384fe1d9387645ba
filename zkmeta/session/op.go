package session

import "github.com/gracchus-mq/gracchus/zkmeta/zkproto"

// AnyVersion in Set and Delete stands for whichever version the node has.
const AnyVersion = zkproto.AnyVersion

// Mode says how long a created node lives, and whether ZooKeeper completes its
// name by a number.
type Mode = zkproto.CreateMode

// The modes that a broker uses.
const (
	Persistent           = zkproto.ModePersistent
	Ephemeral            = zkproto.ModeEphemeral
	PersistentSequential = zkproto.ModePersistentSequential
)

// Op is one request to ZooKeeper, made by one of the functions below and passed to
// Client.Do. Paths are relative to the chroot. Data is sent as it is: nil and
// empty are two different things to ZooKeeper. An Op may be used again once Do has
// returned, and its data must not be changed before.
type Op struct {
	kind    zkproto.Op
	path    string
	data    []byte
	version int32
	mode    Mode
	acl     []ACL
	watch   *Watch
	multi   []Op
	raw     bool // path is not relative to the chroot
}

// Get reads a node's data. A watch, if not nil, fires when the data changes or the
// node goes; it is armed only if the node exists.
func Get(path string, w *Watch) Op { return Op{kind: zkproto.OpGetData, path: path, watch: w} }

// Children lists a node's children, in no order. A watch fires when a child comes
// or goes, or the node itself goes; it is armed only if the node exists.
func Children(path string, w *Watch) Op {
	return Op{kind: zkproto.OpGetChildren2, path: path, watch: w}
}

// Exists reads a node's Stat. A watch fires when the node comes, changes its data or
// goes; it is armed whether or not the node exists.
func Exists(path string, w *Watch) Op { return Op{kind: zkproto.OpExists, path: path, watch: w} }

// Create makes a node with the open ACL.
func Create(path string, data []byte, mode Mode) Op {
	return Op{kind: zkproto.OpCreate, path: path, data: data, mode: mode, acl: OpenACL()}
}

// CreateWithACL makes a node with the given ACL.
func CreateWithACL(path string, data []byte, mode Mode, acl []ACL) Op {
	return Op{kind: zkproto.OpCreate, path: path, data: data, mode: mode, acl: acl}
}

// Set replaces a node's data if it has the version.
func Set(path string, data []byte, version int32) Op {
	return Op{kind: zkproto.OpSetData, path: path, data: data, version: version}
}

// Delete removes a node without children if it has the version.
func Delete(path string, version int32) Op {
	return Op{kind: zkproto.OpDelete, path: path, version: version}
}

// Check, inside a Multi, fails it unless the node has the version.
func Check(path string, version int32) Op {
	return Op{kind: zkproto.OpCheck, path: path, version: version}
}

// Multi does all of ops (Create, Set, Delete, Check) or none.
func Multi(ops ...Op) Op { return Op{kind: zkproto.OpMulti, multi: ops} }

// Sync makes the server that we are connected to catch up with the leader, so that
// reads after it see all that was written before it.
func Sync(path string) Op { return Op{kind: zkproto.OpSync, path: path} }

// Result is the answer to one Op.
type Result struct {
	// Err is nil, or an *OpError. In a failed Multi, Err is that of the operation that
	// failed.
	Err error
	// Path is the name of a created node, with the number of a sequential one.
	Path string
	// Data is what a Get read; the caller owns it. nil is a node without data.
	Data []byte
	// Stat comes with Get, Children, Exists and Set. A created node has none; its
	// version is 0.
	Stat Stat
	// Children are the names, not paths, that Children read.
	Children []string
	// Multi holds a result for each operation of a Multi. If it failed, the operation
	// that failed has its own error and all others ErrRolledBack.
	Multi []Result
	// Resent tells that the connection was lost after the request may have been sent,
	// and the request was sent again: the answer may be to the second copy of a request
	// that had already succeeded.
	Resent bool
}
