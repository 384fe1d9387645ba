package session

import "github.com/gracchus-mq/gracchus/zkmeta/zkproto"

// What is the same on the wire and in the hands of callers.
type (
	// Stat describes a node.
	Stat = zkproto.Stat
	// ACL grants permissions to one identity.
	ACL = zkproto.ACL
	// WatchEventType says what happened to a watched node.
	WatchEventType = zkproto.EventType
)

// The types of watch events.
const (
	NodeCreated         = zkproto.EventNodeCreated
	NodeDeleted         = zkproto.EventNodeDeleted
	NodeDataChanged     = zkproto.EventNodeDataChanged
	NodeChildrenChanged = zkproto.EventNodeChildrenChanged
)

// The answers of ZooKeeper that callers act on, for errors.Is; zkproto has them all.
const (
	ErrNoNode     = zkproto.ErrNoNode
	ErrNodeExists = zkproto.ErrNodeExists
	ErrBadVersion = zkproto.ErrBadVersion
	ErrNotEmpty   = zkproto.ErrNotEmpty
	ErrNoAuth     = zkproto.ErrNoAuth
)

// OpenACL allows everything to everybody.
func OpenACL() []ACL { return zkproto.WorldACL(zkproto.PermAll) }
