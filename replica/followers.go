package replica

import (
	"slices"
	"sync"
	"time"
)

// noOffset stands for the end of a replica that has not fetched from this leader
// yet.
const noOffset int64 = -1

// follower is what a leader knows of another replica.
type follower struct {
	id          int32
	brokerEpoch int64 // of the registration in which it last fetched, −1 before that or if it does not say
	start       int64 // where its log starts
	end         int64 // where its log ends: the offset of its last fetch
	// caughtUp is the latest time at which it is known to have had everything that
	// this leader had, zero if it never did.
	caughtUp time.Time
	// At its last fetch, at this time, the leader's log ended there.
	fetched time.Time
	seenEnd int64
}

// fetch notes that the follower has everything below end. leaderEnd is where the
// leader's log ended when the request came.
//
// A follower may be caught up without ever reaching the end, which moves on while
// a response is under way: it is enough that it reaches what was the end when it
// asked before (Kafka's Replica.updateFetchState).
func (f *follower) fetch(start, end, leaderEnd int64, now time.Time) {
	switch {
	case end >= leaderEnd:
		f.caughtUp = latest(f.caughtUp, now)
	case end >= f.seenEnd:
		f.caughtUp = latest(f.caughtUp, f.fetched)
	}
	f.start, f.end = start, end
	f.fetched, f.seenEnd = now, leaderEnd
}

// appended notes that the leader has appended at an offset: who had everything
// below it was caught up until now. Kafka need not note this, because its
// followers fetch each partition again and again; in a session here they are
// silent about those where nothing happens.
func (f *follower) appended(offset int64, now time.Time) {
	if f.end == offset {
		f.caughtUp = latest(f.caughtUp, now)
	}
}

// lags reports whether the follower has been without some of the leader's records
// for longer than lagMax (replica.lag.time.max.ms).
func (f *follower) lags(leaderEnd int64, now time.Time, lagMax time.Duration) bool {
	return f.end != leaderEnd && now.Sub(f.caughtUp) > lagMax
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// followers are the other replicas as a leader knows them in one leader epoch:
// what they had when another led says nothing. A leader without other replicas has
// none, nil.
type followers struct {
	mu  sync.Mutex // a leaf
	all []follower // fixed in length and order
}

// newFollowers knows nothing about them yet, but that those in the ISR were in
// sync until now.
func newFollowers(replicas, isr []int32, self int32, now time.Time) *followers {
	var all []follower
	for _, ids := range [][]int32{isr, replicas} {
		for _, id := range ids {
			if id == self || slices.ContainsFunc(all, func(f follower) bool { return f.id == id }) {
				continue
			}
			f := follower{id: id, brokerEpoch: -1, start: noOffset, end: noOffset, seenEnd: noOffset}
			if slices.Contains(isr, id) {
				f.caughtUp = now
			}
			all = append(all, f)
		}
	}
	if all == nil {
		return nil
	}
	return &followers{all: all}
}

// find must be called with mu held.
func (fs *followers) find(id int32) *follower {
	for i := range fs.all {
		if fs.all[i].id == id {
			return &fs.all[i]
		}
	}
	return nil
}

// at returns the followers whose logs end at an offset.
func (fs *followers) at(offset int64) (ids []int32) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i := range fs.all {
		if fs.all[i].end == offset {
			ids = append(ids, fs.all[i].id)
		}
	}
	return ids
}

// appended notes an append at an offset.
func (fs *followers) appended(offset int64) {
	if fs == nil {
		return
	}
	now := time.Now()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i := range fs.all {
		fs.all[i].appended(offset, now)
	}
}

// lowestStart returns the lowest start of those followers' logs for which counts
// holds, and of the leader's own.
func (fs *followers) lowestStart(own int64, counts func(id int32) bool) int64 {
	if fs == nil {
		return own
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i := range fs.all {
		if counts(fs.all[i].id) {
			own = min(own, fs.all[i].start)
		}
	}
	return own
}
