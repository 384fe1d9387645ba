package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
)

// askedController answers AlterPartition with what answer returns.
type askedController struct {
	mu       sync.Mutex
	requests []*kmsg.AlterPartitionRequest
	times    []time.Time
	answer   func(ctx context.Context, n int, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error)
}

func (c *askedController) SendToController(ctx context.Context, _ int32, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	q := req.(*kmsg.AlterPartitionRequest)
	c.requests, c.times = append(c.requests, q), append(c.times, time.Now())
	n := len(c.requests)
	c.mu.Unlock()
	resp, err := c.answer(ctx, n, q)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// answerWith says the same of every partition of a request: a code, or success
// with the ISR that was asked for and the next version.
func answerWith(req *kmsg.AlterPartitionRequest, code int16) *kmsg.AlterPartitionResponse {
	resp := kmsg.NewPtrAlterPartitionResponse()
	for _, t := range req.Topics {
		out := kmsg.AlterPartitionResponseTopic{TopidID: t.TopicID}
		if protocol.TopicID(t.TopicID).IsZero() {
			out.Topic = t.Topic
		}
		for _, p := range t.Partitions {
			a := kmsg.AlterPartitionResponseTopicPartition{Partition: p.Partition, ErrorCode: code}
			if code == 0 {
				a.LeaderID, a.LeaderEpoch, a.ISR, a.PartitionEpoch = self, p.LeaderEpoch, p.NewISR, p.PartitionEpoch+1
			}
			out.Partitions = append(out.Partitions, a)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// asks gives the world a controller that can be asked.
func (w *world) asks(c *askedController) {
	a := newAlters(self, func() int64 { return 70 }, c, w.view, slog.New(slog.DiscardHandler))
	w.replicas.shared.alters = a
	a.start()
	w.t.Cleanup(a.stop)
}

func propose(p *Partition, isr ...int32) {
	p.proposeISR(func(*role) []int32 { return isr })
}

// What becomes of a proposal with each answer of the controller.
func TestAnswersToProposals(t *testing.T) {
	for _, c := range []struct {
		err      error
		requests int     // within a second
		isr      []int32 // then
		pending  bool
	}{
		{nil, 1, []int32{1}, false},
		{kerr.IneligibleReplica, 1, []int32{1, 2}, false},
		{kerr.OperationNotAttempted, 1, []int32{1, 2}, false},
		{kerr.UnknownTopicOrPartition, 1, []int32{1, 2}, true},
		{kerr.InvalidRequest, 1, []int32{1, 2}, true},
		{kerr.FencedLeaderEpoch, 1, []int32{1, 2}, true},
		{kerr.InvalidUpdateVersion, 1, []int32{1, 2}, true},
		{kerr.UnknownTopicID, 1, []int32{1, 2}, true},
		{kerr.StaleBrokerEpoch, 20, []int32{1, 2}, true},
		{kerr.UnknownServerError, 20, []int32{1, 2}, true},
	} {
		name := "decided"
		var code int16
		if c.err != nil {
			name, code = c.err.(*kerr.Error).Message, c.err.(*kerr.Error).Code
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				controller := &askedController{answer: func(_ context.Context, _ int, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
					return answerWith(req, code), nil
				}}
				w.asks(controller)
				p := w.leads(t0, 4, 1, 2)
				propose(p, 1)
				time.Sleep(time.Second - time.Millisecond)
				synctest.Wait()
				r := p.role.Load()
				if len(controller.requests) != c.requests || !slices.Equal(r.isr, c.isr) || (r.pending != nil) != c.pending {
					t.Errorf("%d requests, ISR %v, pending %v", len(controller.requests), r.isr, r.pending)
				}
				if c.err == nil && r.partitionEpoch != 5 {
					t.Errorf("version %d", r.partitionEpoch)
				}
				q := controller.requests[0]
				if asked := q.Topics[0].Partitions[0]; q.BrokerID != self || q.BrokerEpoch != 70 || asked.LeaderEpoch != 4 || asked.PartitionEpoch != 4 ||
					len(asked.NewEpochISR) != 1 || asked.NewEpochISR[0].BrokerEpoch != 70 {
					t.Errorf("request %+v", q)
				}
				w.leads(t0, 5, 1, 2)
				if r := p.role.Load(); r.pending != nil {
					t.Errorf("pending in the next epoch: %v", r.pending)
				}
			})
		})
	}
}

// There is one request at a time, which takes along all that has been proposed
// meanwhile; topics without an id need another version.
func TestProposalsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		controller := &askedController{answer: func(_ context.Context, _ int, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
			time.Sleep(time.Second)
			return answerWith(req, 0), nil
		}}
		w.asks(controller)
		var all []*Partition
		for i := range int32(4) {
			c := RoleChange{Partition: protocol.TopicPartition{Topic: "t", Partition: i}, TopicID: tID, Leader: self, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, IsNew: true}
			if i == 3 {
				c.Partition.Topic, c.TopicID = "without id", protocol.TopicID{}
			}
			w.apply(c)
			p, err := w.replicas.Partition(c.Partition)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		propose(all[0], 1)
		time.Sleep(100 * time.Millisecond)
		for _, p := range all {
			propose(p, 1)
			propose(p, 1, 2) // too late
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(controller.requests); n != 3 {
			t.Fatalf("%d requests", n)
		}
		if q := controller.requests[1]; len(q.Topics) != 1 || len(q.Topics[0].Partitions) != 2 || q.Version != 0 {
			t.Errorf("second request: %+v", q)
		}
		if q := controller.requests[2]; q.Version != lastAlterWithNames || q.Topics[0].Topic != "without id" {
			t.Errorf("third request: %+v", q)
		}
		for _, p := range all {
			if r := p.role.Load(); !slices.Equal(r.isr, []int32{1}) || r.pending != nil {
				t.Errorf("%v: ISR %v, pending %v", p.tp, r.isr, r.pending)
			}
		}
	})
}

// An answer that comes when the role has changed is about the past.
func TestLateAnswerIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.asks(&askedController{answer: func(_ context.Context, _ int, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
			time.Sleep(time.Second)
			return answerWith(req, 0), nil
		}})
		p := w.leads(t0, 4, 1, 2)
		propose(p, 1)
		time.Sleep(500 * time.Millisecond)
		w.leads(t0, 5, 1, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		if r := p.role.Load(); !slices.Equal(r.isr, []int32{1, 2}) || r.partitionEpoch != 5 {
			t.Errorf("ISR %v, version %d", r.isr, r.partitionEpoch)
		}
	})
}

// A controller that does not answer is not waited for when there is another.
func TestNextControllerIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		controller := &askedController{answer: func(ctx context.Context, n int, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
			if n == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return answerWith(req, 0), nil
		}}
		w.asks(controller)
		p := w.leads(t0, 4, 1, 2)
		propose(p, 1)
		time.Sleep(time.Second)
		w.view.Apply(cluster.Update{ControllerID: 2, Brokers: []cluster.Broker{{ID: self}, {ID: 2}}})
		time.Sleep(time.Second)
		synctest.Wait()
		if r := p.role.Load(); !slices.Equal(r.isr, []int32{1}) {
			t.Errorf("ISR %v after %d requests", r.isr, len(controller.requests))
		}
	})
}

// Members that a request adds count for the high watermark before the answer comes,
// and members that it removes still do.
func TestPendingMembersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lost := errors.New("the answer is lost")
		w.asks(&askedController{answer: func(context.Context, int, *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
			return nil, lost
		}})
		w.apply(RoleChange{Partition: t0, TopicID: tID, Leader: self, Replicas: []int32{1, 2}, ISR: []int32{1}, IsNew: true})
		p, err := w.replicas.Partition(t0)
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, p, fetchOf(2, 0, -1)) // it may join, which is asked for
		if r := p.role.Load(); !slices.Equal(r.pending, []int32{1, 2}) {
			t.Fatalf("pending %v", r.pending)
		}
		mustAppend(t, p, produce, batch(t, 1000, 4))
		time.Sleep(time.Minute) // broker 2 lags
		synctest.Wait()
		p.localMoved()
		log, _ := p.Log()
		if hw := log.HighWatermark(); hw != 0 {
			t.Errorf("high watermark %d", hw)
		}
	})
}

// A follower that comes while another proposal is on its way joins after it, and one that
// the controller has refused is proposed again when ISRs are reviewed: neither comes by
// itself a second time where nothing happens.
func TestFollowersThatCannotJoinAtOnce(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprint("refused ", refused), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.replicas.shared.lagMax = time.Minute
				w.view.Apply(cluster.Update{ControllerID: self, Brokers: []cluster.Broker{{ID: self}, {ID: 2}, {ID: 3}}})
				refusals := 0
				w.asks(&askedController{answer: func(_ context.Context, _ int, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
					time.Sleep(time.Second)
					joining := req.Topics[0].Partitions[0].NewEpochISR
					if last := joining[len(joining)-1]; last.BrokerID == 3 && last.BrokerEpoch != 30 {
						t.Errorf("broker 3 was heard of in epoch %d", last.BrokerEpoch)
					} else if refused && last.BrokerID == 3 && refusals == 0 {
						refusals++
						return answerWith(req, kerr.IneligibleReplica.Code), nil
					}
					return answerWith(req, 0), nil
				}})
				p := w.leads(t0, 4, 1, 2, 3)
				propose(p, 1)
				time.Sleep(2 * time.Second)
				mustAppend(t, p, produce, batch(t, 1000, 4))
				mustRead(t, p, fetchOf(2, 4, 20))
				mustRead(t, p, fetchOf(3, 4, 30))
				time.Sleep(3 * time.Second)
				if refused {
					ctx, cancel := context.WithCancel(t.Context())
					var reviewing sync.WaitGroup
					reviewing.Go(func() { w.replicas.reviewISRs(ctx) })
					time.Sleep(40 * time.Second)
					cancel()
					reviewing.Wait()
				}
				synctest.Wait()
				if r := p.role.Load(); !slices.Equal(r.isr, []int32{1, 2, 3}) || r.pending != nil {
					t.Errorf("ISR %v, pending %v", r.isr, r.pending)
				}
			})
		})
	}
}

// A follower that is about to join is waited for, but not when it has gone, or lags:
// then the high watermark moves although nobody fetches or appends.
func TestWhoIsGoneIsNotWaitedFor(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprint("gone ", gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.replicas.shared.lagMax = time.Minute
				w.apply(RoleChange{Partition: t0, TopicID: tID, Leader: self, Replicas: []int32{1, 2}, ISR: []int32{1}, IsNew: true})
				p, err := w.replicas.Partition(t0)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var reviews sync.WaitGroup
				reviews.Go(func() { w.replicas.reviewISRs(ctx) })
				reviews.Go(func() { w.replicas.watchBrokers(ctx) })
				mustRead(t, p, fetchOf(2, 0, 20))
				r := mustAppend(t, p, produceAll(), batch(t, 1000, 4))
				var o outcome
				if _, done := p.NotifyAt(r.LastOffset+1, r.LeaderEpoch, o.of("produce")); done {
					t.Error("broker 2, which is about to join, is not waited for")
				}
				time.Sleep(40 * time.Second)
				if heard := o.take(); heard != nil {
					t.Errorf("%q while broker 2 is alive and does not lag", heard)
				}
				if gone {
					w.view.Apply(cluster.Update{ControllerID: self, Brokers: []cluster.Broker{{ID: self}}})
				} else {
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				if heard := o.take(); !slices.Equal(heard, []string{"produce"}) {
					t.Errorf("heard %q", heard)
				}
				cancel()
				reviews.Wait()
			})
		})
	}
}

// A follower that has left because it lacks something does not come back before it has
// fetched, though it has all that is committed.
func TestLaggardStaysOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.configure("t", func(cfg *config.Topic) { cfg.MinInsyncReplicas = 2 }) // nothing is committed without it
		w.asks(&askedController{answer: func(_ context.Context, _ int, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
			return answerWith(req, 0), nil
		}})
		p := w.leads(t0, 4, 1, 2)
		mustAppend(t, p, produce, batch(t, 1000, 3))
		mustRead(t, p, fetchOf(2, 3, 20))
		mustAppend(t, p, produce, batch(t, 1003, 1))
		propose(p, 1)
		synctest.Wait()
		p.addCaughtUp()
		synctest.Wait()
		if r := p.role.Load(); !slices.Equal(r.isr, []int32{1}) || r.pending != nil {
			t.Errorf("ISR %v, pending %v", r.isr, r.pending)
		}
	})
}
