package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// exactSleep sleeps to some hundredths of a millisecond. The runtime's own timers wake
// an idle process at whole milliseconds only, which is more than a broker takes to
// answer: with them, the latency that is measured is mostly the client's.
type exactSleep struct{}

// exactTimer binds the goroutine to a thread of its own until stop.
func exactTimer() exactSleep {
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // ns, of this thread; without it, 50 µs
	return exactSleep{}
}

func (exactSleep) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	left := unix.NsecToTimespec(d.Nanoseconds())
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &left, &left) == unix.EINTR {
	}
}

// stop gives the thread back with the slack of the process's first.
func (exactSleep) stop() {
	unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	runtime.UnlockOSThread()
}
