package replica

import (
	"errors"

	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// What a follower does to its log. Everything here happens in one role: after a
// change of the role, which waits for what is under way, nothing of the old leader
// reaches the log.

// errNotFollowing says that the partition has another role by now.
var errNotFollowing = errors.New("the replica does not follow this leader any more")

// inRole calls f while the role is r and cannot change.
func (p *Partition) inRole(r *role, f func(*commitlog.Log) error) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.role.Load() != r {
		return errNotFollowing
	}
	return f(r.log)
}

// position is where a follower stands, as its next fetch says.
type position struct {
	offset, start int64 // where its log ends and starts
	leaderEpoch   int32 // in which it follows
	lastEpoch     int32 // of its last record, NoEpoch if it is not known
}

func (r *role) position() position {
	at := position{offset: r.log.EndOffset(), start: r.log.StartOffset(), leaderEpoch: r.leaderEpoch, lastEpoch: NoEpoch}
	if epoch, ok := r.log.LatestEpoch(); ok {
		at.lastEpoch = epoch
	}
	return at
}

// beginFollowing prepares the log for the first fetch from a new leader. With a
// history of epochs the fetch itself finds out where the logs part; without one
// only what is committed is sure to be the leader's, too.
func (p *Partition) beginFollowing(r *role) error {
	if _, ok := r.log.LatestEpoch(); ok {
		return nil
	}
	return p.inRole(r, func(log *commitlog.Log) error { return log.TruncateTo(log.HighWatermark()) })
}

// fetched is what a leader's response says about a partition.
type fetchedData struct {
	records       []byte // whole batches, but for the last
	highWatermark int64
	logStart      int64
}

// applyFetched appends what was fetched at an offset, and follows the leader's high
// watermark and log start. The records are written as they are.
//
// Errors are those of commitlog.Log.AppendAsFollower, and errNotFollowing.
func (p *Partition) applyFetched(r *role, offset int64, d fetchedData) error {
	moved := false
	err := p.inRole(r, func(log *commitlog.Log) error {
		if log.EndOffset() != offset {
			return errNotFollowing // it was cut since; the next fetch says where
		}
		if len(d.records) > 0 {
			info, err := log.AppendAsFollower(d.records, r.leaderEpoch)
			if err != nil {
				return err
			}
			moved = info.Bytes > 0
		}
		if hw := log.HighWatermark(); hw != d.highWatermark {
			moved = log.SetHighWatermark(d.highWatermark) != hw || moved
		}
		if log.EndOffset() >= d.highWatermark {
			log.Complete()
		}
		// What the leader has deleted is deleted here, once it is committed here.
		if start := min(d.logStart, log.HighWatermark()); start > log.StartOffset() {
			moved = true
			return log.AdvanceStartOffset(start)
		}
		return nil
	})
	if moved {
		p.watchers.moved(allMoves, nil)
	}
	return err
}

// applyDivergence cuts the log back to where the leader says that the logs part.
func (p *Partition) applyDivergence(r *role, leader Divergence) error {
	return p.cut(r, func(log *commitlog.Log) error {
		epoch, end := log.EndOffsetForEpoch(leader.Epoch)
		return log.TruncateTo(truncation(leader, Divergence{epoch, end}, log.EndOffset()))
	})
}

// applyRestart brings the log within the leader's bounds.
func (p *Partition) applyRestart(r *role, leaderStart, leaderEnd int64) error {
	return p.cut(r, func(log *commitlog.Log) error {
		d := restartAt(leaderStart, leaderEnd, log.EndOffset())
		switch {
		case d.truncate:
			return log.TruncateTo(d.offset)
		case d.anew:
			return log.TruncateFullyAndStartAt(d.offset)
		}
		return nil
	})
}

func (p *Partition) cut(r *role, how func(*commitlog.Log) error) error {
	err := p.inRole(r, how)
	p.watchers.moved(allMoves, nil)
	return err
}

// unsynced reports whether flush.messages asks for an fsync before the leader may
// be told of what is in the log.
func (r *role) unsynced() bool {
	return r.log.EndOffset()-r.log.SyncedOffset() >= r.log.Config().FlushMessages
}
