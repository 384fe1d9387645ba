package statelog

import (
	"context"
	"runtime"
	"time"
)

const (
	loadRetry    = time.Second
	loadRetryMax = 30 * time.Second
)

// Loads bounds how many partitions are read at a time. Safe for concurrent use.
type Loads struct{ turns chan struct{} }

// NewLoads leaves one processor free.
func NewLoads() Loads { return Loads{make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))} }

// Run calls load when it is its turn, and again, after a while, as long as it fails and
// ctx has not ended: a coordinator that served what could be read so far would have
// forgotten what it has promised. failed is told each time.
func (l Loads) Run(ctx context.Context, load func() error, failed func(err error, retry time.Duration)) {
	for wait := loadRetry; ; wait = min(2*wait, loadRetryMax) {
		err := l.try(ctx, load)
		if err == nil || ctx.Err() != nil {
			return
		}
		failed(err, wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (l Loads) try(ctx context.Context, load func() error) error {
	select {
	case l.turns <- struct{}{}:
		defer func() { <-l.turns }()
		return load()
	case <-ctx.Done():
		return ctx.Err()
	}
}
