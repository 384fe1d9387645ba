package commitlog

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// TestModelOnFullDisk is TestModel on a disk that is full, or nearly so, most of
// the time: an append for which there is no room leaves everything as it was;
// what is behind it in memory and not on the disk for want of room gets there, or
// a crash does without it; truncation needs no room; and a log that could not be
// opened or closed can be once there is room.
func TestModelOnFullDisk(t *testing.T) {
	eachSeed(t, 500, 100, func(t *testing.T, seed uint64) {
		m := newModel(t, seed)
		m.scarce = true
		lowered := m.o.OnTruncate
		m.log.onTruncate = func() error {
			// A log that ends below the start offset that is written down counts as lost.
			if m.pointStart <= m.log.EndOffset() && m.rng.IntN(3) == 0 {
				return vfs.ErrNoSpace
			}
			return lowered()
		}
		m.o.OnTruncate = m.log.onTruncate
		for m.refused == 0 {
			m.run(80)
		}
	})
}

// plenty is more than a model writes.
const plenty = 1 << 30

// tighten leaves little room, none, or enough of it.
func (m *model) tighten() {
	if !m.scarce || m.rng.IntN(4) != 0 {
		return
	}
	left := []int64{0, 0, 1, 2, 4, 30, plenty}[m.rng.IntN(7)] * 4096
	m.mem.SetCapacity(m.mem.Used() + left)
	m.note("room for %d", left)
}

// makeRoom is what an operator does.
func (m *model) makeRoom() {
	m.mem.SetCapacity(m.mem.Used() + 1<<m.rng.IntN(20))
	m.note("room is made")
}

// noRoom reports whether err says that the disk is full, which must not have
// stopped the log.
func (m *model) noRoom(err error) bool {
	if !m.scarce || !vfs.NoRoom(err) {
		return false
	}
	m.refused++
	m.note("no room")
	if !errors.Is(err, kerr.KafkaStorageError) {
		m.fatalf("no room is no storage error: %v", err)
	}
	return true
}

// checkTakenBack: of a failed append nothing stays in the file.
func (m *model) checkTakenBack() {
	s := m.log.active()
	info, err := m.mem.Stat(s.file.path())
	m.ok(err)
	if info.Size() != s.size.Load() && !m.o.Config.Preallocate {
		m.fatalf("a failed append leaves %d bytes of file for %d of log", info.Size(), s.size.Load())
	}
}
