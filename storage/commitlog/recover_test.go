package commitlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// tailLog makes a log of a few batches in one segment.
func tailLog(t testing.TB) (o Options, file string, batches []record.Batch) {
	mem := vfs.NewMem()
	o = testOptions(mem)
	o.Config.SegmentBytes = 1 << 20
	o.Config.IndexIntervalBytes = 0
	l := mustOpen(t, o)
	for i := range 6 {
		b := batchOf(t, 1+i%3, int64(1000+i))
		appendTo(t, l, b, int32(i/2))
		batches = append(batches, bytes.Clone(b))
	}
	must(t, l.SetTopicID([16]byte{1, 2, 3}))
	l.Abandon()
	return o, filepath.Join(o.Dir, "00000000000000000000.log"), batches
}

// open returns the log and what it said.
func openLogged(t testing.TB, o Options) (*Log, string) {
	t.Helper()
	var said strings.Builder
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	return mustOpen(t, o), said.String()
}

func contentOf(t testing.TB, l *Log) []byte {
	t.Helper()
	var all []byte
	for from := l.StartOffset(); from < l.EndOffset(); {
		r, err := l.Read(from, 1<<20, l.EndOffset(), true)
		must(t, err)
		if r.Len == 0 {
			break
		}
		raw, err := r.AppendTo(nil)
		r.Release()
		must(t, err)
		all = append(all, raw...)
		for len(raw) > 0 {
			h, _, rest, err := splitBatch(raw)
			must(t, err)
			from, raw = h.next(), rest
		}
	}
	return all
}

func TestTailCutAtEveryByte(t *testing.T) {
	o, file, batches := tailLog(t)
	base := o.FS.(*vfs.Mem)
	whole := bytes.Join(toSlices(batches), nil)
	for cut := 0; cut <= len(whole); cut++ {
		mem := base.Kill()
		f, err := mem.OpenFile(file, os.O_RDWR, 0)
		must(t, err)
		must(t, f.Truncate(int64(cut)))
		must(t, f.Close())
		o.FS = mem
		l, said := openLogged(t, o)
		want, end := 0, int64(0)
		for _, b := range batches {
			if want+len(b) > cut {
				break
			}
			want, end = want+len(b), b.NextOffset()
		}
		if got := contentOf(t, l); !bytes.Equal(got, whole[:want]) || l.EndOffset() != end {
			t.Fatalf("cut at %d: %d bytes up to offset %d are left, want %d up to %d", cut, len(got), l.EndOffset(), want, end)
		}
		if want < cut {
			for _, part := range []string{"WARN", "file=" + file, fmt.Sprintf("offset=%d", end), fmt.Sprintf("bytes=%d", cut-want)} {
				if !strings.Contains(said, part) {
					t.Fatalf("cut at %d: the log does not say %q but %q", cut, part, said)
				}
			}
		} else if said != "" {
			t.Fatalf("cut at %d, where a batch ends: %q", cut, said)
		}
		appendTo(t, l, batchOf(t, 1, 5000), 3)
		must(t, l.Close(context.Background()))
		checkClosed(t, mem, o.Dir, 0, end+1)
		l.Abandon()
	}
}

func toSlices(batches []record.Batch) (out [][]byte) {
	for _, b := range batches {
		out = append(out, b)
	}
	return out
}

// A flipped bit anywhere under a checksum, or in a size, cuts the log there.
func TestFlippedBits(t *testing.T) {
	o, file, batches := tailLog(t)
	base := o.FS.(*vfs.Mem)
	whole := bytes.Join(toSlices(batches), nil)
	start := 0
	for _, b := range batches {
		for i := 8; i < len(b); i++ {
			if i >= 12 && i < 16 {
				continue // the leader epoch is not covered by the checksum
			}
			mem := base.Kill()
			f, err := mem.OpenFile(file, os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt([]byte{b[i] ^ 1<<(i%8)}, int64(start+i))
			must(t, err)
			must(t, f.Close())
			o.FS = mem
			l := mustOpen(t, o)
			if got := contentOf(t, l); !bytes.Equal(got, whole[:start]) {
				t.Fatalf("bit flipped at %d: %d bytes are left, want %d", start+i, len(got), start)
			}
			l.Abandon()
		}
		start += len(b)
	}
}

// Interrupted replacements by compaction are finished or undone.
func TestInterruptedReplacement(t *testing.T) {
	o, _, batches := tailLog(t)
	base := o.FS.(*vfs.Mem)
	// One segment with all but the third batch, as compaction might leave.
	compacted := bytes.Join(append(toSlices(batches[:2]), toSlices(batches[3:])...), nil)
	name := func(base int64, suffix string) string { return filepath.Join(o.Dir, fileName(base, suffix)) }
	for _, c := range []struct {
		name  string
		files map[string][]byte
		want  []byte
	}{
		{"cleaned is dropped", map[string][]byte{name(0, logSuffix+cleanedSuffix): compacted, name(0, indexSuffix+cleanedSuffix): nil}, bytes.Join(toSlices(batches), nil)},
		{"swap replaces", map[string][]byte{name(0, logSuffix+swapSuffix): compacted, name(0, indexSuffix+swapSuffix): nil, name(0, timeSuffix+swapSuffix): nil}, compacted},
		{"swap beside cleaned is dropped", map[string][]byte{name(0, logSuffix+swapSuffix): compacted, name(0, logSuffix+cleanedSuffix): nil}, bytes.Join(toSlices(batches), nil)},
		{"deleted is dropped", map[string][]byte{name(0, logSuffix+deletedSuffix): compacted, name(77, snapshotSuffix+deletedSuffix): nil}, bytes.Join(toSlices(batches), nil)},
		{"an index without a log is dropped", map[string][]byte{name(77, indexSuffix): nil, name(77, timeSuffix): nil, name(77, txnSuffix): nil}, bytes.Join(toSlices(batches), nil)},
		{"stray snapshots are dropped", map[string][]byte{name(77, snapshotSuffix): nil, name(3, snapshotSuffix): nil}, bytes.Join(toSlices(batches), nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := base.Kill()
			for name, data := range c.files {
				must(t, vfs.WriteFile(mem, name, data, true))
			}
			o.FS = mem
			l := mustOpen(t, o)
			if got := contentOf(t, l); !bytes.Equal(got, c.want) {
				t.Errorf("%d bytes are left, want %d", len(got), len(c.want))
			}
			must(t, l.Close(context.Background()))
			checkClosed(t, mem, o.Dir, 0, batches[len(batches)-1].NextOffset())
		})
	}
}

func TestCleanLogWithDamage(t *testing.T) {
	o, file, batches := tailLog(t)
	l := mustOpen(t, o)
	must(t, l.Close(context.Background()))
	base := o.FS.(*vfs.Mem)
	o.Clean, o.RecoveryPoint = true, l.EndOffset()
	whole := bytes.Join(toSlices(batches), nil)
	index, times := strings.TrimSuffix(file, logSuffix)+indexSuffix, strings.TrimSuffix(file, logSuffix)+timeSuffix
	zeros := make([]byte, 10<<20)
	for name, damage := range map[string]func(mem *vfs.Mem) error{
		"no index":         func(mem *vfs.Mem) error { return mem.Remove(index) },
		"no time index":    func(mem *vfs.Mem) error { return mem.Remove(times) },
		"no leader epochs": func(mem *vfs.Mem) error { return mem.Remove(filepath.Join(o.Dir, epochsFile)) },
		"damaged leader epochs": func(mem *vfs.Mem) error {
			return vfs.WriteFile(mem, filepath.Join(o.Dir, epochsFile), []byte("1"), true)
		},
		"untrimmed, empty index": func(mem *vfs.Mem) error { return vfs.WriteFile(mem, index, zeros, true) },
		"damaged transaction index": func(mem *vfs.Mem) error {
			return vfs.WriteFile(mem, strings.TrimSuffix(file, logSuffix)+txnSuffix, make([]byte, 40), true)
		},
		"damaged snapshot": func(mem *vfs.Mem) error {
			return vfs.WriteFile(mem, filepath.Join(o.Dir, fileName(l.EndOffset(), snapshotSuffix)), []byte{1}, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			mem := base.Kill()
			must(t, damage(mem))
			o.FS = mem
			l := mustOpen(t, o)
			if got := contentOf(t, l); !bytes.Equal(got, whole) {
				t.Errorf("%d bytes are left, want %d", len(got), len(whole))
			}
			if got := l.EpochAt(l.EndOffset() - 1); got != 2 {
				t.Errorf("the last epoch is %d, want 2", got)
			}
			appendTo(t, l, batchOf(t, 1, 9000), 3)
			must(t, l.Close(context.Background()))
			if name != "no time index" { // Kafka leaves it to retention and time, too
				checkClosed(t, mem, o.Dir, 0, l.EndOffset())
			}
		})
	}
}

// What recovery has cut off never comes back, whatever a later power loss leaves:
// the batch behind a damaged one would fit behind the one that takes its place.
func TestCutIsDurable(t *testing.T) {
	o, file, _ := tailLog(t)
	batches := [][]byte{}
	var content []byte
	for i := range int64(3) {
		b := batchOf(t, 1, 1000+i)
		b.SetBaseOffset(i)
		batches = append(batches, b)
		content = append(content, b...)
	}
	content[len(batches[0])+70] ^= 1
	mem := vfs.NewMem()
	must(t, mem.MkdirAll(o.Dir, 0o755))
	must(t, vfs.WriteFile(mem, file, content, true))
	for _, dir := range []string{o.Dir, "/logs", "/"} {
		must(t, mem.SyncDir(dir))
	}
	o.FS = mem
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 1, 2000), 0)
	next := bytes.Clone(contentOf(t, l))
	for seed := range uint64(200) {
		o.FS = mem.Crash(rand.New(rand.NewPCG(seed, 9)))
		after := mustOpen(t, o)
		if got := contentOf(t, after); !bytes.Equal(got, batches[0]) && !bytes.Equal(got, next) {
			t.Fatalf("seed %d: the log ends at %d, with what was cut off", seed, after.EndOffset())
		}
		after.Abandon()
	}
}

// Retention of the whole log leaves an empty one that goes on at the same offset,
// wherever it is interrupted and whatever a power loss leaves.
func TestRetentionOfAllIsDurable(t *testing.T) {
	every := race.Every(t)
	for n := int64(1); ; n++ {
		mem := vfs.NewMem()
		faults := vfs.NewFaults(mem)
		o := testOptions(faults)
		o.Config.RetentionBytes = 0
		l := mustOpen(t, o)
		for _, dir := range []string{"/logs", "/"} {
			must(t, mem.SyncDir(dir))
		}
		for range 5 {
			appendTo(t, l, batchOf(t, 1, 1), 0)
		}
		must(t, l.Sync(5))
		l.AdvanceHighWatermark(5)
		before := faults.Calls()
		faults.Inject(func(c vfs.Call) error {
			if c.N >= before+n {
				return vfs.ErrInjected
			}
			return nil
		})
		_, failed := l.DeleteExpired(time.Now())
		for seed := range uint64(100 / every) {
			o.FS = mem.Crash(rand.New(rand.NewPCG(seed*7919, uint64(n))))
			after := mustOpen(t, o)
			if after.EndOffset() != 5 {
				t.Fatalf("operation %d fails, seed %d: the log ends at %d", n, seed, after.EndOffset())
			}
			after.Abandon()
		}
		if failed == nil {
			if l.StartOffset() != 5 || n < 10 {
				t.Errorf("after %d operations the start is %d", n, l.StartOffset())
			}
			return
		}
	}
}

// A segment below the recovery point that has lost its index gets it back whole, or
// has none: what a kill or a power loss leaves of a recovery is not taken for it.
func TestInterruptedIndexRebuild(t *testing.T) {
	every := int64(race.Every(t))
	base := vfs.NewMem()
	must(t, base.MkdirAll("/logs/t-0", 0o755))
	must(t, base.SyncDir("/"))
	must(t, base.SyncDir("/logs"))
	o := testOptions(base)
	o.Config.SegmentBytes = 60_000
	o.Config.IndexIntervalBytes = 0
	l := mustOpen(t, o)
	for i := int64(0); len(l.list()) < 3; i++ {
		b := record.NewBuilder().SetProducer(1, 0, int32(i)).SetTransactional(true)
		b.Append(1000+i, nil, []byte("v"))
		batch, err := b.Build()
		must(t, err)
		appendTo(t, l, batch, 0)
		if i%50 == 0 {
			_, err = l.AppendAsLeader(record.EndTxnMarker(1, 0, 1, false, 1000+i), 0, record.Coordinator)
			must(t, err)
		}
	}
	must(t, l.Sync(l.EndOffset()))
	o.RecoveryPoint = l.RecoveryPoint()
	if o.RecoveryPoint < l.active().base || l.active().base == 0 {
		t.Fatalf("the recovery point is %d", o.RecoveryPoint)
	}
	l.Abandon()
	suffixes := []string{indexSuffix, timeSuffix, txnSuffix}
	indexes := func(mem *vfs.Mem) (all [3][]byte) {
		for i, suffix := range suffixes {
			all[i], _ = vfs.ReadFile(mem, filepath.Join(o.Dir, fileName(0, suffix)), 1<<20)
		}
		return all
	}
	whole := indexes(base)
	if len(whole[0]) <= blockSize || len(whole[1]) <= blockSize || len(whole[2]) <= 10*txnEntrySize {
		t.Fatalf("the indexes have only %d, %d and %d bytes", len(whole[0]), len(whole[1]), len(whole[2]))
	}
	for lost, damage := range map[string]func(mem *vfs.Mem) error{
		"no index":     func(mem *vfs.Mem) error { return mem.Remove(filepath.Join(o.Dir, fileName(0, indexSuffix))) },
		"torn aborted": func(mem *vfs.Mem) error { return tear(mem, filepath.Join(o.Dir, fileName(0, txnSuffix))) },
		"no index, none aborted": func(mem *vfs.Mem) error {
			return errors.Join(mem.Remove(filepath.Join(o.Dir, fileName(0, indexSuffix))), mem.Remove(filepath.Join(o.Dir, fileName(0, txnSuffix))))
		},
	} {
		for _, clean := range []bool{false, true} {
			interrupted := 0
			for n := int64(1); ; n += every {
				mem := base.Kill()
				must(t, damage(mem))
				must(t, mem.SyncDir(o.Dir))
				faults := vfs.NewFaults(mem)
				o := o
				o.FS, o.Clean = faults, clean
				if clean {
					o.RecoveryPoint = 0 // a clean log needs none
				}
				changes := int64(0)
				faults.Inject(func(c vfs.Call) error {
					if c.Op.Changes() {
						changes++
					}
					if changes == n && c.Op == vfs.OpWrite {
						return &vfs.ShortWrite{N: c.Len / 2, Err: vfs.ErrInjected}
					}
					if changes >= n {
						return vfs.ErrInjected
					}
					return nil
				})
				l, err := Open(o)
				if err == nil {
					l.Abandon()
					break
				}
				interrupted++
				rng := rand.New(rand.NewPCG(uint64(n), 3))
				for how, left := range map[string]*vfs.Mem{"kill": mem.Kill(), "power loss": mem.Crash(rng)} {
					o.FS = left
					l, err := Open(o)
					must(t, err)
					l.Abandon()
					for i, got := range indexes(left) {
						if !bytes.Equal(got, whole[i]) {
							t.Errorf("%s, clean %v: a %s at change %d leaves %d bytes of %s, of %d", lost, clean, how, n, len(got), suffixes[i], len(whole[i]))
						}
					}
				}
			}
			if interrupted < 5 {
				t.Errorf("%s: only %d changes", lost, interrupted)
			}
		}
	}
}

// tear damages the entry in the middle of a transaction index.
func tear(mem *vfs.Mem, name string) error {
	data, err := vfs.ReadFile(mem, name, 1<<20)
	if err != nil {
		return err
	}
	data[len(data)/txnEntrySize/2*txnEntrySize] = 9
	return vfs.WriteFile(mem, name, data, true)
}
