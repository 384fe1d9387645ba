package api

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestProduceWithoutAcknowledgement(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	c := w.dial(w.brokers)
	defer c.Close()
	w.send(c, produceOne("t", 0, 0, batch(2, 1)), 9)
	req := produceOne("t", 0, 1, batch(2, 1)) // its reply is the first one
	w.send(c, req, 9)
	if p := w.receive(c, req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.BaseOffset != 2 {
		t.Errorf("%+v", p)
	}
	w.send(c, produceOne("no", 0, 0, batch(2, 1)), 9)
	w.expectClosed(c)
}

// With a second replica in sync, acks=all waits for it: here until it leaves the
// ISR, until time is up, or until another broker leads. Produces behind it are
// appended meanwhile, and answered after it.
func TestProduceWaitsForReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lead("t", 1, 0, 1, 2)
		c := w.dial(w.brokers)
		defer c.Close()
		begin := time.Now()
		all, leader := produceOne("t", 0, -1, batch(2, 1)), produceOne("t", 0, 1, batch(2, 1))
		w.send(c, all, 9)
		w.send(c, leader, 9)
		time.Sleep(300 * time.Millisecond)
		w.lead("t", 1, 1, 1) // the other one has left the ISR
		p := w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if d := time.Since(begin); d != 300*time.Millisecond || p.ErrorCode != 0 || p.BaseOffset != 0 {
			t.Errorf("after %v: %+v", d, p)
		}
		p = w.receive(c, leader).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.BaseOffset != 2 {
			t.Errorf("%+v", p)
		}
		// Alone again, nothing waits.
		w.send(c, all, 9)
		if p = w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 4 {
			t.Errorf("%+v", p)
		}
		// Time is up: the records are in the log, and that is what is told.
		w.lead("t", 1, 2, 1, 2)
		begin = time.Now()
		w.send(c, all, 9)
		w.send(c, fetchOne("t", 0, 0), 9) // held back until the produce is answered
		p = w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if d := time.Since(begin); d != time.Second || p.ErrorCode != kerr.RequestTimedOut.Code || p.BaseOffset != 6 {
			t.Errorf("after %v: %+v", d, p)
		}
		req := fetchOne("t", 0, 0)
		req.SetVersion(9)
		w.receive(c, req)
		// Another broker leads now: nobody knows whether the records will stay.
		w.send(c, all, 9)
		synctest.Wait()
		w.assign("t", 1, 2, 3, []int32{1, 2})
		p = w.receive(c, all).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if p.ErrorCode != kerr.NotLeaderForPartition.Code || p.BaseOffset != 8 {
			t.Errorf("%+v", p)
		}
	})
}
