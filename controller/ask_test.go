package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A request that was made of one term is not served by the next: whoever asked has been
// told that this is no controller any more.
func TestRequestsOfAnEndedTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		defer l.close()
		l.startController()
		synctest.Wait()
		asked := l.controller.office()
		ended, end := context.WithCancel(l.ctx)
		end()
		past := &office{claim: asked.claim, ctx: ended}
		alterations := make(chan alterationAnswer, 1)
		served := false
		l.controller.inbox.put(func(e *events) {
			e.alterations = append(e.alterations, &alteration{office: past, broker: 1, answers: alterations})
			e.questions = append(e.questions, &question{past, func(*term) error { served = true; return nil }})
		})
		synctest.Wait()
		if served || len(alterations) > 0 {
			t.Errorf("served: question %v, ISR changes %v", served, len(alterations) > 0)
		}
	})
}

// Who has stopped waiting gets its error at once, and nothing is done for it.
func TestAskWithoutPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, nil)
		defer l.close()
		l.startController()
		synctest.Wait()
		l.cut(true) // the loop waits for ZooKeeper from here on
		if err := l.createTopic("t", [][]int32{{1}}, nil); err != nil {
			t.Fatal(err)
		}
		l.controller.inbox.put(func(e *events) { e.topics = true })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(l.ctx, time.Second)
		defer cancel()
		if _, err := l.controller.ControlledShutdown(ctx, 1, AnyBrokerEpoch); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		l.cut(false)
		time.Sleep(2 * time.Second)
		if err := l.createTopic("u", [][]int32{{1}}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l.checkSettled(t.Errorf) // had the shutdown begun, nobody would lead the topics
		if _, err := l.controller.ControlledShutdown(l.ctx, 7, AnyBrokerEpoch); !errors.Is(err, kerr.BrokerNotAvailable) {
			t.Errorf("error %v", err)
		}
	})
}
