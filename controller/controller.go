// Package controller is the one broker of the cluster that decides: it is
// elected by a znode, reads the cluster's state from ZooKeeper, chooses leaders,
// and tells every broker.
package controller

import (
	"context"
	"log/slog"
	"time"

	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
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
	Listener       string
	SessionTimeout time.Duration // without ZooKeeper for longer, it resigns
	ResendBackoff  time.Duration // before a request that failed is sent again [100 ms]
	Settings       *config.Settings
	Logger         *slog.Logger

	// Register registers this broker in the session and remembers the new broker
	// epoch. It is called for every session but the one Start finds (that one has
	// registered already), before this broker stands for election in it. After an
	// error the broker stays unregistered, and does not stand.
	Register func(ctx context.Context, id session.ID) error
}

// Controller stands for election and, while elected, controls the cluster.
type Controller struct {
	cfg    Config
	zk     *zkmeta.Client
	sender Sender
}

// New validates the configuration.
func New(cfg Config, zk *zkmeta.Client, sender Sender) (*Controller, error) {
	return &Controller{cfg: cfg, zk: zk, sender: sender}, nil
}

// Start stands for election and returns once it is known who is controller. The
// broker has been registered in the current session.
func (c *Controller) Start(ctx context.Context) error { return nil }

// Stop resigns, and returns when every goroutine has ended. The /controller
// znode goes with the session, or at once where that is possible.
func (c *Controller) Stop(ctx context.Context) error { return nil }

// Active says whether this broker is controller now, and in which epoch.
func (c *Controller) Active() (epoch int32, active bool) { return 0, false }

// AllocateProducerIDs gives a broker the next block of producer ids, of length
// ids from first on. It returns kerr.NotController, kerr.StaleBrokerEpoch or
// kerr.BrokerIDNotRegistered, wrapped.
func (c *Controller) AllocateProducerIDs(ctx context.Context, brokerID int32, brokerEpoch int64) (first int64, length int32, err error) {
	return 0, 0, nil
}
