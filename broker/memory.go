package broker

import (
	"log/slog"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// heapGrowth lets the heap grow to four times what lives before it is
	// collected. A broker's live heap is small and its garbage short-lived, so this
	// costs a few megabytes and saves most collections.
	heapGrowth = 300
	// heapShare is the part of the memory at hand from which on collecting is worth
	// any effort. The rest is for the page cache, without which a broker is slow.
	heapShare = 0.75
)

// sizeHeap adapts the garbage collector to the memory at hand: that of the
// container, or of the machine if there is no container. GOGC and GOMEMLIMIT in
// the environment win.
func sizeHeap(logger *slog.Logger, memory memlimit.Provider) {
	if previous := debug.SetGCPercent(heapGrowth); previous != 100 {
		debug.SetGCPercent(previous)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(heapShare), memlimit.WithProvider(memory))
	if err != nil {
		logger.Warn("the heap has no limit, because the memory at hand cannot be found out; set GOMEMLIMIT", "error", err)
		return
	}
	logger.Debug("heap limit", "bytes", limit)
}
