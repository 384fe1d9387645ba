package replica

import (
	"fmt"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// followerApply returns a function that applies one response with n batches of a
// size to a log on the disk, as a fetcher does.
func followerApply(tb testing.TB, n, size int) (apply func(), bytes int) {
	w := newWorldOn(tb, vfs.OS(), tb.TempDir())
	p, r := w.follows(0)
	b := record.NewBuilder()
	b.Append(1000, nil, make([]byte, size))
	one, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	var batches []byte
	for range n {
		batches = append(batches, one...)
	}
	next := int64(0)
	return func() {
		for rest := batches; len(rest) > 0; rest = rest[len(one):] {
			record.Batch(rest).SetBaseOffset(next)
			next++
		}
		if err := p.applyFetched(r, next-int64(n), fetchedData{records: batches, highWatermark: next}); err != nil {
			tb.Fatal(err)
		}
		if next%(1<<18) == 0 { // not to fill the disk
			if err := r.log.TruncateFullyAndStartAt(next); err != nil {
				tb.Fatal(err)
			}
		}
	}, len(batches)
}

func BenchmarkFollowerApply(b *testing.B) {
	for _, c := range []struct{ batches, size int }{{1, 100}, {64, 100}, {1, 1<<20 - 200}, {64, 16 << 10}} {
		b.Run(fmt.Sprintf("%dx%d", c.batches, c.size), func(b *testing.B) {
			apply, bytes := followerApply(b, c.batches, c.size)
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				apply()
			}
		})
	}
}

// What a follower allocates does not depend on how many batches there are, and is
// nothing but for a new segment now and then.
func TestFollowerApplyAllocations(t *testing.T) {
	for _, n := range []int{1, 64} {
		apply, _ := followerApply(t, n, 100)
		apply()
		if allocs := testing.AllocsPerRun(100, apply); allocs > 0 {
			t.Errorf("%d batches: %.0f allocations", n, allocs)
		}
	}
}
