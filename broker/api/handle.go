package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
)

// maxElements bounds the elements of all arrays in a client's request: topics,
// partitions, names. To decode, look up and answer one takes some hundreds of
// bytes, and a frame of a MiB would hold half a million of the smallest. A request
// that names as many partitions as Kafka advises for ten brokers has fewer.
const maxElements = 50_000

const (
	// bodyCost is how many bytes a byte of a request's body may take while it is
	// answered, response included, as measured for the costliest with maxElements.
	bodyCost = 64
	// smallBody is what is answered without asking for memory.
	smallBody = 4 << 10
	// leastTold is how many bytes an element takes at least, on average, in what a
	// controller tells: a topic of one letter with one partition has two elements and
	// 14 bytes in StopReplica, and more in the others. Without names a topic takes
	// 3, and with a tagged field that nobody knows it takes 5 and costs 400.
	leastTold = 4
	// fetchCost is what a partition of a Fetch request takes until it is answered.
	fetchCost = 700
)

// tooManyElements is what the requests say that are decoded here.
func tooManyElements(n int) error {
	return fmt.Errorf("%d: %w: at most %d are taken", n, protocol.ErrTooManyElements, maxElements)
}

// decoded makes a server.Handler of a function from request to response. What
// cannot be decoded closes the connection, as with Kafka; so does a request with
// more than maxElements.
func decoded[Q kmsg.Request, S kmsg.Response](answer func(context.Context, *server.Request, Q) (S, error)) server.Handler {
	return decodedWithin(func(int) int { return maxElements }, answer)
}

// decodedFromController is decoded for requests that only controllers send. They tell
// of every partition there is, and may have as many more elements as their bytes can
// really tell of.
func decodedFromController[Q kmsg.Request, S kmsg.Response](answer func(context.Context, *server.Request, Q) (S, error)) server.Handler {
	return decodedWithin(func(body int) int { return maxElements + body/leastTold }, answer)
}

// decodedWithin is decoded for requests of other sizes: elements says how many a
// request whose body has so many bytes may have.
func decodedWithin[Q kmsg.Request, S kmsg.Response](elements func(body int) int, answer func(context.Context, *server.Request, Q) (S, error)) server.Handler {
	return func(ctx context.Context, r *server.Request) error {
		m, err := decode(ctx, r, elements(len(r.Body)))
		if err != nil {
			return err
		}
		resp, err := answer(ctx, r, m.(Q))
		if err != nil {
			return err
		}
		r.Respond(resp)
		return nil
	}
}

// decode decodes a request of at most that many elements, once there is memory for
// what becomes of it.
func decode(ctx context.Context, r *server.Request, elements int) (kmsg.Request, error) {
	if n := len(r.Body); n > smallBody {
		if err := r.Reserve(ctx, n*bodyCost); err != nil {
			return nil, err
		}
	}
	return protocol.DecodeRequestWithin(r.Header, r.Body, elements)
}
