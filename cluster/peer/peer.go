// Package peer sends requests to brokers of the cluster, this one included, and
// returns their responses.
package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
)

// Errors of Send, beside those of its context and of the dialer.
var (
	// ErrStopped is returned for requests that the pool was stopped under.
	ErrStopped = errors.New("peer: pool is stopped")
	// ErrUnknownBroker means that the view holds no live broker of that id, or
	// none that listens on the inter-broker listener.
	ErrUnknownBroker = errors.New("peer: broker is not known")
	// ErrQueueFull means that too many requests wait for that connection.
	ErrQueueFull = errors.New("peer: too many requests wait for the broker")
	// ErrDisconnected means that the connection broke after the request was given
	// to it: the broker may or may not have carried it out.
	ErrDisconnected = errors.New("peer: connection was lost")
	// ErrGone means that the broker has left the cluster, by the view, while its answer was
	// awaited: it may or may not have carried the request out.
	ErrGone = errors.New("peer: broker has left the cluster")
	// ErrUnsupportedVersion means that the broker and this one share no version of
	// the request.
	ErrUnsupportedVersion = errors.New("peer: no common version of the request")
)

// Purpose separates connections to one broker, so that requests of one purpose
// never wait behind those of another.
type Purpose uint8

const (
	// ForController carries requests to the controller: AllocateProducerIds,
	// AlterPartition, ControlledShutdown.
	ForController Purpose = iota
	// FromController carries what the controller tells brokers: LeaderAndIsr,
	// UpdateMetadata, StopReplica.
	FromController
	// ForTransactions carries markers and verification between coordinators and
	// partition leaders.
	ForTransactions
	// ForConfirmation carries questions whether the asker still leads, which somebody waits
	// for.
	ForConfirmation
	// ForReports carries questions that nobody but an operator waits for.
	ForReports
)

// Target says whom a request goes to, and on which of the connections to it.
type Target struct {
	Broker  int32
	Purpose Purpose
	// Endpoint is where the broker listens. The zero Endpoint looks it up in the
	// view; the controller, whose knowledge the view follows, gives it.
	Endpoint cluster.Endpoint
}

// Config of a Pool. Zero durations and counts take the default in brackets.
type Config struct {
	BrokerID       int32         // this broker: requests to it go through DialSelf
	Listener       string        // inter-broker listener name, for endpoints from the view
	ClientID       string        // [the broker id in decimal, as Kafka]
	RequestTimeout time.Duration // from writing a request to its response [30 s]
	DialTimeout    time.Duration // [10 s]
	MinBackoff     time.Duration // before the second attempt to connect in a row [50 ms]
	MaxBackoff     time.Duration // [1 s]
	MaxInFlight    int           // requests on the wire per connection [5]
	MaxQueued      int           // requests that wait per connection [1024]
	MaxResponse    int32         // bytes of a response [100 MiB]
	Logger         *slog.Logger

	// DialSelf reaches this broker's own handlers without a socket.
	DialSelf func(ctx context.Context) (net.Conn, error)
	// Dial reaches another broker; it secures the connection as the endpoint's
	// protocol says.
	Dial func(ctx context.Context, e cluster.Endpoint) (net.Conn, error)
}
