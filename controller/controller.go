// Package controller is the one broker of the cluster that decides: it is elected
// by a znode, reads the cluster's state from ZooKeeper, chooses leaders, and tells
// every broker.
//
// One goroutine, the loop, owns all of that state (see loop). Watches and answers
// only raise flags in its inbox; what brokers are told goes into one outbox per
// broker, which coalesces and never makes the loop wait. Each write to ZooKeeper is
// fenced by the election that it belongs to.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sender is the part of peer.Pool that is needed here.
type Sender interface {
	Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error)
}

// Config of a Controller.
type Config struct {
	BrokerID int32
	// Listener is the name of the listener over which brokers are told:
	// control.plane.listener.name, else inter.broker.listener.name.
	Listener string
	// InterBroker is inter.broker.listener.name, over which replicas follow.
	InterBroker   string
	ResendBackoff time.Duration // before a request that failed is sent again [100 ms]
	RetryBackoff  time.Duration // before standing again after a failure [1 s]
	Settings      *config.Settings
	Logger        *slog.Logger

	// Register registers this broker in the session, unless it is registered there,
	// and remembers the broker epoch. It is called for every session before this broker
	// stands for election in it, also for the one that Start finds: that need not be the
	// one in which the broker has registered when it came up. After an error it is
	// called again, until the session ends.
	Register func(ctx context.Context, id session.ID) error
}

// Controller stands for election and, while elected, controls the cluster.
type Controller struct {
	cfg    Config
	zk     *zkmeta.Client
	sender Sender
	inbox  *inbox
	loop   *loop
	cancel context.CancelFunc // ends the loop and everything in it
	ended  chan struct{}      // nil until Start
	active atomic.Pointer[office]
}

// office is what others may see of the loop's term. It is immutable.
type office struct {
	claim  zkmeta.Claim
	ctx    context.Context // ends with the term
	epochs map[int32]int64 // broker epochs
}

// New validates the configuration. OnSession must be given every event of the
// session from then on.
func New(cfg Config, zk *zkmeta.Client, sender Sender) (*Controller, error) {
	if cfg.Listener == "" || cfg.InterBroker == "" || cfg.Settings == nil || cfg.Register == nil {
		return nil, errors.New("controller: Listener, InterBroker, Settings and Register are required")
	}
	if zk == nil || sender == nil {
		return nil, errors.New("controller: a ZooKeeper client and a sender are required")
	}
	if cfg.ResendBackoff == 0 {
		cfg.ResendBackoff = 100 * time.Millisecond
	}
	if cfg.RetryBackoff == 0 {
		cfg.RetryBackoff = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	root, cancel := context.WithCancel(context.Background())
	c := &Controller{cfg: cfg, zk: zk, sender: sender, inbox: newInbox(root), cancel: cancel}
	c.loop = newLoop(c)
	return c, nil
}

// OnSession takes the events of the ZooKeeper session. It returns at once. With a
// session that ended or lapsed the controller has resigned when it returns: nothing
// that it still tries can take effect.
func (c *Controller) OnSession(e session.Event) { c.inbox.onSession(e) }

// office returns what the term in power shows, or nil. A term whose context has
// ended is out of power, although the loop may not have come to clear it away.
func (c *Controller) office() *office {
	if o := c.active.Load(); o != nil && o.ctx.Err() == nil {
		return o
	}
	return nil
}

// Start stands for election and returns once it is known who is controller; if it is
// this broker, it has taken up its work. ctx bounds the start only.
func (c *Controller) Start(ctx context.Context) error {
	if c.ended != nil {
		return errors.New("controller: started twice")
	}
	id := c.zk.Session().SessionID()
	if id == 0 {
		return errors.New("controller: there is no ZooKeeper session")
	}
	c.inbox.begin(id)
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		c.loop.run(c.inbox.root)
	}()
	select {
	case <-c.loop.decided:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the election of a controller: %w", ctx.Err())
	}
}

// Stop resigns, so that others may stand at once, and returns when every goroutine
// has ended. If ZooKeeper does not answer before ctx ends the place is free only
// when the session ends.
func (c *Controller) Stop(ctx context.Context) error {
	office := c.active.Swap(nil)
	c.cancel()
	if c.ended == nil {
		return nil
	}
	select {
	case <-c.ended:
	case <-ctx.Done():
		return fmt.Errorf("stopping the controller: %w", ctx.Err())
	}
	if office != nil {
		return c.resign(ctx, office.claim)
	}
	return nil
}

// resignTimeout bounds the farewell of a controller.
const resignTimeout = 2 * time.Second

// resign gives the place up, so that another broker need not wait for the end of
// this one's session. That end does the same, which is why a ZooKeeper that does
// not answer holds nobody up here.
func (c *Controller) resign(ctx context.Context, claim zkmeta.Claim) error {
	bounded, cancel := context.WithTimeout(ctx, resignTimeout)
	defer cancel()
	err := c.zk.ResignController(bounded, claim)
	switch {
	case err == nil, errors.Is(err, zkmeta.ErrNotController), errors.Is(err, session.ErrExpired):
		return nil
	case bounded.Err() != nil && ctx.Err() == nil:
		c.cfg.Logger.Debug("the place of the controller was not given up in time; it goes with the session", "error", err)
		return nil
	}
	return err
}

// Active says whether this broker is controller now, and in which epoch.
func (c *Controller) Active() (epoch int32, active bool) {
	if o := c.office(); o != nil {
		return o.claim.Epoch, true
	}
	return 0, false
}

// AllocateProducerIDs gives a broker the next block of producer ids, of length ids
// from first on. It returns kerr.NotController, kerr.BrokerIDNotRegistered or
// kerr.StaleBrokerEpoch, wrapped. It does not pass through the loop: the compare-
// and-set in ZooKeeper orders all who allocate.
func (c *Controller) AllocateProducerIDs(ctx context.Context, brokerID int32, brokerEpoch int64) (first int64, length int32, err error) {
	o := c.office()
	if o == nil {
		return 0, 0, fmt.Errorf("producer ids for broker %d: %w", brokerID, kerr.NotController)
	}
	epoch, known := o.epochs[brokerID]
	if !known {
		return 0, 0, fmt.Errorf("producer ids for broker %d: %w", brokerID, kerr.BrokerIDNotRegistered)
	}
	if epoch != brokerEpoch {
		return 0, 0, fmt.Errorf("producer ids for broker %d in epoch %d, which is in %d: %w", brokerID, brokerEpoch, epoch, kerr.StaleBrokerEpoch)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.ctx, cancel)()
	block, err := c.zk.In(o.claim.Session).NextProducerIDBlock(ctx, brokerID)
	if err != nil {
		if o.ctx.Err() != nil || errors.Is(err, session.ErrExpired) {
			return 0, 0, fmt.Errorf("producer ids for broker %d: %w", brokerID, kerr.NotController)
		}
		return 0, 0, err
	}
	return block.First, int32(block.Last - block.First + 1), nil
}
