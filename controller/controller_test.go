package controller

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestAllocateProducerIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		defer l.close()
		l.startController()
		l.brokerUp(2)
		synctest.Wait()
		allocate := func(id int32, epoch int64) (int64, error) {
			first, length, err := l.controller.AllocateProducerIDs(l.ctx, id, epoch)
			if err == nil && length != 1000 {
				t.Errorf("a block of %d", length)
			}
			return first, err
		}
		epoch := l.fakes.epochOf
		for i, id := range []int32{1, 2, 1} {
			if first, err := allocate(id, epoch(id)); err != nil || first != int64(1000*i) {
				t.Errorf("block %d begins at %d, error %v", i, first, err)
			}
		}
		if _, err := allocate(3, 1); !errors.Is(err, kerr.BrokerIDNotRegistered) {
			t.Errorf("a broker that is not there: %v", err)
		}
		for _, wrong := range []int64{epoch(2) - 1, epoch(2) + 1} {
			if _, err := allocate(2, wrong); !errors.Is(err, kerr.StaleBrokerEpoch) {
				t.Errorf("a wrong broker epoch: %v", err)
			}
		}
		// The session ends in this moment: whoever asks before anybody has reacted is
		// told that this is no controller any more.
		l.controller.OnSession(session.Event{Kind: session.Lapsed, Session: l.self.SessionID()})
		if _, err := allocate(2, epoch(2)); !errors.Is(err, kerr.NotController) {
			t.Errorf("after the session lapsed: %v", err)
		}
		if _, active := l.controller.Active(); active {
			t.Error("still active after the session lapsed")
		}
	})
}

func TestStopGivesThePlaceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		defer l.close()
		l.startController()
		if err := l.controller.Stop(l.ctx); err != nil {
			t.Fatal(err)
		}
		if _, taken, err := l.admin.Controller(l.ctx, nil); taken || err != nil {
			t.Errorf("the place is taken: %v, error %v", taken, err)
		}
		if _, active := l.controller.Active(); active {
			t.Error("still active")
		}
	})
}

// The session in which the broker has registered ends before the controller starts:
// the broker registers in the next one, as at any other time.
func TestStartInAnotherSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		defer l.close()
		l.beforeStart = func() {
			l.endSelf()
			time.Sleep(time.Second)
		}
		l.startController()
		synctest.Wait()
		live, _, err := l.admin.Brokers(l.ctx, nil, nil)
		if err != nil || len(live) != 1 || live[0].ID != 1 {
			t.Errorf("registered: %+v, error %v", live, err)
		}
		if _, active := l.controller.Active(); !active {
			t.Error("the only broker is not the controller")
		}
	})
}
