package broker

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// usualHeap is what the heap may always take.
	usualHeap = 40 << 20 // bytes
	// lasting is for how long more must live before it counts.
	lasting = time.Second
)

// spikes keeps what lives for a moment only, as what a large request takes does, from
// letting the heap grow to a multiple of it: the limit of memory, beyond which the
// runtime collects as often as it takes, follows what lives at once when that is less
// and after a while when it is more. One goroutine uses it.
type spikes struct {
	most  int64     // the limit that the memory at hand sets
	limit int64     // bytes
	since time.Time // when more began to live than the limit is for; zero: it did not
}

// limitSpikes begins to do so. GOGC and GOMEMLIMIT in the environment win.
func limitSpikes() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	s := &spikes{most: debug.SetMemoryLimit(-1)}
	s.limit = s.most
	adapt := func() {
		live, beside := memoryUse()
		debug.SetMemoryLimit(s.adapt(live, beside, time.Now()))
	}
	adapt()
	afterCollection(adapt)
}

// adapt returns the limit, given what the last collection left and what is no heap.
func (s *spikes) adapt(live, beside uint64, now time.Time) int64 {
	wanted := min(s.most, int64(max(usualHeap, 2*live)+beside))
	switch {
	case wanted <= s.limit:
		s.limit, s.since = wanted, time.Time{}
	case s.since.IsZero():
		s.since = now
	case now.Sub(s.since) >= lasting:
		s.limit, s.since = wanted, time.Time{}
	}
	return s.limit
}

// memoryUse returns what the last collection has left, and what the runtime uses
// beside the heap: stacks, above all.
func memoryUse() (live, beside uint64) {
	samples := [...]metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples[:])
	live, beside = samples[0].Value.Uint64(), samples[1].Value.Uint64()
	for _, s := range samples[2:] {
		beside -= min(beside, s.Value.Uint64())
	}
	return live, beside
}
