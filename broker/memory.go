package broker

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent lets the heap grow to four times what lives before it is collected: a
	// small broker's garbage is short-lived, so this costs a few megabytes and saves
	// most collections.
	gcPercent = 300
	// easyHeap is how far the heap may grow that way.
	easyHeap = 48 << 20
	// heapPerLive is to how much of what lives it may grow beyond.
	heapPerLive = 2.5
	// memoryCheck is how often the bound is set.
	memoryCheck = time.Second
	// collectAfter is after how many checks without a collection there is one.
	collectAfter = 5
)

// boundGarbage decides, until stop is called, how often garbage is collected. Four
// times what lives is little while that is little, and was much when a request that
// took 30 MiB for a moment was counted as living.
//
// GOGC or GOMEMLIMIT in the environment win.
func boundGarbage() (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetGCPercent(gcPercent)
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var last memoryUsed
		idle := 0 // checks without a collection in between
		tick := time.NewTicker(memoryCheck)
		defer tick.Stop()
		for {
			use := memoryUse()
			if use.heap > easyHeap && use.collections == last.collections {
				if idle++; idle >= collectAfter { // what has lived for a moment does not stand for what lives
					runtime.GC()
					use = memoryUse()
				}
			} else {
				idle = 0
			}
			last = use
			debug.SetMemoryLimit(use.limit())
			select {
			case <-tick.C:
			case <-stopped:
				debug.SetMemoryLimit(math.MaxInt64)
				return
			}
		}
	}()
	return func() {
		close(stopped)
		<-ended
	}
}

// memoryUsed is what the runtime says of its memory, in bytes.
type memoryUsed struct {
	live        uint64 // what the last collection left
	heap        uint64 // what lives and what is garbage
	beside      uint64 // what is no heap: stacks, above all
	collections uint64
}

func memoryUse() memoryUsed {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 { return samples[i].Value.Uint64() }
	u := memoryUsed{live: value(0), heap: value(1), collections: value(2)}
	heap := u.heap + value(4) + value(5) + value(6)
	u.beside = value(3) - min(value(3), heap)
	return u
}

// limit is what the process may use before it collects more often than gcPercent
// says.
func (u memoryUsed) limit() int64 {
	return int64(max(easyHeap, heapPerLive*float64(u.live))) + int64(u.beside)
}
