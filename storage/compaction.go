package storage

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/cleaner"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// checkpoint writes a checkpoint file of the directory that a log is in.
func (s *Store) checkpoint(log *commitlog.Log, kind checkpointKind) error {
	s.mu.RLock()
	tp := log.Partition()
	h := s.live[tp.Topic][tp.Partition]
	s.mu.RUnlock()
	if h == nil || h.log != log {
		return nil // it was deleted
	}
	return h.dir.checkpoints.update(kind)
}

// Compaction says how the compaction of the logs is doing.
func (s *Store) Compaction() cleaner.Status { return s.cleaner.Status() }

// LastCompacted is when the log of a partition was last compacted; zero: not since the
// start.
func (s *Store) LastCompacted(tp protocol.TopicPartition) time.Time {
	log, ok := s.Log(tp)
	if !ok {
		return time.Time{}
	}
	return s.cleaner.LastCleaned(log)
}
