package replica

import (
	"slices"
	"time"
)

// proposeISR asks the controller for another ISR, which decide returns, nil to
// leave it. It is decided under p.mu, so that no append and no other change comes
// in between, and one at a time: while a request is on its way, the next waits.
func (p *Partition) proposeISR(decide func(r *role) []int32) {
	if p.shared.alters == nil {
		return // nobody to ask
	}
	p.mu.Lock()
	r := p.role.Load()
	var next []int32
	if r.leading && r.gone == nil && r.pending == nil && r.followers != nil {
		next = decide(r)
	}
	if next != nil {
		waiting := *r
		waiting.pending = next
		p.role.Store(&waiting)
	}
	p.mu.Unlock()
	if next != nil {
		p.shared.alters.request(p)
	}
}

// dropLaggards proposes an ISR without those who lag, if anybody does.
func (p *Partition) dropLaggards(now time.Time) {
	laggards := func(r *role) []int32 {
		r.followers.mu.Lock()
		defer r.followers.mu.Unlock()
		return shrinkISR(r.isr, r.followers.all, r.log.EndOffset(), now, p.shared.lagMax)
	}
	// Nearly always nobody does, and then no append is held up.
	if r := p.role.Load(); r.leading && r.gone == nil && r.pending == nil && r.followers != nil && laggards(r) != nil {
		p.proposeISR(laggards)
	}
}

// addCaughtUp proposes an ISR with those who have everything and may join it. Mostly a
// follower's fetch sees to that; but one that comes while another proposal is on its way,
// or before this broker has heard that the follower lives, does not, nor does one whose
// proposal the controller has refused. The follower does not come again: where nothing
// happens it is silent in its fetch session. Kafka need not look, because its followers
// fetch each partition again and again. (A follower that lacks something comes again, or
// has left for that reason.)
//
// What is known of the follower may be older than its last crash. The controller knows by
// the broker epoch that goes with the proposal (KIP-903).
func (p *Partition) addCaughtUp() {
	caughtUp := func(r *role) []int32 {
		next := r.isr[:len(r.isr):len(r.isr)]
		for _, id := range r.followers.at(r.log.EndOffset()) {
			if p.joins(r, id) {
				next = append(next, id)
			}
		}
		if len(next) == len(r.isr) {
			return nil
		}
		return next
	}
	if r := p.role.Load(); r.leading && r.gone == nil && r.pending == nil && r.followers != nil && len(r.isr) < len(r.replicas) {
		p.proposeISR(caughtUp)
	}
}

// isrAnswer is what the controller says to a proposal.
type isrAnswer int8

const (
	isrDecided isrAnswer = iota // isr and partitionEpoch are the new state
	// isrRefused: the ISR stays. A proposed member is not eligible; it can be
	// proposed again.
	isrRefused
	// isrSuperseded: the controller knows a newer state, which it will send in a
	// LeaderAndIsr. Until then the proposal stays pending, for it may be part of that.
	isrSuperseded
)

// isrAnswered takes over what the controller has decided about a proposal that was
// made in role asked. If the role has changed meanwhile, that was newer.
func (p *Partition) isrAnswered(asked *role, answer isrAnswer, isr []int32, partitionEpoch int32) {
	if answer == isrSuperseded {
		return
	}
	p.mu.Lock()
	r := p.role.Load()
	if r != asked {
		p.mu.Unlock()
		return
	}
	next := *r
	next.pending = nil
	if answer == isrDecided && partitionEpoch >= r.partitionEpoch {
		next.isr, next.partitionEpoch = slices.Clone(isr), partitionEpoch
	}
	p.role.Store(&next)
	moved := p.advance(&next)
	p.mu.Unlock()
	if moved {
		p.wake(&next)
		p.watchers.moved(Commits, nil)
	}
	if answer == isrDecided {
		p.addCaughtUp() // others, who have fetched meanwhile
	}
}
