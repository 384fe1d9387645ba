package commitlog

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// evenIndex returns an index with n entries, of the offsets 1001, 1003, 1005…, the last of
// which are in memory only.
func evenIndex(t *testing.T, n int) (*offsetIndex, *vfs.Faults) {
	t.Helper()
	fsys := vfs.NewFaults(vfs.NewMem())
	must(t, fsys.MkdirAll("t-0", 0o755))
	x := &offsetIndex{}
	x.init(newCachedFile(NewFileCache(8), &logDir{fs: fsys, path: "t-0"}, 1000, indexSuffix), 1000, 1<<20)
	must(t, x.create())
	for i := range int64(n) {
		must(t, x.add(1001+2*i, 100*i))
	}
	return x, fsys
}

// A search finds the same wherever the last one has ended.
func TestIndexSearchesFromAnywhere(t *testing.T) {
	const perBlock = blockSize / offsetEntrySize
	for _, n := range []int{0, 1, 2, perBlock / 8, perBlock - 1, perBlock, perBlock + 1, 3*perBlock + 7} {
		x, _ := evenIndex(t, n)
		check := func(n int) {
			t.Helper()
			near := []int{0, 1, n / 2, n - 1, n, n + perBlock, 1 << 20}
			for range 20 {
				near = append(near, rand.IntN(n+1))
			}
			for _, near := range near {
				for k := range n + 1 { // after k entries
					x.near.Store(int32(max(0, near)))
					at, position, err := x.lookup(1000 + 2*int64(k))
					want, from := int64(1000), int64(0)
					if k > 0 {
						want, from = 1001+2*int64(k-1), 100*int64(k-1)
					}
					if at != want || position != from || err != nil {
						t.Fatalf("%d entries, near %d: behind entry %d found %d at %d, %v", n, near, k, at, position, err)
					}
				}
			}
		}
		check(n)
		must(t, x.flush())
		check(n)
		if n > 1 {
			must(t, x.truncate(1001+2*int64(n/2)))
			check(n / 2)
		}
	}
}

// Who reads on and on reads of the index what it needs, and does not search all of it.
func TestIndexSearchGoesOn(t *testing.T) {
	const perBlock = blockSize / offsetEntrySize
	for _, step := range []int{1, perBlock / 2} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			n := 20 * perBlock
			x, fsys := evenIndex(t, n)
			must(t, x.flush())
			reads, searches := 0, 0
			fsys.Inject(func(c vfs.Call) error {
				if c.Op == vfs.OpRead {
					reads++
				}
				return nil
			})
			for k := 0; k < n; k += step {
				_, _, err := x.lookup(1001 + 2*int64(max(0, k-1))) // the batch in which a range has ended
				must(t, err)
				_, err = x.positionAtOrBefore(100 * int64(k+step))
				must(t, err)
				searches += 2
			}
			if reads == 0 || reads > searches {
				t.Errorf("%d searches read %d times", searches, reads)
			}
		})
	}
}
