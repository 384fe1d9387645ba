package server

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

// A connection that sends frames somewhat larger than a chunk has them read whole,
// where they lie; what it has shown to be larger, or is of no use, is not given it.
func TestWideChunks(t *testing.T) {
	var copied []bool
	route := Route{Key: protocol.Produce, Max: 8, Bulk: true, Handle: func(ctx context.Context, r *Request) error {
		copied = append(copied, r.conn.frames.body != nil)
		return echo(ctx, r)
	}}
	h := start(t, "tcp", Config{}, Listener{}, route)
	c := h.dial()
	for i, size := range []int{100, 20 << 10, 20 << 10, 30 << 10, 100, 100 << 10, 20 << 10} {
		body := strings.Repeat("x", size)
		write(t, c, frame(protocol.Produce, 1, int32(i), body))
		expect(t, c, int32(i), body)
	}
	// The first one of 20 KiB shows what the connection sends, that of 100 KiB that
	// it sends more.
	if want := []bool{false, true, false, false, false, true, true}; !slices.Equal(copied, want) {
		t.Errorf("copied %v, want %v", copied, want)
	}
	h.stop()
	if n := h.srv.budget.inUse(); n != 0 {
		t.Errorf("%d bytes of the budget are in use", n)
	}
}
