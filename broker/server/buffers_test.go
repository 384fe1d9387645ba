package server

import (
	"runtime"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/race"
)

// Whatever the size of the frames a producer sends, its second one and those
// after it take the memory of the first. A pool that took back what is larger
// than its largest class held on to every body once, and gave out none.
func TestBuffersAreReused(t *testing.T) {
	race.Skip(t, "under the race detector sync.Pool drops what it is given, at random")
	const rounds = 50
	for _, size := range []int{1, chunkSize, chunkSize + 1, 1 << 20, 2 << 20, 6 << 20, 17 << 20} {
		p := new(bufferPool)
		p.put(p.get(size))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			p.put(p.get(size))
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > rounds*uint64(max(size, chunkSize))/4 {
			t.Errorf("%d frames of %d bytes allocated %d bytes", rounds, size, allocated)
		}
	}
	p := new(bufferPool)
	largest := sizeClasses[len(sizeClasses)-1]
	p.put(&buffer{b: make([]byte, largest+1)})
	if got := len(p.get(largest).b); got != largest {
		t.Errorf("a buffer of %d bytes, larger than any class, was kept", got)
	}
}
