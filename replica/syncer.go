package replica

import (
	"context"
	"log/slog"
	"sync"
)

// syncStreams is how many partitions are synced at the same time. Most of what
// there is to gain comes from many appends sharing one fsync, and journaling file
// systems put concurrent ones into a line anyway.
const syncStreams = 4

// syncer syncs partitions with flush.messages on behalf of produces that wait for
// the high watermark. While a partition is being synced, others append to it and
// ask again: the next fsync is for all of them.
type syncer struct {
	logger *slog.Logger

	mu    sync.Mutex
	queue []*Partition // each at most once
	some  chan struct{}

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newSyncer(logger *slog.Logger) *syncer {
	return &syncer{logger: logger, some: make(chan struct{}, syncStreams)}
}

// request has p synced soon, and its high watermark advanced after that.
func (s *syncer) request(p *Partition) {
	if p.syncQueued.Swap(true) {
		return
	}
	s.mu.Lock()
	s.queue = append(s.queue, p)
	s.mu.Unlock()
	select {
	case s.some <- struct{}{}:
	default: // as many are awake, or about to be, as there are
	}
}

func (s *syncer) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for range syncStreams {
		s.done.Go(func() { s.run(ctx) })
	}
}

// stop returns when all goroutines have ended. What is still queued is not
// synced: closing the logs does that.
func (s *syncer) stop() {
	if s.cancel != nil {
		s.cancel()
		s.done.Wait()
	}
}

func (s *syncer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.some:
		}
		for p := s.next(); p != nil && ctx.Err() == nil; p = s.next() {
			s.sync(p)
		}
	}
}

func (s *syncer) next() *Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	p := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	return p
}

func (s *syncer) sync(p *Partition) {
	// Who asks from here on may have appended after the fsync began, and is
	// queued again.
	p.syncQueued.Store(false)
	log, err := p.Log()
	if err != nil {
		return // gone, and its produces with it
	}
	if err := log.Sync(log.EndOffset()); err != nil {
		// The log directory goes offline by it, which is told to all who wait.
		s.logger.Error("records could not be made durable", "partition", p.tp.String(), "err", err)
		return
	}
	p.localMoved()
}
