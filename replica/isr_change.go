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
		p.watchers.moved(Commits)
	}
}
