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
