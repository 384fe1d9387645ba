package txn

import "fmt"

// State is what a transactional id is in. Its numbers are those of the log.
type State int8

const (
	Empty             State = iota // it has a producer, and has had no transaction since
	Ongoing                        // its transaction is open
	PrepareCommit                  // it is decided: markers are on their way to the partitions
	PrepareAbort                   // the same
	CompleteCommit                 // every partition has its marker
	CompleteAbort                  // the same
	Dead                           // the id is not here any more; never in the log
	PrepareEpochFence              // a name that Kafka has; nothing is ever in this state
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

// String returns Kafka's name of the state.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int8(s))
	}
	return stateNames[s]
}

// ParseState returns the state that has a name.
func ParseState(name string) (State, bool) {
	for s, n := range stateNames {
		if n == name {
			return State(s), true
		}
	}
	return 0, false
}

// stored reports whether the log has such a state.
func (s State) stored() bool { return s >= Empty && s <= CompleteAbort }

// prepared reports whether markers are being written.
func (s State) prepared() bool { return s == PrepareCommit || s == PrepareAbort }

// open reports whether there is a transaction that has not ended in every partition.
func (s State) open() bool { return s == Ongoing || s.prepared() }
