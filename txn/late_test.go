package txn

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// What comes when a leadership has ended finds only what is dead.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, x := newLeader(t)
		p := l.c.led.All()[1]
		pid, epoch := l.producer(x)
		is(t, "add", <-l.add(x, pid, epoch, "t-0"), nil)
		h, err := p.table.Get(x)
		if err != nil {
			t.Fatal(err)
		}
		v := h.id.value
		v.state = PrepareCommit
		l.follows(1, 6)
		nothing := func(what string) {
			t.Helper()
			synctest.Wait()
			l.expectIn("t-0", "")
			if n := l.c.Stats().Marking; n != 0 {
				t.Errorf("%s: %d are being marked", what, n)
			}
			if used := l.c.budget.used.Load(); used != 0 {
				t.Errorf("%s: %d bytes are taken", what, used)
			}
		}

		// A decision whose record was acknowledged just before.
		l.c.markers.add(h, &decision{v})
		nothing("a decision")

		// A load that was over just before.
		loaded := newLoader()
		loaded.ids[x] = v
		loaded.ids[x+"x"] = v
		l.c.serve(p, loaded, time.Now())
		nothing("a load")
		if all := p.table.All(); len(all) != 0 {
			t.Errorf("%d ids are served", len(all))
		}

		// A request that was told to fetch a producer id.
		var got error
		p.spawn(&request{reply: func(r InitResult) { got = r.Err }}, func(*partition, *request) { t.Error("it goes on") })
		is(t, "a request", got, kerr.NotCoordinator)

		// An id that was found just before.
		h.handle(&request{op: opEnd, id: x, producerID: pid, epoch: epoch, reply: func(r InitResult) { got = r.Err }})
		is(t, "a request", got, kerr.NotCoordinator)
		h.marked()
		nothing("an id")

		// A coordinator that has stopped sends nothing.
		l.leads(1, 7)
		synctest.Wait()
		running := l.c.led.All()[1]
		h, err = running.table.Get(x)
		if err != nil {
			t.Fatal(err)
		}
		l.c.markers.stop()
		l.c.markers.add(h, &decision{v})
		if n := l.c.Stats().Marking; n != 0 {
			t.Errorf("%d are being marked after a stop", n)
		}
		if err := l.c.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		nothing("a stop")
	})
}
