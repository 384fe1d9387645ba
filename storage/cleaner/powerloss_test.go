package cleaner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/seeds"
)

// TestPowerLoss does random things to a compacted log, takes the power away in the middle
// of any file operation, and looks at what is left: of each key the newest record, and
// nothing that was not appended. Then it goes on with that.
//
// GRACCHUS_POWERLOSS_SEEDS=n tries n seeds; GRACCHUS_POWERLOSS_FROM=seed begins with that
// one.
func TestPowerLoss(t *testing.T) {
	from, n := seeds.PowerLoss(t, 1, 100)
	for seed := from; seed < from+n; seed++ {
		w := newWorld(seed)
		if err := w.run(); err != nil {
			t.Fatalf("seed %d: %v\nwhat was done:\n  %s", seed, err, strings.Join(w.trace, "\n  "))
		}
	}
}

func (w *world) run() error {
	if err := w.openLog(); err != nil {
		return err
	}
	for range 1 + w.rng.IntN(4) {
		w.left = w.rng.IntN(1 << (4 + w.rng.IntN(10)))
		w.odds = rand.New(rand.NewPCG(w.rng.Uint64(), 0))
		for step := 0; w.image == nil && step < 150; step++ {
			if err := w.step(); err != nil && w.image == nil {
				return fmt.Errorf("without a power loss: %w", err)
			}
		}
		if w.image == nil && w.rng.IntN(2) == 0 {
			w.note("kill -9")
			w.image = w.mem.Kill()
		} else if w.image == nil {
			w.image = w.mem.Crash(w.odds)
		}
		w.note("POWER LOSS")
		w.log.Abandon()
		w.mem, w.image = w.image, nil
		// What comes after it may fail, too.
		w.left = w.rng.IntN(200)
		err := w.openLog()
		if w.image != nil {
			w.note("POWER LOSS while recovering")
			w.mem, w.image, w.left = w.image, nil, -1
			err = w.openLog()
		}
		if err != nil {
			return fmt.Errorf("after the power loss: %w", err)
		}
		w.left = -1
		if err := w.adopt(); err != nil {
			return err
		}
	}
	return nil
}

// adopt brings the model into line with the end of the log that has survived.
func (w *world) adopt() error {
	end := w.log.EndOffset()
	if end < w.synced || end > w.end() {
		return fmt.Errorf("the log ends at %d; it was appended to up to %d, and synced up to %d", end, w.end(), w.synced)
	}
	if end < w.log.CleanedOffset() {
		return fmt.Errorf("the log ends at %d and was compacted to %d", end, w.log.CleanedOffset())
	}
	if end > 0 && end < w.end() && w.records[end-1].batch == w.records[end].batch {
		return fmt.Errorf("the log ends at %d, in the middle of a batch", end)
	}
	w.records = w.records[:end]
	w.batches = slices.DeleteFunc(w.batches, func(b batch) bool { return b.LastOffset() >= end })
	for i := range w.passes {
		w.passes[i].end = min(w.passes[i].end, end)
	}
	w.replay()
	return w.check()
}

// replay finds out which transactions are open and which were aborted, and what the
// producers are at, from the batches.
func (w *world) replay() {
	clear(w.next)
	clear(w.open)
	for i := range w.records {
		w.records[i].aborted = false
	}
	for _, b := range w.batches {
		id := b.ProducerID()
		switch first, isOpen := w.open[id]; {
		case id < 0:
		case b.IsControl():
			w.endTxn(id, first, b.BaseOffset(), w.aborts[b.BaseOffset()])
		default:
			w.next[id] = b.LastSequence() + 1
			if b.IsTransactional() && !isOpen {
				w.open[id] = b.BaseOffset()
			}
		}
	}
}
