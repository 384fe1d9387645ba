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

const mib = 1 << 20

func TestSizeHeap(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}()
	t.Setenv("GOGC", "50") // or the heaps of these cases would follow each other's rules
	size := func(memory memlimit.Provider) (gotLimit int64, said string) {
		var log strings.Builder
		debug.SetMemoryLimit(math.MaxInt64)
		sizeHeap(slog.New(slog.NewTextHandler(&log, nil)), memory)
		return debug.SetMemoryLimit(-1), log.String()
	}
	if l, said := size(func() (uint64, error) { return 0, errors.New("no such file") }); l != math.MaxInt64 || !strings.Contains(said, "GOMEMLIMIT") {
		t.Errorf("memory unknown: limit %d, %q", l, said)
	}
	if l, said := size(memlimit.Limit(1 << 30)); l != 768*mib || said != "" {
		t.Errorf("with a gigabyte: limit %d, %q", l, said)
	}
	if p := debug.SetGCPercent(100); p != 100 {
		t.Errorf("GOGC in the environment: it became %d", p)
	}
	t.Setenv("GOMEMLIMIT", "off")
	if l, _ := size(memlimit.Limit(1 << 30)); l != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT=off: limit %d", l)
	}
	t.Setenv("GOGC", "")
	if l, _ := size(memlimit.Limit(1 << 30)); l != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT=off alone: limit %d", l)
	}
}

func TestRoom(t *testing.T) {
	for _, c := range []struct{ live, want int64 }{{1, 4}, {8, 32}, {16, 32}, {24, 32}, {1000, 1333}} {
		if got := room(c.live*mib) / mib; got != c.want {
			t.Errorf("of %d MiB that live: %d MiB, want %d", c.live, got, c.want)
		}
	}
}

func TestCollected(t *testing.T) {
	const usual = usualHeap / mib
	now := time.Unix(1, 0)
	h := &heap{most: 1000 * mib}
	for i, c := range []struct {
		after        time.Duration
		live, beside int64 // MiB
		percent      int
		limit        int64
	}{
		{0, 5, 3, 300, usual + 3},
		{1, 50, 3, 33, 57},                  // for a moment: room to breathe
		{lasting - 1, 6, 3, 300, usual + 3}, // and no longer
		{1, 50, 3, 33, 57},
		{1, 50, 30, 33, 84}, // what is no heap is at once allowed for
		{lasting, 50, 3, 33, 69},
		{1, 60, 3, 33, 69},
		{lasting, 60, 3, 33, 83},
		{1, 16, 3, 100, usual + 3},
		{1, 900, 0, 33, 904},
		{lasting, 900, 0, 33, 1000}, // what there is
	} {
		now = now.Add(c.after)
		percent, limit := h.collected(memory{c.live * mib, c.beside * mib}, now)
		if percent != c.percent || limit/mib != c.limit {
			t.Errorf("step %d: %d %% and %d MiB, want %d and %d", i, percent, limit/mib, c.percent, c.limit)
		}
	}
}

// Gaps between objects that live are no reason to collect without end: they are
// there after each collection.
func TestMemoryUse(t *testing.T) {
	runtime.GC()
	before := memoryUse()
	if before.live == 0 || before.beside == 0 || before.beside > 1<<30 {
		t.Errorf("%+v", before)
	}
	const size = 1 << 10
	kept := make([]*[size]byte, 64*mib/size)
	for i := range kept {
		kept[i] = new([size]byte)
	}
	for i := range kept {
		if i%8 > 0 {
			kept[i] = nil
		}
	}
	runtime.GC()
	after := memoryUse()
	if lives, gaps := after.live-before.live, after.beside-before.beside; lives > 16*mib || gaps < 32*mib {
		t.Errorf("of 64 MiB, one KiB of eight lives: %d MiB live, and %d MiB beside them", lives/mib, gaps/mib)
	}
	runtime.KeepAlive(kept)
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

// Consumer groups get a part of what the heap may take, and something if that is not
// known.
func TestGroupMemory(t *testing.T) {
	for heap, want := range map[int64]int64{0: 256 << 20, math.MaxInt64: 256 << 20, 400 << 20: 100 << 20} {
		if got := (Env{HeapBytes: heap}).groupMemory(); got != want {
			t.Errorf("with a heap of %d bytes groups get %d, want %d", heap, got, want)
		}
	}
}
