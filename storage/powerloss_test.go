package storage

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/seeds"
)

// TestPowerLoss does random things to a Store with several logs, takes the power
// away in the middle of any file operation, and looks at what is left:
//
//   - what Sync has promised is there;
//   - every log is a prefix of what was appended to it, from a start offset that
//     somebody has asked for;
//   - no recovery point, start offset, clean-shutdown marker, index, or producer
//     snapshot claims more than is there.
//
// Then the Store that was recovered goes on, until the next power loss.
//
// GRACCHUS_POWERLOSS_SEEDS=n tries n seeds; GRACCHUS_POWERLOSS_FROM=seed begins
// with that one.
func TestPowerLoss(t *testing.T) {
	from, n := seeds.PowerLoss(t, 1, 300)
	for seed := from; seed < from+n; seed++ {
		w := newWorld(seed)
		if err := w.run(); err != nil {
			t.Fatalf("seed %d: %v\nwhat was done:\n  %s", seed, err, strings.Join(w.trace, "\n  "))
		}
	}
}

// run lives through a few crashes.
func (w *world) run() error {
	if err := w.open(); err != nil {
		return err
	}
	for range 1 + w.rng.IntN(4) {
		w.left = w.rng.IntN(1 << (3 + w.rng.IntN(9)))
		w.odds = rand.New(rand.NewPCG(w.rng.Uint64(), 0))
		for step := 0; w.image == nil && step < 400; step++ {
			w.tighten()
			if err := w.step(); err != nil && w.image == nil && !w.noRoom(err) {
				return fmt.Errorf("without a power loss: %w", err)
			}
			if w.image != nil {
				break
			}
			if failed := w.retireFailed(); len(failed) > 0 {
				return fmt.Errorf("a directory is offline: %w", failed[0].cause())
			}
		}
		if w.image == nil { // it did not come while something was going on
			w.image = w.mem.Crash(w.odds)
		}
		w.trace = append(w.trace, "POWER LOSS")
		if err := w.recover(); err != nil {
			return err
		}
	}
	return nil
}

// recover opens what the power loss has left and compares it with the model.
func (w *world) recover() error {
	if w.scarce {
		w.image.SetCapacity(plenty)
		defer w.tighten()
	}
	lines, err := w.claims()
	if err != nil {
		return err
	}
	if err := w.checkMarkers(); err != nil {
		return err
	}
	w.mem, w.image, w.left = w.image, nil, -1
	if err := w.open(); err != nil {
		return fmt.Errorf("after the power loss: %w", err)
	}
	return w.check(lines)
}
