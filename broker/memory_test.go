package broker

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct{ live, beside, want uint64 }{
		{0, 0, easyHeap}, {10 << 20, 5 << 20, easyHeap + 5<<20}, {100 << 20, 7, 250<<20 + 7},
	} {
		if got := (memoryUsed{live: c.live, beside: c.beside}).limit(); got != int64(c.want) {
			t.Errorf("%d live, %d beside: %d, want %d", c.live, c.beside, got, c.want)
		}
	}
	runtime.GC()
	if u := memoryUse(); u.live == 0 || u.heap == 0 || u.beside == 0 || u.beside > 1<<30 || u.collections == 0 {
		t.Errorf("%+v", u)
	}
}

func TestGarbageIsBoundedWhileTheBrokerRuns(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()
	boundGarbage()()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("the limit stays at %d", got)
	}
	if got := debug.SetGCPercent(100); got != gcPercent {
		t.Errorf("%d percent", got)
	}
}
