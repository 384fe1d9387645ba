package server

import (
	"context"
	"fmt"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Handler answers one request. Before it returns nil it calls exactly one of
// the Request's Respond, Send, Hold or NoReply. An error closes the connection
// with one log line: it is for what Kafka answers by closing (a body that cannot
// be decoded, a failed acks=0 produce); everything that has an error code is a
// reply.
//
// The handler runs on the connection's reader goroutine; ctx ends when the
// connection is closed. Neither the Request nor its Body may be used after the
// handler has returned.
type Handler func(ctx context.Context, r *Request) error

// Route is the row of one API key in the broker's table.
type Route struct {
	Key      protocol.APIKey
	Min, Max int16 // versions that are served, inclusive

	// Overlap lets a request of this key be handled while earlier ones of the
	// same key wait in their slots.
	Overlap bool
	// Bulk frames may be as large as MaxFrameBytes.
	Bulk bool
	// InterBroker keys are accepted only on listeners marked InterBroker.
	InterBroker bool
	// AnyVersion routes receive versions outside [Min, Max] too: ApiVersions
	// answers them with an error code.
	AnyVersion bool

	// Slots is how many requests of this key, from all clients, are handled at a
	// time; 0 means any number. More than the processors can work on at once would
	// only take memory, and the processors from those who produce and fetch.
	Slots int

	// OwnReplies keys are not held up by clients that do not read their replies to
	// requests of other keys.
	OwnReplies bool

	Handle Handler

	slots  chan struct{} // holds one element for each request in a handler
	unsent *unsent       // where its replies count
}

// routeTable is indexed by API key; keys are small and dense.
type routeTable []*Route

// maxAPIKey bounds the table; Kafka's keys are below 100.
const maxAPIKey = 255

func newRouteTable(routes []Route, unsentBytes int64) (routeTable, error) {
	var t routeTable
	shared := newUnsent(unsentBytes)
	for i := range routes {
		r := &routes[i]
		if r.Key < 0 || r.Key > maxAPIKey || r.Min < 0 || r.Max < r.Min || r.Handle == nil {
			return nil, fmt.Errorf("server: route of key %d (versions %d to %d) is not usable", r.Key, r.Min, r.Max)
		}
		for int(r.Key) >= len(t) {
			t = append(t, nil)
		}
		if t[r.Key] != nil {
			return nil, fmt.Errorf("server: two routes for key %d", r.Key)
		}
		if r.Slots > 0 {
			r.slots = make(chan struct{}, r.Slots)
		}
		if r.unsent = shared; r.OwnReplies {
			r.unsent = newUnsent(unsentBytes)
		}
		t[r.Key] = r
	}
	return t, nil
}

func (t routeTable) find(key int16) *Route {
	if key < 0 || int(key) >= len(t) {
		return nil
	}
	return t[key]
}
