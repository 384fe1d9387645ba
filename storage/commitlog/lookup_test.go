package commitlog

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Offsets 0, 2 and 4 begin a segment, written at second 1, 2 and 3. Times of
// records do not matter.
func TestOffsetsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewMem())
		o := testOptions(faults)
		o.Config.SegmentBytes = 200
		l, err := Open(o)
		must(t, err)
		defer func() { must(t, l.Close(context.Background())) }()
		check := func(ts int64, limit int, want ...int64) {
			t.Helper()
			if got, err := l.OffsetsBefore(ts, limit); err != nil || !slices.Equal(got, want) {
				t.Errorf("before %d, at most %d: %v, %v; want %v", ts, limit, got, err, want)
			}
		}
		check(math.MaxInt64, 10, 0) // only a segment's base: there is nothing in it
		begin := time.Now().UnixMilli()
		for range 3 {
			time.Sleep(time.Second)
			appendTo(t, l, batchOf(t, 2, 1), 0)
		}
		time.Sleep(time.Second)
		if n := len(l.list()); n != 3 {
			t.Fatalf("%d segments", n)
		}
		for _, tt := range []struct {
			ms   int64
			want []int64
		}{
			{math.MaxInt64 - begin, []int64{6, 4, 2, 0}}, {4000, []int64{6, 4, 2, 0}}, {3999, []int64{4, 2, 0}}, {3000, []int64{4, 2, 0}},
			{2999, []int64{2, 0}}, {2000, []int64{2, 0}}, {1000, []int64{0}}, {999, nil}, {-begin, nil},
		} {
			for limit := range 6 {
				check(begin+tt.ms, limit, tt.want[:min(limit, len(tt.want))]...)
			}
		}
		// What was reached stays so when the oldest file is touched.
		f, err := faults.OpenFile(o.Dir+"/"+fileName(0, logSuffix), os.O_RDWR, 0)
		must(t, err)
		must(t, f.Truncate(l.list()[0].size.Load()))
		must(t, f.Close())
		check(begin+3000, 10, 4, 2, 0)
		check(begin+1000, 10)

		l.AdvanceHighWatermark(6)
		must(t, l.AdvanceStartOffset(3))
		check(math.MaxInt64, 10, 6, 4, 3, 3)
		_, err = l.DeleteExpired(time.Now())
		must(t, err)
		check(math.MaxInt64, 10, 6, 4, 3)

		// What retention takes at this moment is as old as can be.
		faults.Inject(vfs.FailOp(vfs.OpStat, fileName(2, logSuffix), fs.ErrNotExist))
		check(0, 10, 3)
		faults.Inject(vfs.FailOp(vfs.OpStat, fileName(2, logSuffix), vfs.ErrInjected))
		if got, err := l.OffsetsBefore(0, 10); got != nil || !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%v, %v", got, err)
		}
		faults.Inject(nil)
	})
}
