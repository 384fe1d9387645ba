package storage

import (
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/seeds"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// TestFullDisk is TestPowerLoss on a disk that has little room, or none, most of
// the time, with kills and power losses in between. No directory goes offline for
// it, and nothing is lost or half there: what found no room was taken back.
func TestFullDisk(t *testing.T) {
	from, n := seeds.PowerLoss(t, 1, 500)
	refused := 0
	for seed := from; seed < from+n; seed++ {
		w := newWorld(seed)
		w.scarce = true
		w.reserve = []int64{0, 16 << 10, 1 << 20}[w.rng.IntN(3)]
		err := w.run()
		if err != nil {
			t.Fatalf("seed %d: %v\nwhat was done:\n  %s", seed, err, strings.Join(w.trace, "\n  "))
		}
		refused += w.refused
	}
	if refused < int(n) {
		t.Errorf("in %d runs there was no room %d times", n, refused)
	}
}

// plenty is more than a world writes.
const plenty = 1 << 40

// tighten leaves little room, none, or enough of it.
func (w *world) tighten() {
	if !w.scarce || w.rng.IntN(8) != 0 {
		return
	}
	left := []int64{0, 0, 1, 2, 4, 30, 1000, plenty / 4096}[w.rng.IntN(8)] * 4096
	w.mem.SetCapacity(w.mem.Used() + left)
	w.note("room for %d", left)
}

// noRoom reports whether err says that the disk is full.
func (w *world) noRoom(err error) bool {
	if !w.scarce || !vfs.NoRoom(err) {
		return false
	}
	w.refused++
	w.note("no room: %v", err)
	return true
}
