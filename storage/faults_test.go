package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/seeds"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// TestDiskFaults does random things to a Store, lets one file operation fail
// (an I/O error, also in the middle of a write, an fsync that loses what was
// written) and goes on for a while before the power goes too. The directory
// with the fault must be offline from then on and the others in service; and as
// in TestPowerLoss nothing is lost that was promised, neither before nor after
// the fault.
func TestDiskFaults(t *testing.T) {
	from, n := seeds.PowerLoss(t, 1, 300)
	for seed := from; seed < from+n; seed++ {
		w := newWorld(seed)
		if err := w.runWithFault(); err != nil {
			t.Fatalf("seed %d: %v\nwhat was done:\n  %s", seed, err, strings.Join(w.trace, "\n  "))
		}
	}
}

func (w *world) runWithFault() error {
	if err := w.open(); err != nil {
		return err
	}
	var faulty string // the file whose operation failed
	n := 1 + w.rng.IntN(1<<(3+w.rng.IntN(9)))
	w.fault = func(c vfs.Call) error {
		if n--; n != 0 {
			return nil
		}
		faulty, w.faulted, w.lossy = c.Name, true, c.Op == vfs.OpSync
		w.note("FAULT at %s %s", c.Op, c.Name)
		if c.Op == vfs.OpWrite {
			return &vfs.ShortWrite{N: w.odds.IntN(c.Len + 1), Err: vfs.ErrInjected}
		}
		return vfs.ErrInjected
	}
	w.left, w.odds = 1<<30, rand.New(rand.NewPCG(w.rng.Uint64(), 0))
	for step, after := 0, 0; step < 2000 && after < 30; step++ {
		err := w.step()
		if faulty == "" {
			if err != nil {
				return fmt.Errorf("without a fault: %w", err)
			}
			continue
		}
		if w.store == nil || w.store.stopped {
			break // it hit a stop or a start, which may fail for it
		}
		after++
		failed := w.retireFailed()
		if err != nil && (len(failed) == 0 || !errors.Is(err, kerr.KafkaStorageError)) {
			return fmt.Errorf("%d directories have failed, and %w", len(failed), err)
		}
		if len(failed) == len(w.dirs) {
			break
		}
	}
	w.note("POWER LOSS")
	w.image = w.mem.Crash(w.odds)
	w.fault = nil
	return w.recover()
}

// retireFailed does what the failure loop would do, and returns the directories
// that are offline.
func (w *world) retireFailed() (failed []*directory) {
	for {
		select {
		case d := <-w.store.failed:
			for _, h := range w.store.snapshot(nil, d) {
				w.parts[h.tp].lost = true
			}
			w.store.retire(d)
			continue
		default:
		}
		break
	}
	for _, d := range w.store.dirs {
		if !d.online() {
			failed = append(failed, d)
		}
	}
	return failed
}
