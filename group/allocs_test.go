//go:build !race

package group

import (
	"testing"
	"testing/synctest"

	"github.com/gracchus-mq/gracchus/internal/memlog"
)

// A heartbeat leaves no garbage: a thousand members send three hundred a second.
func TestHeartbeatDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, memlog.New())
		defer l.stop()
		l.leads(1, 1)
		synctest.Wait()
		j := l.member(groupIn(1))
		r := &HeartbeatRequest{Group: groupIn(1), MemberID: j.MemberID, Generation: j.Generation}
		allocs := testing.AllocsPerRun(100, func() {
			if err := l.c.Heartbeat(r); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 0 {
			t.Errorf("%v allocations", allocs)
		}
	})
}
