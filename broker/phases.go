package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// phase is one component in the life of a broker. Phases start in the order of
// the list and stop in the opposite order, so whatever a phase uses is there
// for as long as it runs.
type phase struct {
	name  string
	start func(ctx context.Context) error
	// drain, if any, stops taking work and finishes what was taken; all phases
	// drain before the first one stops.
	drain func(ctx context.Context) error
	// drainLimit bounds drain; 0 is drainTimeout.
	drainLimit time.Duration
	stop       func(ctx context.Context) error // nil: nothing to stop
}

// Bounds of one phase's drain and stop. The last resort of a phase that hangs is
// an unclean shutdown, which the next start recovers from.
const (
	drainTimeout = 10 * time.Second
	stopTimeout  = 5 * time.Minute
	// departureTimeout is a last resort, too: controlled.shutdown.max.retries and the
	// request timeout end a departure.
	departureTimeout = time.Hour
)

// lifecycle walks a list of phases. It is owned by the goroutine that calls it.
type lifecycle struct {
	logger  *slog.Logger
	phases  []phase
	started int
}

// start walks forward. If a phase fails, those before it are stopped, and the
// error says which one failed.
func (l *lifecycle) start(ctx context.Context) error {
	for _, p := range l.phases {
		began := time.Now()
		if err := p.start(ctx); err != nil {
			failed := fmt.Errorf("%s: %w", p.name, err)
			return errors.Join(failed, l.stop(context.WithoutCancel(ctx)))
		}
		l.started++
		l.logger.Debug("started", "component", p.name, "took", time.Since(began).Round(time.Microsecond))
	}
	return nil
}

// stop walks backward, twice: drain, then stop. Every started phase is stopped,
// whatever happens to the others; each has a time limit of its own.
func (l *lifecycle) stop(ctx context.Context) error {
	var errs []error
	walk := func(verb string, limit func(phase) time.Duration, action func(phase) func(context.Context) error) {
		for i := l.started - 1; i >= 0; i-- {
			p := l.phases[i]
			f := action(p)
			if f == nil {
				continue
			}
			began := time.Now()
			bounded, cancel := context.WithTimeout(ctx, limit(p))
			err := f(bounded)
			cancel()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %s: %w", verb, p.name, err))
			}
			l.logger.Debug(verb, "component", p.name, "took", time.Since(began).Round(time.Microsecond))
		}
	}
	walk("drain", func(p phase) time.Duration { return cmp.Or(p.drainLimit, drainTimeout) }, func(p phase) func(context.Context) error { return p.drain })
	walk("stop", func(phase) time.Duration { return stopTimeout }, func(p phase) func(context.Context) error { return p.stop })
	l.started = 0
	return errors.Join(errs...)
}
