package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/broker/server"
)

// await asks for something that may take long, and returns when the reply is given, or
// with stopped when the broker begins to stop. Until then the connection is not read,
// since its requests are answered in order; Kafka mutes the channel. ask must not keep
// anything of the request's body: its memory is given back.
//
// The error is that of ctx, which ends with the connection. Who gives the reply never
// waits for whom it is for, who may be gone.
func await[T any](ctx context.Context, r *server.Request, stopped T, ask func(reply func(T))) (T, error) {
	result := make(chan T, 1)
	ask(func(t T) { result <- t })
	select {
	case t := <-result:
		return t, nil
	default:
	}
	r.ReleaseBody()
	r.Unreserve()
	select {
	case t := <-result:
		return t, nil
	case <-r.Draining():
		return stopped, nil
	case <-ctx.Done():
		return stopped, ctx.Err()
	}
}

// awaitError is await for what has nothing to say but whether it failed: the coordinator
// is another one soon, when this broker stops.
func awaitError(ctx context.Context, r *server.Request, ask func(reply func(error))) (failed, err error) {
	return await(ctx, r, error(kerr.NotCoordinator), ask)
}
