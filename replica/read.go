package replica

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// Consumer, as the replica id of a request, is a client and no broker.
const Consumer int32 = -1

// ReadRequest is one partition of a Fetch request.
type ReadRequest struct {
	Offset   int64
	MaxBytes int32
	// MinOne asks for the first batch even if it is larger than MaxBytes.
	MinOne        bool
	ReadCommitted bool
	// CurrentLeaderEpoch and LastFetchedEpoch are NoEpoch if the request has none.
	CurrentLeaderEpoch int32
	LastFetchedEpoch   int32
	// ReplicaID is the follower that fetches, or Consumer.
	ReplicaID int32
	Follower  FollowerState // only of a follower
	// FollowerAllowed lets a consumer read from a follower (KIP-392, Fetch 11).
	FollowerAllowed bool
	// Woken, if not nil, gets who has waited for what a follower's progress commits: the
	// caller goes on with them.
	Woken *Woken
}

// ReadResult is what a Fetch response says about the partition.
type ReadResult struct {
	// Range are the batches. The caller releases it.
	Range commitlog.Range
	// The offsets are from before the read, and −1 after an error.
	HighWatermark, LastStableOffset, LogStart, LogEnd int64
	// Aborted are the transactions that a read_committed consumer must skip, not
	// nil for those and nil for others.
	Aborted []commitlog.AbortedTxn
	// Diverging says that the requester's log parts from this one (KIP-595): its
	// newest epoch ends here at EndOffset, in Epoch. There are no batches then.
	Diverging Divergence
}

// Divergence is where two logs part; Epoch is −1 if they do not.
type Divergence struct {
	Epoch     int32
	EndOffset int64
}

var noReadResult = ReadResult{
	HighWatermark: -1, LastStableOffset: -1, LogStart: -1, LogEnd: -1,
	Diverging: Divergence{-1, -1},
}

// Read reads batches for a consumer, below the high watermark or the last stable
// offset, or for a follower, up to the end of the log. At the bound it returns an
// empty range, and no error.
//
// A follower's request also tells how far it is; see FollowerState.
//
// Errors wrap kerr.NotLeaderForPartition, FencedLeaderEpoch, UnknownLeaderEpoch
// (also if a follower is none of the replicas), OffsetOutOfRange,
// UnknownTopicOrPartition or KafkaStorageError.
func (p *Partition) Read(req ReadRequest) (ReadResult, error) {
	r := p.role.Load()
	fromFollower := req.ReplicaID >= 0
	if err := r.serve(p.tp, fromFollower || !req.FollowerAllowed, req.CurrentLeaderEpoch); err != nil {
		return noReadResult, err
	}
	if fromFollower && !slices.Contains(r.replicas, req.ReplicaID) {
		reason := kerr.UnknownLeaderEpoch // a newer one will know it
		if req.CurrentLeaderEpoch == NoEpoch {
			reason = kerr.NotLeaderForPartition
		}
		return noReadResult, fmt.Errorf("%v: broker %d is none of the replicas %v: %w", p.tp, req.ReplicaID, r.replicas, reason)
	}
	// What is appended from here on must not make a follower look as if it had
	// not caught up.
	log := r.log
	result := ReadResult{
		HighWatermark:    log.HighWatermark(),
		LastStableOffset: log.LastStableOffset(),
		LogStart:         log.StartOffset(),
		LogEnd:           log.EndOffset(),
		Diverging:        Divergence{-1, -1},
	}
	if req.LastFetchedEpoch != NoEpoch {
		diverging, err := p.compareHistories(log, req, result)
		if err != nil {
			return noReadResult, err
		}
		if diverging.Epoch >= 0 {
			result.Diverging = diverging
			return result, nil
		}
	}
	if fromFollower && req.Follower.New && req.Offset >= result.LogStart && req.Offset <= result.LogEnd {
		if err := p.followerFetched(r, &req, result.LogEnd); err != nil {
			return noReadResult, err
		}
		// It hears at once what its own progress has made of the high watermark.
		result.HighWatermark, result.LastStableOffset = log.HighWatermark(), log.LastStableOffset()
	}
	bound := result.HighWatermark
	switch {
	case fromFollower:
		bound = result.LogEnd
	case req.ReadCommitted:
		bound = result.LastStableOffset
		result.Aborted = []commitlog.AbortedTxn{}
	}
	var err error
	if result.Range, err = log.Read(req.Offset, req.MaxBytes, bound, req.MinOne); err != nil {
		return noReadResult, p.explain(err)
	}
	if result.Range.Len > 0 && !fromFollower && req.ReadCommitted {
		aborted, err := log.AbortedTransactions(req.Offset, log.UpperBound(result.Range))
		if err != nil {
			result.Range.Release()
			return noReadResult, p.explain(err)
		}
		result.Aborted = append(result.Aborted, aborted...)
	}
	return result, nil
}

// compareHistories decides whether the requester, whose last record below the
// offset it asks for is of LastFetchedEpoch, has the same history as this log.
func (p *Partition) compareHistories(log *commitlog.Log, req ReadRequest, seen ReadResult) (Divergence, error) {
	epoch, end := log.EndOffsetForEpoch(req.LastFetchedEpoch)
	if epoch < 0 || end < 0 {
		return Divergence{}, fmt.Errorf("%v: where epoch %d ended is not known: %w", p.tp, req.LastFetchedEpoch, kerr.OffsetOutOfRange)
	}
	if req.Offset < seen.LogStart {
		return Divergence{}, fmt.Errorf("read of %v at %d, which begins at %d: %w", p.tp, req.Offset, seen.LogStart, kerr.OffsetOutOfRange)
	}
	if epoch < req.LastFetchedEpoch || end < req.Offset {
		return Divergence{epoch, end}, nil
	}
	return Divergence{-1, -1}, nil
}
