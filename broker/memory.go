package broker

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// A small heap may grow to four times what lives before it is collected: garbage
	// is short-lived, so this costs a few megabytes and saves most collections. A
	// large one may grow to twice that, as Go has it.
	mostGrowth, leastGrowth = 300, 100 // percent
	// smallHeap is up to what size a heap counts as small, garbage included.
	smallHeap = 48 << 20 // bytes
	// heapShare is the part of the memory at hand from which on collecting is worth
	// any effort. The rest is for the page cache, without which a broker is slow.
	heapShare = 0.75
)

// sizeHeap adapts the garbage collector to what lives, and to the memory at hand:
// that of the container, or of the machine if there is no container. GOGC and
// GOMEMLIMIT in the environment win.
func sizeHeap(logger *slog.Logger, memory memlimit.Provider) {
	if previous := debug.SetGCPercent(mostGrowth); previous != 100 {
		debug.SetGCPercent(previous)
	} else {
		afterCollection(func() {
			sample := [1]metrics.Sample{{Name: "/gc/heap/live:bytes"}}
			metrics.Read(sample[:])
			debug.SetGCPercent(growth(sample[0].Value.Uint64()))
		})
	}
	limit, err := memlimit.Set(memlimit.WithRatio(heapShare), memlimit.WithProvider(memory))
	if err != nil {
		logger.Warn("the heap has no limit, because the memory at hand cannot be found out; set GOMEMLIMIT", "error", err)
		return
	}
	logger.Debug("heap limit", "bytes", limit)
}

// growth is by how much, in percent, a heap may grow of which so many bytes live.
// What lived only while it was collected, a large request, say, does not have it
// grow to four times as much.
func growth(live uint64) int {
	if live <= smallHeap/(1+mostGrowth/100) {
		return mostGrowth
	}
	return max(int(smallHeap*100/live)-100, leastGrowth)
}

// afterCollection has f called after each garbage collection, from now on.
func afterCollection(f func()) {
	type sentinel struct{ _ [64]byte } // garbage, and too large to share its place
	runtime.AddCleanup(new(sentinel), func(f func()) {
		afterCollection(f) // first, so that whoever hears of f can count on the next
		f()
	}, f)
}
