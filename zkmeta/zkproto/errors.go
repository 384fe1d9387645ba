package zkproto

import "fmt"

// Error is a ZooKeeper error code as it stands in a reply's header. The Err
// constants are the codes; compare with errors.Is.
type Error int32

// ZooKeeper's error codes (KeeperException.Code). A server sends those from
// ErrAPI downward and ErrSystem to ErrBadArguments; ErrConnectionLoss and
// ErrOperationTimeout arise in clients.
const (
	ErrSystem                    Error = -1
	ErrRuntimeInconsistency      Error = -2
	ErrDataInconsistency         Error = -3
	ErrConnectionLoss            Error = -4
	ErrMarshalling               Error = -5
	ErrUnimplemented             Error = -6
	ErrOperationTimeout          Error = -7
	ErrBadArguments              Error = -8
	ErrUnknownSession            Error = -12
	ErrNewConfigNoQuorum         Error = -13
	ErrReconfigInProgress        Error = -14
	ErrAPI                       Error = -100
	ErrNoNode                    Error = -101
	ErrNoAuth                    Error = -102
	ErrBadVersion                Error = -103
	ErrNoChildrenForEphemerals   Error = -108
	ErrNodeExists                Error = -110
	ErrNotEmpty                  Error = -111
	ErrSessionExpired            Error = -112
	ErrInvalidCallback           Error = -113
	ErrInvalidACL                Error = -114
	ErrAuthFailed                Error = -115
	ErrSessionMoved              Error = -118
	ErrNotReadOnly               Error = -119
	ErrEphemeralOnLocalSession   Error = -120
	ErrNoWatcher                 Error = -121
	ErrRequestTimeout            Error = -122
	ErrReconfigDisabled          Error = -123
	ErrSessionClosedRequiresSASL Error = -124
	ErrQuotaExceeded             Error = -125
	ErrThrottled                 Error = -127
)

var errorNames = map[Error]string{
	ErrSystem: "system error", ErrRuntimeInconsistency: "runtime inconsistency", ErrDataInconsistency: "data inconsistency",
	ErrConnectionLoss: "connection loss", ErrMarshalling: "marshalling error", ErrUnimplemented: "unimplemented",
	ErrOperationTimeout: "operation timeout", ErrBadArguments: "bad arguments", ErrUnknownSession: "unknown session",
	ErrNewConfigNoQuorum: "new configuration has no quorum", ErrReconfigInProgress: "reconfiguration in progress",
	ErrAPI: "API error", ErrNoNode: "no node", ErrNoAuth: "not authorised", ErrBadVersion: "bad version",
	ErrNoChildrenForEphemerals: "no children for ephemerals", ErrNodeExists: "node exists", ErrNotEmpty: "node not empty",
	ErrSessionExpired: "session expired", ErrInvalidCallback: "invalid callback", ErrInvalidACL: "invalid ACL",
	ErrAuthFailed: "authentication failed", ErrSessionMoved: "session moved", ErrNotReadOnly: "not a read-only call",
	ErrEphemeralOnLocalSession: "ephemeral on local session", ErrNoWatcher: "no such watcher",
	ErrRequestTimeout: "request timeout", ErrReconfigDisabled: "reconfiguration disabled",
	ErrSessionClosedRequiresSASL: "session closed: SASL required", ErrQuotaExceeded: "quota exceeded",
	ErrThrottled: "throttled",
}

func (e Error) Error() string {
	if name, ok := errorNames[e]; ok {
		return "zookeeper: " + name
	}
	return fmt.Sprintf("zookeeper: error %d", int32(e))
}

// AsError returns nil for 0 and the code otherwise, so that the result can be
// returned as an error.
func (e Error) AsError() error {
	if e == 0 {
		return nil
	}
	return e
}
