package commitlog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// TestReplacementCutShort ends a replacement at each of its operations, by kill -9: the
// next start finds the old segments or the new one.
func TestReplacementCutShort(t *testing.T) {
	var before, after []string
	seen := map[int]int{}
	for n := int64(1); ; n++ {
		mem := vfs.NewMem()
		faults := vfs.NewFaults(mem)
		o := compactedOptions(faults)
		l := newCompacted(t, o)
		before = readAll(t, l, 0, l.EndOffset())
		c := begin(t, l)
		at := faults.Calls() + n
		var image *vfs.Mem
		faults.Inject(func(c vfs.Call) error {
			if c.N == at {
				image = mem.Kill()
			}
			return nil
		})
		must(t, halve(c, l.Sealed()[1:4], time.Now()))
		after = readAll(t, l, 0, l.EndOffset())
		if image == nil {
			break
		}
		o.FS, o.RecoveryPoint = image, l.RecoveryPoint()
		recovered := mustOpen(t, o)
		got := readAll(t, recovered, 0, recovered.EndOffset())
		seen[len(got)]++
		if !slices.Equal(got, before) && !slices.Equal(got, after) {
			t.Fatalf("killed at operation %d: %d records, neither the %d before nor the %d after", n, len(got), len(before), len(after))
		}
		if i := len(recovered.Sealed()); i != len(l.Sealed()) && i != len(l.Sealed())+2 {
			t.Fatalf("killed at operation %d: %d segments", n, i)
		}
		recovered.Abandon()
	}
	if len(seen) != 2 || seen[len(before)] == 0 || seen[len(after)] == 0 {
		t.Errorf("records that were found, and how often: %v", seen)
	}
}

// TestReplacementLosesPower takes the power away at each operation of a replacement, and
// then at one of the start that follows: what is left is the old segments or the new one,
// wherever what was not synced got lost.
func TestReplacementLosesPower(t *testing.T) {
	draws := 10 / race.Every(t) // of what is left, for each operation
	mem := vfs.NewMem()
	faults := vfs.NewFaults(mem)
	o := compactedOptions(faults)
	must(t, faults.MkdirAll(o.Dir, 0o755))
	must(t, faults.SyncDir("/logs"))
	must(t, faults.SyncDir("/"))
	l := newCompacted(t, o)
	before := readAll(t, l, 0, l.EndOffset())
	c := begin(t, l)
	rng := rand.New(rand.NewPCG(1, 1))
	var left []*vfs.Mem
	faults.Inject(func(vfs.Call) error {
		for range draws {
			left = append(left, mem.Crash(rng))
		}
		return nil
	})
	must(t, halve(c, l.Sealed()[1:5], time.Now()))
	faults.Inject(nil)
	after := readAll(t, l, 0, l.EndOffset())
	o.RecoveryPoint = l.RecoveryPoint()

	seen := map[int]int{}
	check := func(disk vfs.FS, when string) {
		t.Helper()
		found := openOn(t, disk, o)
		defer found.Abandon()
		got := readAll(t, found, 0, found.EndOffset())
		if seen[len(got)]++; !slices.Equal(got, before) && !slices.Equal(got, after) {
			t.Fatalf("%s: %d records, neither the %d before nor the %d after:\n%s", when, len(got), len(before), len(after), strings.Join(dirNames(t, disk, o.Dir), "\n"))
		}
	}
	for i, disk := range left {
		when := fmt.Sprintf("power lost at operation %d", 1+i/draws)
		at := 1 + rng.Int64N(60)
		if again := crashedOpening(t, disk.Kill(), o, at, rng); again != nil {
			check(again, fmt.Sprintf("%s, and at operation %d of the start", when, at))
		}
		check(disk, when)
	}
	if seen[len(before)] == 0 || seen[len(after)] == 0 {
		t.Errorf("records that were found, and how often: %v", seen)
	}
}

// openOn opens the log that is on another disk.
func openOn(t *testing.T, disk vfs.FS, o Options) *Log {
	t.Helper()
	o.FS, o.Files = disk, NewFileCache(100)
	return mustOpen(t, o)
}

// crashedOpening returns what is left of a disk when the power goes before an operation
// of opening the log; nil if there are fewer.
func crashedOpening(t *testing.T, disk *vfs.Mem, o Options, operation int64, rng *rand.Rand) (left *vfs.Mem) {
	t.Helper()
	faults := vfs.NewFaults(disk)
	faults.Inject(func(c vfs.Call) error {
		if c.N == operation {
			left = disk.Crash(rng)
		}
		return nil
	})
	openOn(t, faults, o).Abandon()
	return left
}
