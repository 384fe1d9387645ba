package txn

import (
	"log/slog"
	"sync/atomic"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol"
)

// What ids take in memory, about, without the bytes of names. TestFootprint compares it
// with what the runtime says.
const (
	idFootprint        = 500
	partitionFootprint = 40
)

// footprint is what an id takes in memory, in bytes: with the partitions that it has, or
// is about to have.
func (t *transaction) footprint() int {
	partitions := t.partitions
	if t.change != nil && len(t.change.to.partitions) > len(partitions) {
		partitions = t.change.to.partitions
	}
	return idFootprint + len(t.id) + partitionsFootprint(partitions)
}

func partitionsFootprint(partitions []protocol.TopicPartition) (n int) {
	for i, tp := range partitions {
		n += partitionFootprint
		if i == 0 || partitions[i-1].Topic != tp.Topic {
			n += len(tp.Topic)
		}
	}
	return n
}

// mayGrow reports whether the transaction may be in more partitions.
func (t *transaction) mayGrow(partitions []protocol.TopicPartition, fx *effects) bool {
	fx.noRoom = partitionsFootprint(partitions) > t.room
	return !fx.noRoom
}

// budget is what all ids may take in memory together. What would have one of them grow
// is refused once it is used up, so that it may be exceeded by as much as the requests
// hold that are on their way then, and by what is loaded. Safe for concurrent use.
type budget struct {
	limit    int64 // bytes
	used     atomic.Int64
	waiting  atomic.Int64 // requests that wait
	logger   *slog.Logger
	refusals loglimit.Limit // lines about ids that were not allowed to grow
}

// room is by how many bytes ids may grow. It is negative if they take too much.
func (b *budget) room() int { return int(b.limit - b.used.Load()) }

// places is how many more requests may wait.
func (b *budget) places() int { return maxWaitingAll - int(b.waiting.Load()) }

// refused says that something was refused, without names: they are as long as strangers
// like.
func (b *budget) refused() {
	if b.refusals.Say() {
		b.logger.Warn("a transactional id was not allowed to grow, because all together take the memory that they may take", "bytes", b.used.Load(), "gracchus.transaction.memory.bytes", b.limit)
	}
}
