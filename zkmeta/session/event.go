package session

import "fmt"

// ID is the number that a ZooKeeper server gave to a session. 0 stands for no
// session, and in an operation for whichever session is current.
type ID int64

func (id ID) String() string { return fmt.Sprintf("0x%x", uint64(id)) }

// EventKind says what happened to the session.
type EventKind int

const (
	// Connected: a server serves the session, a new one or the one from before.
	Connected EventKind = iota + 1
	// Disconnected: the connection is lost. By itself this changes nothing: the
	// session lives on, and operations wait.
	Disconnected
	// Lapsed: no server has heard from us for the session timeout, so the session
	// may have been expired and its ephemeral nodes taken by others, although nobody
	// could tell us. A controller resigns. Connected follows if the session was alive
	// after all, Expired if it was not.
	Lapsed
	// Expired: the session is gone, and its ephemeral nodes and watches with it. All
	// listeners have returned before a new session is opened.
	Expired
)

func (k EventKind) String() string {
	switch k {
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Lapsed:
		return "lapsed"
	case Expired:
		return "expired"
	}
	return fmt.Sprintf("EventKind(%d)", int(k))
}

// Event is a change of the state of one session.
type Event struct {
	Kind    EventKind
	Session ID
}

// WatchEvent is what a watch is called with.
type WatchEvent struct {
	Type WatchEventType
	Path string // without the chroot
}

// Watch is a callback for changes of nodes. It is made once and passed to any
// number of reads; it fires at most once for each path it was armed at, and arming
// it again at the same path while it is still armed changes nothing.
//
// Callbacks run one at a time, on the goroutine that also delivers replies: a watch
// fires before the reply of any read that could show the change. A callback must
// therefore return at once, typically after setting a flag or a non-blocking send,
// and must not wait for an operation of the same client.
type Watch struct {
	fire func(WatchEvent)
}

// NewWatch makes a watch that calls fire.
func NewWatch(fire func(WatchEvent)) *Watch { return &Watch{fire} }
