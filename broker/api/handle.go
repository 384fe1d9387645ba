package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
)

// decoded makes a server.Handler of a function from request to response. What
// cannot be decoded closes the connection, as with Kafka.
func decoded[Q kmsg.Request, S kmsg.Response](answer func(context.Context, *server.Request, Q) (S, error)) server.Handler {
	return func(ctx context.Context, r *server.Request) error {
		m, err := protocol.DecodeRequest(r.Header, r.Body)
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
