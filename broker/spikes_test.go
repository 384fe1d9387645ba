package broker

import (
	"runtime"
	"testing"
	"time"
)

func TestSpikes(t *testing.T) {
	const mib = 1 << 20
	now := time.Unix(1, 0)
	s := &spikes{most: 1000 * mib, limit: 1000 * mib}
	for i, c := range []struct {
		after        time.Duration
		live, beside uint64 // MiB
		want         int64
	}{
		{0, 5, 3, usualHeap/mib + 3},
		{1, 50, 3, usualHeap/mib + 3},          // for a moment
		{lasting - 1, 6, 3, usualHeap/mib + 3}, // and no longer
		{1, 50, 3, usualHeap/mib + 3},
		{lasting, 50, 3, 103},
		{1, 20, 3, usualHeap/mib + 3},
		{1, 900, 0, usualHeap/mib + 3},
		{lasting, 900, 0, 1000}, // what there is
	} {
		now = now.Add(c.after)
		if got := s.adapt(c.live*mib, c.beside*mib, now) / mib; got != c.want {
			t.Errorf("step %d: %d MiB, want %d", i, got, c.want)
		}
	}
	runtime.GC()
	if live, beside := memoryUse(); live == 0 || beside == 0 || beside > 1<<30 {
		t.Errorf("%d live, %d beside", live, beside)
	}
}
