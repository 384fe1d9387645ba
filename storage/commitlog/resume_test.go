package commitlog

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// checkpointed makes a log of ten batches with a checkpoint behind the fifth, as a
// kill leaves it, and returns the positions of the batches.
func checkpointed(t testing.TB) (o Options, file string, content []byte, positions []int) {
	o = testOptions(vfs.NewMem())
	o.Config.SegmentBytes = 1 << 20
	o.Config.IndexIntervalBytes = 0
	l := mustOpen(t, o)
	for i := range int64(10) {
		b := batchOf(t, 1, 1000+i)
		appendTo(t, l, b, 0)
		positions = append(positions, len(content))
		content = append(content, b...)
		if i == 4 {
			must(t, l.Checkpoint())
		}
	}
	if l.RecoveryPoint() != 5 || l.Unchecked() != int64(len(content)-positions[5]) {
		t.Fatalf("recovery point %d, %d bytes unchecked", l.RecoveryPoint(), l.Unchecked())
	}
	o.RecoveryPoint = 5
	l.Abandon()
	return o, filepath.Join(o.Dir, fileName(0, logSuffix)), content, positions
}

// Recovery reads nothing that was durable at a checkpoint: damage there goes
// unnoticed, damage behind it does not.
func TestRecoveryBeginsAtTheCheckpoint(t *testing.T) {
	o, file, content, positions := checkpointed(t)
	base := o.FS.(*vfs.Mem)
	for i := range positions {
		mem := base.Kill()
		damaged := bytes.Clone(content)
		damaged[positions[i]+64] ^= 1
		must(t, vfs.WriteFile(mem, file, damaged, true))
		o.FS = mem
		l := mustOpen(t, o)
		want := int64(10)
		if i >= 5 {
			want = int64(i)
		}
		if l.EndOffset() != want {
			t.Errorf("batch %d is damaged: the log ends at %d, want %d", i, l.EndOffset(), want)
		}
		if i < 5 {
			must(t, l.Close(context.Background()))
			damaged[positions[i]+64] ^= 1
			must(t, vfs.WriteFile(mem, file, damaged, true))
			checkClosed(t, mem, o.Dir, 0, want)
		}
	}
}

// The producer snapshot of the checkpoint is there for a second recovery, too.
func TestRecoveryKeepsTheSnapshotOfTheCheckpoint(t *testing.T) {
	o, _, _, _ := checkpointed(t)
	for range 2 {
		mustOpen(t, o).Abandon()
		if _, err := o.FS.Stat(filepath.Join(o.Dir, fileName(5, snapshotSuffix))); err != nil {
			t.Error(err)
		}
	}
}

// Indexes that cannot be relied on are made anew, from all batches.
func TestRecoveryWithoutIndexesBelowTheCheckpoint(t *testing.T) {
	o, file, content, positions := checkpointed(t)
	base := o.FS.(*vfs.Mem)
	index, times := strings.TrimSuffix(file, logSuffix)+indexSuffix, strings.TrimSuffix(file, logSuffix)+timeSuffix
	for name, damage := range map[string]func(mem *vfs.Mem) error{
		"no index":          func(mem *vfs.Mem) error { return mem.Remove(index) },
		"empty index":       func(mem *vfs.Mem) error { return vfs.WriteFile(mem, index, nil, true) },
		"index of zeros":    func(mem *vfs.Mem) error { return vfs.WriteFile(mem, index, make([]byte, 800), true) },
		"empty time index":  func(mem *vfs.Mem) error { return vfs.WriteFile(mem, times, nil, true) },
		"index of others":   func(mem *vfs.Mem) error { return vfs.WriteFile(mem, index, []byte{0, 0, 0, 2, 0, 0, 0, 61}, true) },
		"index beyond file": func(mem *vfs.Mem) error { return vfs.WriteFile(mem, index, []byte{0, 0, 0, 2, 0, 9, 0, 61}, true) },
		"entry of another": func(mem *vfs.Mem) error {
			return vfs.WriteFile(mem, index, []byte{0, 0, 0, 2, 0, 0, 0, byte(positions[1])}, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			mem := base.Kill()
			must(t, damage(mem))
			damaged := bytes.Clone(content)
			damaged[positions[3]+64] ^= 1
			must(t, vfs.WriteFile(mem, file, damaged, true))
			o.FS = mem
			l := mustOpen(t, o)
			if l.EndOffset() != 3 {
				t.Errorf("the log ends at %d: the damage below the recovery point was not seen", l.EndOffset())
			}
			must(t, l.Close(context.Background()))
			checkClosed(t, mem, o.Dir, 0, 3)
		})
	}
}

// A log keeps one producer snapshot for its checkpoints, however many there were.
func TestCheckpointsLeaveOneSnapshot(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	for i := range int64(5) {
		appendTo(t, l, batchOf(t, 1, 1000+i), 0)
		must(t, l.Checkpoint())
		must(t, l.Checkpoint()) // nothing new
	}
	var snapshots []string
	for _, name := range dirNames(t, o.FS, o.Dir) {
		if strings.HasSuffix(name, snapshotSuffix) {
			snapshots = append(snapshots, name)
		}
	}
	if len(snapshots) != 1 || snapshots[0] != fileName(5, snapshotSuffix) {
		t.Errorf("snapshots %v", snapshots)
	}
}

// BenchmarkRecoverCheckpointed is BenchmarkRecover with a checkpoint a megabyte
// before the end.
func BenchmarkRecoverCheckpointed(b *testing.B) {
	l := benchLog(b, nil)
	batch := batchOfSize(b, 16<<10)
	for i := range 4096 {
		appendTo(b, l, batch, 0)
		if i == 4096-64 {
			must(b, l.Checkpoint())
		}
	}
	l.Abandon()
	o := testOptions(vfs.OS())
	o.Dir, o.Config, o.RecoveryPoint = l.Dir(), l.Config(), l.RecoveryPoint()
	b.SetBytes(l.Size())
	for b.Loop() {
		l, err := Open(o)
		must(b, err)
		l.Abandon()
	}
}

// A snapshot at the end of a log that was cut below its recovery point can be torn,
// too: on a full disk the recovery point may not have been lowered yet.
func TestTornSnapshotBelowTheRecoveryPoint(t *testing.T) {
	o, file, content, positions := checkpointed(t)
	must(t, vfs.WriteFile(o.FS, file, content[:positions[3]], true))
	must(t, o.FS.Remove(filepath.Join(o.Dir, fileName(5, snapshotSuffix))))
	must(t, vfs.WriteFile(o.FS, filepath.Join(o.Dir, fileName(3, snapshotSuffix)), []byte{0, 1, 0, 0}, true))
	l := mustOpen(t, o)
	must(t, l.Close(context.Background()))
	checkClosed(t, o.FS, o.Dir, 0, 3)
}
