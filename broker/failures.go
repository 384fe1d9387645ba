package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta"
)

// failures tells the controller that a log directory of this broker has failed
// (KIP-112). The controller then asks this broker for all of its replicas, is
// answered which of them are gone, and lets clients know that they have no leader.
// When there is room again for replicas that could not be created, it is told the
// same, and finds them to be there.
type failures struct {
	zk     *zkmeta.Client
	id     int32
	logger *slog.Logger

	pending chan struct{} // holds at most one signal: one notification is enough for any number of directories
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

func newFailures(zk *zkmeta.Client, id int32, logger *slog.Logger) *failures {
	return &failures{zk: zk, id: id, logger: logger, pending: make(chan struct{}, 1)}
}

// happened returns at once.
func (f *failures) happened() {
	select {
	case f.pending <- struct{}{}:
	default:
	}
}

func (f *failures) start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.ended.Go(func() {
		for {
			select {
			case <-f.pending:
				f.notify(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

func (f *failures) stop(context.Context) error {
	f.cancel()
	f.ended.Wait()
	return nil
}

// notify tries until it has succeeded or ctx ends.
func (f *failures) notify(ctx context.Context) {
	const pause = time.Second
	for {
		err := f.zk.NotifyLogDirFailure(ctx, f.id)
		if err == nil || ctx.Err() != nil {
			return
		}
		f.logger.Warn("the controller does not know yet that a log directory has failed, or has room again", "error", err, "again in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
