package commitlog

import (
	"testing"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// The byte limit cuts no batch where the first one is large.
func TestReadOfLargeBatches(t *testing.T) {
	small, large := len(batchOfSize(t, 1<<10)), len(batchOfSize(t, 40<<10))
	o := testOptions(vfs.NewMem())
	o.Config.SegmentBytes = 1 << 30
	l := mustOpen(t, o)
	sizes := []int{40 << 10, 40 << 10, 40 << 10, 1 << 10, 1 << 10, 40 << 10, 40 << 10, 1 << 10}
	for _, size := range sizes {
		appendTo(t, l, batchOfSize(t, size), 0)
	}
	for _, c := range []struct {
		from       int64
		limit, len int
		why        string
	}{
		{0, large, large, "one is whole"},
		{0, large - 1, large, "the first one is whole in any case"},
		{0, large + 100, large, "the second one would be cut"},
		{0, 3*large - 1, 2 * large, "the third one would be cut"},
		{0, 3 * large, 3 * large, "three are whole"},
		{0, 3*large + 100, 3 * large, "a small one would be cut"},
		{2, 2*large + 2*small - 1, large + 2*small, "what comes before the one that would be cut"},
		{3, large, large, "no look is taken where the first one is small"},
		{5, 1 << 20, 2*large + small, "all is less than the limit"},
	} {
		r, err := l.Read(c.from, int32(c.limit), l.EndOffset(), true)
		must(t, err)
		if r.Len != c.len {
			t.Errorf("from %d, at most %d bytes: %d, want %d: %s", c.from, c.limit, r.Len, c.len, c.why)
		}
		r.Release()
	}
}

// Who goes on where a range was made to end is not looked for anew: of the two looks into
// index and log that a read of large batches takes, one is left.
func TestReadGoesOnAtCut(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewMem())
	o := testOptions(faults)
	o.Config.SegmentBytes = 1 << 30
	l := mustOpen(t, o)
	large := len(batchOfSize(t, 40<<10))
	for range 2 * tailLength { // the tail remembers the last ones
		appendTo(t, l, batchOfSize(t, 40<<10), 0)
	}
	looks := func(from int64) int64 {
		before := faults.Calls()
		r, err := l.Read(from, int32(2*large+100), l.EndOffset(), true)
		must(t, err)
		defer r.Release()
		if r.BaseOffset != from || r.Len != 2*large {
			t.Fatalf("from %d: %d bytes from %d on", from, r.Len, r.BaseOffset)
		}
		return faults.Calls() - before
	}
	first := looks(0)
	for from := int64(2); from < 20; from += 2 {
		if n := looks(from); 2*n > first+1 {
			t.Errorf("from %d: %d file operations, %d for the first", from, n, first)
		}
	}
}

// What is remembered of a cut goes with the batch.
func TestCutIsForgotten(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Config.SegmentBytes = 1 << 30
	l := mustOpen(t, o)
	for range 3 {
		appendTo(t, l, batchOfSize(t, 40<<10), 0)
	}
	r, err := l.Read(0, 45<<10, l.EndOffset(), true)
	must(t, err)
	r.Release()
	if _, known := l.active().cuts.find(1); !known {
		t.Fatal("the second batch, where the range ends, is not remembered")
	}
	must(t, l.TruncateTo(1))
	for range 2 * tailLength {
		appendTo(t, l, batchOfSize(t, 1<<10), 0)
	}
	small := len(batchOfSize(t, 1<<10))
	r, err = l.Read(1, int32(3*small), l.EndOffset(), false)
	must(t, err)
	if r.BaseOffset != 1 || r.Len != 3*small {
		t.Errorf("%d bytes from %d on, want %d from 1 on", r.Len, r.BaseOffset, 3*small)
	}
	r.Release()
}

// A reader that was on its way when the log was cut does not bring back what was forgotten.
func TestCutComesLate(t *testing.T) {
	var c cuts
	cycle := c.begin()
	c.forget()
	c.remember(cycle, place{base: 1, next: 2, position: 100, size: 50})
	if p, known := c.find(1); known {
		t.Errorf("%+v is of what was cut off", p)
	}
	c.remember(c.begin(), place{base: 1, next: 2, position: 100, size: 60})
	if p, _ := c.find(1); p.size != 60 {
		t.Errorf("%+v is not what is there now", p)
	}
	for i := range int64(cutsLength) {
		c.remember(c.begin(), place{base: 10 + 10*i, next: 12 + 10*i})
	}
	for offset, want := range map[int64]bool{1: false, 9: false, 10: true, 11: true, 12: false, 10 * cutsLength: true} {
		if _, known := c.find(offset); known != want {
			t.Errorf("offset %d: known %v", offset, known)
		}
	}
}
