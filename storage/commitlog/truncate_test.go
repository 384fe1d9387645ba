package commitlog

import (
	"testing"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// A leader that was replaced before it wrote anything has an epoch that no other
// broker need know: as long as it is there, followers ask for it in vain.
func TestTruncateDropsEpochWithoutRecords(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 3, 1000), 4)
	must(t, l.AssignLeaderEpoch(7))
	must(t, l.TruncateTo(l.EndOffset()))
	if epoch, ok := l.LatestEpoch(); !ok || epoch != 4 || l.EndOffset() != 3 {
		t.Errorf("the newest epoch is %d, the log ends at %d", epoch, l.EndOffset())
	}
	l = reopen(t, l, o)
	if epoch, _ := l.LatestEpoch(); epoch != 4 {
		t.Errorf("after reopening the newest epoch is %d", epoch)
	}
}

func TestLostBelow(t *testing.T) {
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 3, 1000), 0)
	must(t, l.Close(t.Context()))
	o.HighWatermark = 3
	if l = mustOpen(t, o); l.LostBelow() != 0 {
		t.Errorf("with all records: %d", l.LostBelow())
	}
	l.Abandon()
	o.HighWatermark = 5
	l = mustOpen(t, o)
	if l.LostBelow() != 5 || l.HighWatermark() != 3 {
		t.Errorf("lost below %d, high watermark %d", l.LostBelow(), l.HighWatermark())
	}
	l.Complete()
	if l.LostBelow() != 0 {
		t.Errorf("after Complete: %d", l.LostBelow())
	}
}
