package storage

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

const (
	// sealInterval is how often the directory's logs are asked for segments that
	// have been rolled and not been synced.
	sealInterval = time.Second
	// minFlushTick bounds how often logs are looked at for a small flush.ms.
	minFlushTick = time.Millisecond
	// uncheckedBytes is how much of a log a crash may leave for recovery to check.
	// By the time it is synced for that, most of it is a while old and on the disk.
	uncheckedBytes = 64 << 20
)

// OnFlush has f called after an fsync that flush.ms has asked for: what counts
// as durable in that partition has moved. To be called before Start. f is
// called outside all locks and must not block.
func (s *Store) OnFlush(f func(protocol.TopicPartition)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onFlush = append(s.onFlush, f)
}

// flushSoon has the directory's flusher look at the logs' flush.ms again.
func (d *directory) flushSoon() {
	select {
	case d.flushKick <- struct{}{}:
	default:
	}
}

// flush syncs the logs of one directory: rolled segments and much else that is old,
// so that a crash finds little to recover, and everything that flush.ms says. An
// fsync takes long and they come one after the other: many at a time would not
// make a disk faster, and would keep those waiting who need one for an
// acknowledgement.
//
// Nobody tells the flusher of an append. It looks at two numbers of each log,
// often enough for the smallest flush.ms, and counts an append as made right
// after it has looked before: so no record waits longer than promised.
func (s *Store) flush(ctx context.Context, d *directory) {
	var logs []*hosted
	last := time.Now()
	timer := time.NewTimer(sealInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.flushKick:
		case <-timer.C:
		}
		now := time.Now()
		logs = s.snapshot(logs, d)
		next := sealInterval
		for _, h := range logs {
			if ctx.Err() != nil || !d.online() {
				return
			}
			if every := flushEvery(h); every < 4*next {
				next = max(every/4, minFlushTick)
			}
		}
		for _, h := range logs {
			if ctx.Err() != nil || !d.online() {
				return
			}
			// Without room for the log's small files the next round tries again.
			if err := s.flushLog(h, last, now); err != nil && !vfs.NoRoom(err) && d.online() && s.serves(h) {
				if errors.Is(err, kerr.KafkaStorageError) {
					d.fail(err)
					return
				}
				s.logger.Error("flush failed", "partition", h.tp.String(), "err", err)
			}
		}
		last = now
		timer.Reset(next)
	}
}

// flushEvery is the log's flush.ms, very long if it has none.
func flushEvery(h *hosted) time.Duration {
	if ms := h.log.Config().FlushMS; ms < math.MaxInt64/int64(time.Millisecond) {
		return time.Duration(ms) * time.Millisecond
	}
	return math.MaxInt64
}

// hurries reports whether the log's flush.ms is too short to wait for a flusher that
// looks at the logs as rarely as it may.
func hurries(h *hosted) bool { return flushEvery(h) < 4*sealInterval }

// flushLog syncs one log if something in it has waited for flush.ms; last is when
// the flusher looked before.
func (s *Store) flushLog(h *hosted, last, now time.Time) error {
	synced, end := h.log.SyncedOffset(), h.log.EndOffset()
	if synced >= end {
		h.unsyncedSince = time.Time{}
	} else {
		if h.unsyncedSince.IsZero() {
			h.unsyncedSince = last
		}
		if every := flushEvery(h); every < math.MaxInt64 && now.Sub(h.unsyncedSince) >= every {
			if err := h.log.Sync(end); err != nil {
				return err
			}
			h.unsyncedSince = time.Time{}
			for _, f := range s.onFlush {
				f(h.tp)
			}
			return nil
		}
	}
	if h.log.SealedUnsynced() {
		return h.log.Sync(synced + 1)
	}
	// As often as recovery points are written down.
	if every := s.cfg.RecoveryCheckpointInterval; every > 0 && now.Sub(h.checkpointed) >= every && h.log.Unchecked() >= uncheckedBytes {
		h.checkpointed = now
		return h.log.Checkpoint()
	}
	return nil
}
