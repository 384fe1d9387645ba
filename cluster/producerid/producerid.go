// Package producerid hands out producer ids from blocks that the controller
// allocates (KIP-730).
package producerid

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sender is the part of peer.Pool that is needed here.
type Sender interface {
	SendToController(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error)
}

// Config of an Allocator. Zero durations take the default in brackets.
type Config struct {
	BrokerID    int32
	BrokerEpoch func() int64  // of the current registration
	Backoff     time.Duration // between attempts to get a block [50 ms]
	MaxWait     time.Duration // of Next for a block [1 s]
	Logger      *slog.Logger
}

// block is a range of ids of which next and all above it are unused.
type block struct{ first, next, end int64 } // end is exclusive

// prefetchAt is the id at which the following block is asked for: nine tenths
// into this one.
func (b block) prefetchAt() int64 { return b.first + (b.end-b.first)*9/10 }

// Allocator hands out ids that no broker of the cluster, nor an earlier run of
// this one, has handed out: what is left of a block when the process ends is
// never used.
//
// Next only takes from the current block, under mu. One goroutine asks the
// controller, whenever somebody found that a block is wanted: at the first
// Next, and when a block is used up to nine tenths. There is never more than one
// request under way and one block in reserve.
type Allocator struct {
	cfg    Config
	sender Sender
	view   *cluster.View
	wanted chan struct{} // capacity 1: a block is wanted
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	current block
	reserve block
	arrived chan struct{} // closed, and replaced, when reserve was filled
}

// New validates the configuration. The controller is looked up in the view for
// each request.
func New(cfg Config, sender Sender, view *cluster.View) (*Allocator, error) {
	if cfg.BrokerEpoch == nil || sender == nil || view == nil {
		return nil, errors.New("producerid: BrokerEpoch, a sender and a view are required")
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 50 * time.Millisecond
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Allocator{
		cfg: cfg, sender: sender, view: view,
		wanted:  make(chan struct{}, 1),
		arrived: make(chan struct{}),
	}, nil
}

// Start begins serving. No block is taken before the first Next, as in Kafka: a
// broker that no producer uses leaves no trace in ZooKeeper.
func (a *Allocator) Start(context.Context) error {
	if a.cancel != nil {
		return errors.New("producerid: started twice")
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel, a.ended = cancel, make(chan struct{})
	go func() {
		defer close(a.ended)
		a.run(ctx)
	}()
	return nil
}

// Stop ends the background work. Next fails from then on once the block at hand
// is used up.
func (a *Allocator) Stop(ctx context.Context) error {
	if a.cancel == nil {
		return nil
	}
	a.cancel()
	select {
	case <-a.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping the producer id allocator: %w", ctx.Err())
	}
}

// Next returns an unused producer id. While no block is there it waits until ctx
// ends, at most MaxWait; then it returns kerr.CoordinatorLoadInProgress
// (wrapped), which tells a client to try again.
func (a *Allocator) Next(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.MaxWait)
	defer cancel()
	for {
		id, ok, want, arrived := a.take()
		if want {
			select {
			case a.wanted <- struct{}{}:
			default: // it is known already
			}
		}
		if ok {
			return id, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return 0, fmt.Errorf("no block of producer ids yet: %w", kerr.CoordinatorLoadInProgress)
		}
	}
}

// take hands out an id if there is one. want asks for another block; arrived is
// closed when it is there.
func (a *Allocator) take() (id int64, ok, want bool, arrived <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current.next == a.current.end && a.reserve.next < a.reserve.end {
		a.current, a.reserve = a.reserve, block{}
	}
	b := &a.current
	if b.next == b.end {
		return 0, false, true, a.arrived
	}
	id = b.next
	b.next++
	return id, true, id == b.prefetchAt(), nil
}

func (a *Allocator) run(ctx context.Context) {
	for {
		select {
		case <-a.wanted:
		case <-ctx.Done():
			return
		}
		if a.hasReserve() {
			continue // two found the same want
		}
		for {
			b, err := a.fetch(ctx)
			if err == nil {
				a.fill(b)
				break
			}
			if ctx.Err() != nil {
				return
			}
			a.cfg.Logger.Debug("no block of producer ids from the controller, trying again", "error", err)
			select {
			case <-time.After(a.cfg.Backoff):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (a *Allocator) hasReserve() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reserve.next < a.reserve.end
}

func (a *Allocator) fill(b block) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserve = b
	close(a.arrived)
	a.arrived = make(chan struct{})
}

// fetch asks the controller for one block.
func (a *Allocator) fetch(ctx context.Context) (block, error) {
	controller := a.view.Snapshot().ControllerID()
	if controller < 0 {
		return block{}, errors.New("no controller is known")
	}
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = a.cfg.BrokerID, a.cfg.BrokerEpoch()
	answer, err := a.sender.SendToController(ctx, controller, req)
	if err != nil {
		return block{}, fmt.Errorf("asking controller %d for producer ids: %w", controller, err)
	}
	resp := answer.(*kmsg.AllocateProducerIDsResponse)
	if resp.ErrorCode != 0 {
		return block{}, fmt.Errorf("controller %d gave no producer ids: %w", controller, kerr.ErrorForCode(resp.ErrorCode))
	}
	first, length := resp.ProducerIDStart, int64(resp.ProducerIDLen)
	a.mu.Lock()
	used := max(a.current.end, a.reserve.end)
	a.mu.Unlock()
	if first < used || length <= 0 || first > math.MaxInt64-length {
		// Never take an id that may have been given out before.
		return block{}, fmt.Errorf("controller %d gave producer ids %d and %d more, of which those below %d are used", controller, first, length, used)
	}
	return block{first: first, next: first, end: first + length}, nil
}
