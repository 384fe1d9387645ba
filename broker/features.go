package broker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// features follows /feature, whose data version ApiVersions tells clients as the
// epoch of the finalized features (KIP-584). In ZooKeeper mode the features
// themselves are always none.
type features struct {
	zk     *zkmeta.Client
	logger *slog.Logger

	version atomic.Int64
	dirty   chan struct{} // holds at most one signal: read again
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

func newFeatures(zk *zkmeta.Client, logger *slog.Logger) *features {
	f := &features{zk: zk, logger: logger, dirty: make(chan struct{}, 1)}
	f.version.Store(-1)
	return f
}

// Epoch is the version of /feature, −1 as long as it is not known.
func (f *features) Epoch() int64 { return f.version.Load() }

// changed asks for another look; it never blocks.
func (f *features) changed() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// onSession looks again in a new session, which has lost the watch.
func (f *features) onSession(e session.Event) {
	if e.Kind == session.Connected {
		f.changed()
	}
}

func (f *features) start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	watch := session.NewWatch(func(session.WatchEvent) { f.changed() })
	f.changed()
	f.ended.Go(func() {
		for {
			select {
			case <-f.dirty:
			case <-ctx.Done():
				return
			}
			_, version, exists, err := f.zk.Feature(ctx, watch)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				// An expired session brings its successor's event, and a malformed
				// node its next change.
				f.logger.Warn("the finalized features cannot be read", "error", err)
			case exists:
				f.version.Store(int64(version))
			default:
				f.version.Store(-1)
			}
		}
	})
	return nil
}

func (f *features) stop(context.Context) error {
	f.cancel()
	f.ended.Wait()
	return nil
}
