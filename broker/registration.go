package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// registration keeps this broker's node in /brokers/ids. Its methods are called
// by one goroutine at a time (start-up, then the controller's loop); Epoch may
// be read by any.
type registration struct {
	zk      *zkmeta.Client
	store   *storage.Store
	session session.Config
	node    zkmeta.BrokerRegistration
	logger  *slog.Logger

	kept  session.ID // whose secret is on disk
	epoch atomic.Int64
}

// Epoch is the broker epoch of the current registration, −1 before the first.
// Requests of a controller that knew an older one are refused.
func (r *registration) Epoch() int64 { return r.epoch.Load() }

// Register registers in session id, and keeps the session's secret on disk for
// the case that this process dies. The secret is written first: a node without
// it would have to wait for the session's expiry.
func (r *registration) Register(ctx context.Context, id session.ID) error {
	if current, password := r.zk.Session().SessionSecret(); current == id && r.kept != id {
		if err := saveSession(r.store, r.session, id, password); err != nil {
			r.logger.Warn("the ZooKeeper session cannot be kept on disk; after a crash the next start waits until it expires", "error", err)
		} else {
			r.kept = id
		}
	}
	r.node.TimestampMS = time.Now().UnixMilli()
	epoch, err := r.zk.RegisterBroker(ctx, id, r.node)
	if err != nil {
		return err
	}
	r.epoch.Store(epoch)
	return nil
}

// refuseTaken refuses to register an address that another broker has registered: only
// one of them can be there, and both would be sent what is for one.
func (r *registration) refuseTaken(ctx context.Context) error {
	live, _, err := r.zk.Brokers(ctx, nil, nil)
	if err != nil {
		return err
	}
	for _, b := range live {
		if b.ID == r.node.ID {
			continue
		}
		for _, theirs := range b.Endpoints {
			for _, ours := range r.node.Endpoints {
				if theirs.Host == ours.Host && theirs.Port == ours.Port {
					return fmt.Errorf("advertised listener %s at %s:%d is registered by broker %d already; advertise another address (a broker that was killed stays registered until its session expires)", ours.Listener, ours.Host, ours.Port, b.ID)
				}
			}
		}
	}
	return nil
}

// registerFirst is Register for a process that starts. A registration of this id
// that is still there belongs either to a broker that runs elsewhere or to a
// session that nobody could close; the latter ends within the session timeout.
func (r *registration) registerFirst(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	said := false
	for {
		err := r.Register(ctx, r.zk.Session().SessionID())
		if !errors.Is(err, zkmeta.ErrBrokerIDInUse) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("broker id %d is in use by another running broker (its registration outlasted the session timeout); give this one another broker.id: %w", r.node.ID, err)
		}
		if !said {
			said = true
			r.logger.Warn("waiting for the registration of a previous process with this broker.id to expire", "id", r.node.ID, "at most", patience)
		}
		gone := make(chan struct{}, 1)
		watch := session.NewWatch(func(session.WatchEvent) {
			select {
			case gone <- struct{}{}:
			default:
			}
		})
		others, _, err := r.zk.Brokers(ctx, watch, nil)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(others, func(b zkmeta.LiveBroker) bool { return b.ID == r.node.ID }) {
			continue
		}
		select {
		case <-gone:
		case <-time.After(time.Until(deadline)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
