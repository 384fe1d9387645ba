package session

import (
	"errors"
	"fmt"
)

// Errors of the client itself; those of ZooKeeper are the values of zkproto, such
// as zkproto.ErrNoNode, wrapped in an *OpError.
var (
	// ErrExpired: the session that the operation was planned in is gone, or was not
	// yet replaced when the client stopped. Whether the operation was done is unknown.
	ErrExpired = errors.New("zookeeper session: expired")
	// ErrStopped: the client was stopped.
	ErrStopped = errors.New("zookeeper session: stopped")
	// ErrRolledBack: an operation of a Multi that was not done because another failed.
	ErrRolledBack = errors.New("zookeeper session: not done, since another operation of the multi failed")
	// ErrTooLarge: the request exceeds the server's limit on packets (jute.maxbuffer).
	ErrTooLarge = errors.New("zookeeper session: request exceeds the packet limit")
)

// OpError says which operation failed.
type OpError struct {
	Op     string // "get", "create", …
	Path   string // without the chroot; that of the operation that failed in a Multi
	Resent bool   // see Result.Resent
	Err    error
}

func (e *OpError) Error() string {
	resent := ""
	if e.Resent {
		resent = " (sent again after a lost connection)"
	}
	return fmt.Sprintf("%s %s: %v%s", e.Op, e.Path, e.Err, resent)
}

func (e *OpError) Unwrap() error { return e.Err }
