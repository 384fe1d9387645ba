package broker

import (
	"errors"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestSizeHeap(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	size := func(percent int, memory memlimit.Provider) (gotPercent int, gotLimit int64, said string) {
		var log strings.Builder
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(math.MaxInt64)
		sizeHeap(slog.New(slog.NewTextHandler(&log, nil)), memory)
		return debug.SetGCPercent(100), debug.SetMemoryLimit(-1), log.String()
	}
	unknown := func() (uint64, error) { return 0, errors.New("no such file") }

	if p, l, said := size(50, unknown); p != 50 || l != math.MaxInt64 || !strings.Contains(said, "GOMEMLIMIT") {
		t.Errorf("GOGC=50 and memory unknown: GOGC %d, limit %d, %q", p, l, said)
	}
	if p, l, said := size(100, memlimit.Limit(1<<30)); p < leastGrowth || p > mostGrowth || l != 768<<20 || said != "" {
		t.Errorf("with a gigabyte: GOGC %d, limit %d, %q", p, l, said)
	}
	t.Setenv("GOMEMLIMIT", "off")
	if _, l, _ := size(100, memlimit.Limit(1<<30)); l != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT=off: limit %d", l)
	}
}

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 300}, {5 << 20, 300}, {12 << 20, 300}, {16 << 20, 200}, {24 << 20, 100}, {1 << 30, 100}} {
		if got := growth(c.live); got != c.want {
			t.Errorf("of %d MiB that live: %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}

func TestAfterCollection(t *testing.T) {
	called := make(chan struct{}, 100)
	afterCollection(func() {
		select {
		case called <- struct{}{}:
		default:
		}
	})
	for range 3 {
		for len(called) > 0 {
			<-called
		}
		runtime.GC()
		select {
		case <-called:
		case <-time.After(20 * time.Second):
			t.Fatal("not called after a collection")
		}
	}
}
