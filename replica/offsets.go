package replica

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Timestamps with a meaning of their own in ListOffsets.
const (
	Latest        int64 = -1
	Earliest      int64 = -2
	MaxTimestamp  int64 = -3 // the record with the greatest timestamp (KIP-734)
	EarliestLocal int64 = -4 // the same as Earliest without tiered storage (KIP-405)
	LatestTiered  int64 = -5 // nothing without tiered storage (KIP-1005)
)

// ListOffsetsRequest is one partition of a ListOffsets request.
type ListOffsetsRequest struct {
	Timestamp          int64 // ms, or one of the above
	CurrentLeaderEpoch int32 // NoEpoch if the request has none
	// Client tells consumers, who see committed records only, from brokers.
	Client        bool
	ReadCommitted bool // only for a client
	// FollowerAllowed answers also where this broker does not lead.
	FollowerAllowed bool
}

// ListedOffset is the answer; offset and timestamp are −1 if there is no such
// record, the epoch if it is not known.
type ListedOffset struct {
	Offset, Timestamp int64
	LeaderEpoch       int32
}

var noListedOffset = ListedOffset{-1, -1, -1}

// ListOffsets finds an offset by time. Errors wrap those of a role that cannot
// serve, kerr.OffsetNotAvailable while a new leader does not know yet what is
// committed, or KafkaStorageError.
func (p *Partition) ListOffsets(req ListOffsetsRequest) (ListedOffset, error) {
	r := p.role.Load()
	if err := r.serve(p.tp, !req.FollowerAllowed, req.CurrentLeaderEpoch); err != nil {
		return noListedOffset, err
	}
	log := r.log
	hw := log.HighWatermark()
	bound := log.EndOffset()
	var lagging error // what a client hears instead of an offset that may be too low
	if req.Client {
		bound = hw
		if req.ReadCommitted {
			bound = log.LastStableOffset()
		}
		if r.epochStart > hw {
			lagging = fmt.Errorf("%v: high watermark %d is below %d, where leader epoch %d began: %w", p.tp, hw, r.epochStart, r.leaderEpoch, kerr.OffsetNotAvailable)
		}
	}
	var found ListedOffset
	var err error
	switch req.Timestamp {
	case Latest:
		if lagging != nil {
			return noListedOffset, lagging
		}
		return ListedOffset{Offset: bound, Timestamp: -1, LeaderEpoch: r.leaderEpoch}, nil
	case Earliest, EarliestLocal:
		start := log.StartOffset()
		return ListedOffset{Offset: start, Timestamp: -1, LeaderEpoch: log.EpochAt(start)}, nil
	case LatestTiered:
		return noListedOffset, nil
	case MaxTimestamp:
		found.Offset, found.Timestamp, found.LeaderEpoch, err = log.MaxTimestampOffset()
	default:
		found.Offset, found.Timestamp, found.LeaderEpoch, err = log.OffsetForTimestamp(req.Timestamp, bound)
	}
	switch {
	case err != nil:
		return noListedOffset, p.explain(err)
	case found.Offset >= 0 && found.Offset < bound:
		return found, nil
	}
	return noListedOffset, lagging
}

// OffsetsBefore answers ListOffsets version 0: the offsets that the log is known
// to have reached by the time of the request, newest first and at most limit. A
// client sees the high watermark in place of what is above it. Errors are those of
// ListOffsets, except that this version has no kerr.OffsetNotAvailable.
func (p *Partition) OffsetsBefore(req ListOffsetsRequest, limit int) ([]int64, error) {
	r := p.role.Load()
	if err := r.serve(p.tp, !req.FollowerAllowed, req.CurrentLeaderEpoch); err != nil {
		return nil, err
	}
	log := r.log
	var offsets []int64
	var err error
	switch {
	case req.Timestamp != Earliest:
		by := req.Timestamp
		if by == Latest {
			by = math.MaxInt64
		}
		offsets, err = log.OffsetsBefore(by, limit)
	case limit > 0:
		offsets = []int64{log.StartOffset()}
	}
	if err != nil {
		return nil, p.explain(err)
	}
	hw := log.HighWatermark()
	if !req.Client || len(offsets) == 0 || offsets[0] <= hw {
		return offsets, nil
	}
	above := 1
	for above < len(offsets) && offsets[above] > hw {
		above++
	}
	offsets[above-1] = hw
	return offsets[above-1:], nil
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch (KIP-101): where the records of
// an epoch end in this log. Epoch and end are −1 if that is not known.
func (p *Partition) EndOffsetForEpoch(currentLeaderEpoch, epoch int32, followerAllowed bool) (foundEpoch int32, end int64, err error) {
	r := p.role.Load()
	if err := r.serve(p.tp, !followerAllowed, currentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	foundEpoch, end = r.log.EndOffsetForEpoch(epoch)
	return foundEpoch, end, nil
}
