package storage

import (
	"context"

	"github.com/gracchus-mq/gracchus/protocol"
)

// OnDirFailure has f called when a log directory has gone offline, with the
// partitions that went with it; for a directory that failed at start-up also,
// once the Store is started. To be called before Start. The calls come one
// after the other and outside all locks.
func (s *Store) OnDirFailure(f func(dir string, partitions []protocol.TopicPartition)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onFail = append(s.onFail, f)
}

// OnAllFailed has f called when the last log directory has gone offline: the
// broker must end. To be called before Start.
func (s *Store) OnAllFailed(f func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onFatal = append(s.onFatal, f)
}

// OnRoom has f called when a log directory is no longer full and there are
// partitions that could not be created for it. To be called before Start. f must
// not block.
func (s *Store) OnRoom(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onRoom = append(s.onRoom, f)
}

func (s *Store) retryCreations() {
	if !s.uncreated.Swap(false) {
		return
	}
	s.mu.RLock()
	onRoom := s.onRoom
	s.mu.RUnlock()
	for _, f := range onRoom {
		f()
	}
}

// watchFailures draws the consequences of directories that fail.
func (s *Store) watchFailures(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-s.failed:
			s.retire(d)
		}
	}
}

// retire takes the logs of a failed directory out of service. The directory
// itself answers every operation with an error since the moment it failed.
func (s *Store) retire(d *directory) {
	s.logger.Error("log directory is offline from now on", "dir", d.path, "err", d.cause())
	gone, partitions := s.withdrawAll(d)
	s.mu.RLock()
	onFail, onFatal := s.onFail, s.onFatal
	s.mu.RUnlock()
	for _, f := range onFail {
		f(d.path, partitions)
	}
	for _, h := range gone {
		h.log.Abandon()
	}
	d.release()
	if err := s.requireOnline(); err != nil {
		for _, f := range onFatal {
			f(err)
		}
	}
}

// withdrawAll takes all logs of d out of the Store.
func (s *Store) withdrawAll(d *directory) (gone []*hosted, served []protocol.TopicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, partitions := range s.live {
		for _, h := range partitions {
			if h.dir == d {
				gone = append(gone, h)
				served = append(served, h.tp)
			}
		}
	}
	for _, h := range gone {
		s.withdraw(h)
	}
	kept := s.aside[:0]
	for _, h := range s.aside {
		if h.dir == d {
			gone = append(gone, h)
		} else {
			kept = append(kept, h)
		}
	}
	s.aside = kept
	return gone, served
}
