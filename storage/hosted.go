package storage

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// hosted is one open log and what the store keeps beside it.
type hosted struct {
	tp   protocol.TopicPartition
	dir  *directory
	kind dirKind
	log  *commitlog.Log

	// Guarded by dir.checkpoints.mu.
	onDisk [checkpointKinds]int64 // what the checkpoint files say, or noLine
	gone   bool

	// Only the flusher of dir uses these.
	unsyncedSince time.Time // no later than the oldest append that is not synced; zero: none
	checkpointed  time.Time // when the flusher last made a checkpoint of the log; at first, when it was opened
}

func newHosted(tp protocol.TopicPartition, d *directory, kind dirKind, log *commitlog.Log) *hosted {
	h := &hosted{tp: tp, dir: d, kind: kind, log: log, checkpointed: time.Now()}
	for kind := range h.onDisk {
		h.onDisk[kind] = noLine
	}
	return h
}

// offset is what the checkpoint of that kind should say, or noLine.
func (h *hosted) offset(kind checkpointKind) int64 {
	switch kind {
	case recoveryPoints:
		return h.log.RecoveryPoint()
	case highWatermarks:
		return max(h.log.HighWatermark(), h.log.LostBelow()) // a second crash must not make it forgotten
	case cleanerOffsets:
		return h.log.CleanedOffset()
	}
	// The log start offset. At the beginning of a segment it goes without saying.
	// Above what is durable it must not be written down: a log that ends below its
	// start offset is emptied by whoever opens it next.
	start := h.log.StartOffset()
	if start <= h.log.BaseOffset() {
		return noLine
	}
	if start > h.log.SyncedOffset() {
		return h.onDisk[logStarts]
	}
	return start
}
