package nowait

// patience is the most that a reader waits for at a time, bytes.
const patience = 256 << 10

// LowWater has a socket wake its reader when much of what is awaited is there, and not for
// each piece that arrives: a sender that is slower than its reader costs a wake-up for
// every packet. The zero value is a socket that wakes its reader for any byte.
type LowWater struct{ bytes int }

// Await is called when missing bytes are to come and nothing is there.
func (l *LowWater) Await(socket uintptr, missing int) { l.set(socket, min(missing, patience)) }

// Reset is called when all has come that was awaited.
func (l *LowWater) Reset(socket uintptr) { l.set(socket, 0) }

// set does nothing where the system cannot do it.
func (l *LowWater) set(socket uintptr, n int) {
	if n != l.bytes && setReceiveLowWater(socket, max(n, 1)) == nil {
		l.bytes = n
	}
}
