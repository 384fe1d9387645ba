package group

import (
	"log/slog"
	"sync/atomic"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
)

// budget is what the groups of a coordinator may take in memory together. What would
// have one of them grow is refused once it is used up, so that it may be exceeded by as
// much as the requests hold that are on their way then, and by what is loaded: that is
// in the log, and must be served. Safe for concurrent use.
type budget struct {
	limit    int64 // bytes
	used     atomic.Int64
	logger   *slog.Logger
	refusals loglimit.Limit // lines about groups that were not allowed to grow
}

// room is by how many bytes groups may grow. It is negative if they take too much.
func (b *budget) room() int { return int(b.limit - b.used.Load()) }

// refused says that something was refused, without names: they are as long as strangers
// like.
func (b *budget) refused() {
	if b.refusals.Say() {
		b.logger.Warn("a group was not allowed to grow, because all groups together take the memory that they may take", "bytes", b.used.Load(), "gracchus.group.memory.bytes", b.limit)
	}
}
