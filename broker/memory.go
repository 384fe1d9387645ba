package broker

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// usualHeap is what the heap may always take, garbage included.
	usualHeap = 32 << 20 // bytes
	// heapShare is the part of the memory at hand from which on collecting is worth
	// any effort. The rest is for the page cache, without which a broker is slow.
	heapShare = 0.75
	// lasting is for how long more must live before the limit follows.
	lasting = time.Second
	// breath is what may come on top of what lives until then, bytes. With less the
	// runtime collects while nothing can be collected, and half of the processor goes there.
	breath = 4 << 20
)

// sizeHeap has the heap take no more than what lives there deserves, and than the
// memory at hand allows: that of the container, or of the machine if there is no
// container. With GOMEMLIMIT in the environment, or GOGC, Go's own rules stand. It
// returns the most that the heap may take, math.MaxInt64 if there is no limit.
func sizeHeap(logger *slog.Logger, memory memlimit.Provider) int64 {
	most, err := memlimit.Set(memlimit.WithRatio(heapShare), memlimit.WithProvider(memory))
	if err != nil {
		logger.Warn("the heap has no limit, because the memory at hand cannot be found out; set GOMEMLIMIT", "error", err)
	} else {
		logger.Debug("heap limit", "bytes", most)
	}
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return most
	}
	h := &heap{most: most}
	adapt := func() {
		percent, limit := h.collected(memoryUse(), time.Now())
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
	adapt()
	afterCollection(adapt)
	return most
}

// heap says after each collection how far the heap may grow until the next. One
// goroutine uses it.
//
// It takes both of the runtime's settings. GOGC is relative to what a collection has
// found alive, which may have been alive for that moment only, as what a large
// request takes is; with GOGC alone it would be multiplied before anybody could
// object. The memory limit holds at any moment, but where it is too tight, the
// runtime collects without end, so that it follows what lasts, leaves out what a
// collection cannot change, and is never quite down at what lives.
type heap struct {
	most  int64     // the limit that the memory at hand sets
	room  int64     // that of what has lived for a while, bytes
	since time.Time // when more began to live than that is for; zero: it did not
}

// room is what the heap may take of which so many bytes live. While it is small, garbage
// may be three times as much: that costs a few megabytes and saves most collections.
func room(live int64) int64 {
	return max(live*4/3, min(live*4, usualHeap))
}

// collected returns what GOGC and the memory limit are to be now.
func (h *heap) collected(use memory, now time.Time) (percent int, limit int64) {
	switch wanted := max(room(use.live), usualHeap); {
	case wanted <= h.room:
		h.room, h.since = wanted, time.Time{}
	case h.since.IsZero() && h.room > 0:
		h.since = now
	case now.Sub(h.since) >= lasting:
		h.room, h.since = wanted, time.Time{}
	}
	live := max(use.live, 1)
	return int(room(live)*100/live) - 100, min(h.most, max(h.room, use.live+breath)+use.beside)
}

// memory is what the process uses, in bytes.
type memory struct {
	live int64 // what the last collection has left
	// beside is what the runtime has beside the objects in its heap and what is free
	// there for any object: stacks above all, and gaps between objects that live.
	beside int64
}

func memoryUse() memory {
	samples := [...]metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
	}
	metrics.Read(samples[:])
	use := memory{live: int64(samples[0].Value.Uint64()), beside: int64(samples[1].Value.Uint64())}
	for _, s := range samples[2:] {
		use.beside -= int64(s.Value.Uint64())
	}
	use.beside = max(use.beside, 0)
	return use
}

// afterCollection has f called after each garbage collection, from now on.
func afterCollection(f func()) {
	type sentinel struct{ _ [64]byte } // garbage, and too large to share its place
	runtime.AddCleanup(new(sentinel), func(f func()) {
		afterCollection(f) // first, so that whoever hears of f can count on the next
		f()
	}, f)
}
