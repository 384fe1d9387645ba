package server

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

// Principal is who sends a request, in Kafka's terms.
type Principal struct {
	Type, Name string
}

// String returns Kafka's spelling, e.g. "User:ANONYMOUS".
func (p Principal) String() string { return p.Type + ":" + p.Name }

// Anonymous is the principal of every client that has not said who it is.
var Anonymous = Principal{Type: "User", Name: "ANONYMOUS"}

// Request is one request in the hands of its handler. Neither it nor Body may
// be used after the handler has returned.
type Request struct {
	Header protocol.RequestHeader
	// Body is what follows the request header. The server owns it.
	Body []byte
	// Listener is the one the request came by: replies that name brokers give
	// their endpoints on it.
	Listener   *Listener
	ClientHost string // address without port
	Principal  Principal

	conn     *conn
	route    *Route
	outcome  outcome
	response kmsg.Response
	version  int16 // of response
	expected int   // bytes of response, 0 if nobody has said
	reply    *Reply
}

type outcome int8

const (
	undecided outcome = iota
	respond           // response is to be encoded and sent
	send              // reply is to be sent
	held              // a slot has it
	silent            // nothing is to be sent
)

// errUndecided is a mistake in a handler.
var errUndecided = errors.New("handler returned without an answer")

// Connection is the number of the connection that the request came by. Later
// connections of this server have higher numbers.
func (r *Request) Connection() uint64 { return r.conn.number }

// NewReply returns a reply that already has its header.
func (r *Request) NewReply() *Reply {
	h := r.replyHeader()
	return h.newReply()
}

// Respond answers with resp, in the request's version.
func (r *Request) Respond(resp kmsg.Response) { r.RespondVersion(resp, r.Header.Version) }

// RespondVersion answers with resp in another version than the request's: what
// ApiVersions does when it does not know the version it was asked in.
func (r *Request) RespondVersion(resp kmsg.Response, version int16) {
	r.outcome, r.response, r.version = respond, resp, version
}

// Expect says about how large the response will be, if it is large: then no memory
// is spent on growing while it is encoded.
func (r *Request) Expect(bytes int) { r.expected = bytes }

// Send answers with an encoded reply, which it takes over.
func (r *Request) Send(p *Reply) { r.outcome, r.reply = send, p }

// NoReply ends a request that has no answer (Produce with acks=0).
func (r *Request) NoReply() { r.outcome = silent }

// Hold puts a reply that must wait in line and takes it over until
// [Slot.Release]. The one who releases may change bytes of it before.
func (r *Request) Hold(p *Reply) *Slot {
	r.outcome = held
	r.conn.throttle(r, p)
	return r.conn.order.push(p, int64(len(r.Body)), nil)
}

// More reports whether bytes of the next request are here already: the client does not
// wait for the answer to this one, and the reader has something to do.
func (r *Request) More() bool { return r.conn.frames.more() }

// ReleaseBody gives the frame's memory back before the handler returns, for
// handlers that wait. Body is nil afterwards, and nothing that aliases it may be
// used.
func (r *Request) ReleaseBody() {
	r.Body = nil
	r.conn.frames.release()
}

// SetClientSoftware records what the client said it is (KIP-511).
func (r *Request) SetClientSoftware(name, version string) {
	r.conn.software.Store(&clientSoftware{name, version})
}

// ClientSoftware returns what the client said it is, empty before it did.
func (r *Request) ClientSoftware() (name, version string) {
	if s := r.conn.software.Load(); s != nil {
		return s.name, s.version
	}
	return "", ""
}

type clientSoftware struct{ name, version string }

// Draining is closed when the broker begins to stop: whoever waits for data on
// behalf of a client answers now.
func (r *Request) Draining() <-chan struct{} { return r.conn.srv.draining }

// Operation is what a request wants to do with a resource, in Kafka's numbering
// (AclOperation).
type Operation int8

// The operations that requests are checked for.
const (
	Read            Operation = 3
	Write           Operation = 4
	Create          Operation = 5
	Delete          Operation = 6
	Alter           Operation = 7
	Describe        Operation = 8
	ClusterAction   Operation = 9
	DescribeConfigs Operation = 10
	AlterConfigs    Operation = 11
	IdempotentWrite Operation = 12
)

// ResourceType is the kind of a resource, in Kafka's numbering.
type ResourceType int8

// The kinds of resources.
const (
	TopicResource           ResourceType = 2
	GroupResource           ResourceType = 3
	ClusterResource         ResourceType = 4
	TransactionalIDResource ResourceType = 5
)

// Verdict says which of the resources that were asked for are allowed, in the
// order of the question. The nil Verdict allows all.
type Verdict []bool

// Allows reports whether the i-th resource is allowed.
func (v Verdict) Allows(i int) bool { return v == nil || v[i] }

// Authorizer decides for all resources of a request at once.
type Authorizer func(r *Request, op Operation, kind ResourceType, names []string) Verdict

// Authorize asks whether the sender may do op with each of the named resources.
func (r *Request) Authorize(op Operation, kind ResourceType, names ...string) Verdict {
	if r.conn.srv.cfg.Authorize == nil {
		return nil
	}
	return r.conn.srv.cfg.Authorize(r, op, kind, names)
}

// Throttle decides how long a client is held back for a reply of the given
// size. Zero sends it without a pause.
type Throttle func(r *Request, replyBytes int64) time.Duration
