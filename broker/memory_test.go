package broker

import (
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"

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

	if p, l, said := size(100, memlimit.Limit(1<<30)); p != 300 || l != 768<<20 || said != "" {
		t.Errorf("with a gigabyte: GOGC %d, limit %d, %q", p, l, said)
	}
	if p, l, said := size(50, unknown); p != 50 || l != math.MaxInt64 || !strings.Contains(said, "GOMEMLIMIT") {
		t.Errorf("GOGC=50 and memory unknown: GOGC %d, limit %d, %q", p, l, said)
	}
	t.Setenv("GOMEMLIMIT", "off")
	if _, l, _ := size(100, memlimit.Limit(1<<30)); l != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT=off: limit %d", l)
	}
}
