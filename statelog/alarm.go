package statelog

import "time"

// Ticker is who an Alarm calls.
type Ticker interface {
	// Tick does what is due. It takes the lock of the state machine, and calls Rang.
	Tick()
}

// Alarm calls a state machine when something is due. The zero value is not set.
//
// Concurrency: its methods are called with the lock of the state machine held.
type Alarm struct {
	timer *time.Timer
	at    time.Time // when it rings; zero if it does not
}

// Set has of, which is the same each time, called in a goroutine of its own when
// something is due; zero is never. An alarm that is set for an earlier time rings then,
// too early: of finds nothing to do and sets it again. So deadlines that are put off, as
// by every heartbeat, do not touch it.
func (a *Alarm) Set(due time.Time, of Ticker) {
	switch {
	case due.IsZero() || !a.at.IsZero() && !due.Before(a.at):
	case a.timer == nil:
		a.at = due
		a.timer = time.AfterFunc(time.Until(due), of.Tick)
	default:
		a.at = due
		a.timer.Reset(time.Until(due))
	}
}

// Rang notes that the alarm has rung.
func (a *Alarm) Rang() { a.at = time.Time{} }

// Stop has the alarm not ring any more, unless it does already.
func (a *Alarm) Stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.at = time.Time{}
}
