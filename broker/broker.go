// Package broker puts a broker together: it builds every component, starts them
// in one readable order and stops them in the opposite one.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/lag"
	"github.com/gracchus-mq/gracchus/replica"
)

// Run starts a broker on this machine and stops it cleanly when ctx ends. It
// returns nil after a clean stop; an error means that the broker could not start,
// could not stop cleanly, or had to give up while it ran.
func Run(ctx context.Context, settings *config.Settings, report config.Report, logger *slog.Logger) error {
	env := HostEnv(logger)
	env.HeapBytes = sizeHeap(logger, memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem))
	sayReport(logger, report)
	b, err := New(settings, env)
	if err != nil {
		return err
	}
	if err := b.Start(ctx); err != nil {
		if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
			logger.Info("stopped before it was ready", "while", err)
			return nil
		}
		return err
	}
	var failure error
	select {
	case <-ctx.Done():
		logger.Info("stopping")
	case failure = <-b.Failed():
		logger.Error("stopping, because the broker cannot go on", "error", failure)
	}
	began := time.Now()
	if err := b.Stop(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(failure, err)
	}
	logger.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
	return failure
}

// Broker is one broker. Start and Stop are called once each, by one goroutine.
type Broker struct {
	lifecycle lifecycle
	parts     parts
}

// New checks that the broker can be built; it starts nothing and opens nothing.
func New(settings *config.Settings, env Env) (*Broker, error) {
	if err := env.validate(); err != nil {
		return nil, err
	}
	b := &Broker{parts: parts{settings: settings, cfg: settings.Broker(), env: env, logger: env.Logger, failed: make(chan error, 1)}}
	b.lifecycle = lifecycle{logger: env.Logger, phases: b.parts.phases()}
	return b, nil
}

// Start returns when the broker answers clients. If it fails, or ctx ends,
// everything that was started has been stopped again.
func (b *Broker) Start(ctx context.Context) error {
	began := time.Now()
	if err := b.lifecycle.start(ctx); err != nil {
		return fmt.Errorf("the broker cannot start: %w", err)
	}
	b.parts.sayReady(time.Since(began))
	return nil
}

// Stop finishes what clients have asked for, then stops every component. All
// goroutines have ended when it returns without error.
func (b *Broker) Stop(ctx context.Context) error {
	if err := b.lifecycle.stop(ctx); err != nil {
		return fmt.Errorf("the broker did not stop cleanly: %w", err)
	}
	return nil
}

// GroupLags tells how far the groups are behind that this broker coordinates; see
// [lag.Reporter.Report]. It may be called by any goroutine while the broker runs.
func (b *Broker) GroupLags(ctx context.Context) []lag.Lag {
	r := lag.Reporter{Groups: b.parts.groups, View: b.parts.view, Peers: b.parts.peers}
	return r.Report(ctx)
}

// OldTransactions tells of the oldest open transaction of every partition that this broker
// leads; see [replica.Replicas.OldTransactions]. It may be called by any goroutine while
// the broker runs.
func (b *Broker) OldTransactions() []replica.OldTransaction {
	return b.parts.replicas.OldTransactions()
}

// Failed yields an error if the broker cannot go on, as when its last log
// directory fails. The caller stops it.
func (b *Broker) Failed() <-chan error { return b.parts.failed }
