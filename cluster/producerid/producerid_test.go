package producerid_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/producerid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeController allocates blocks of 1000; fail, if set, is asked first.
type fakeController struct {
	t     *testing.T
	fail  func(request int) (code int16, err error)
	delay time.Duration
	stuck bool // gives the same block again and again

	mu       sync.Mutex
	next     int64
	requests int
}

func (c *fakeController) SendToController(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	if broker != 7 {
		c.t.Errorf("request to broker %d", broker)
	}
	r := req.(*kmsg.AllocateProducerIDsRequest)
	if r.BrokerID != 1 || r.BrokerEpoch != 42 {
		c.t.Errorf("broker %d, epoch %d", r.BrokerID, r.BrokerEpoch)
	}
	c.mu.Lock()
	c.requests++
	c.mu.Unlock()
	select {
	case <-time.After(c.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	if c.fail != nil {
		code, err := c.fail(c.requests)
		if err != nil {
			return nil, err
		}
		if code != 0 {
			resp.ErrorCode = code
			return resp, nil
		}
	}
	resp.ProducerIDStart, resp.ProducerIDLen = c.next, 1000
	if !c.stuck {
		c.next += 1000
	}
	return resp, nil
}

func start(t *testing.T, c *fakeController, controllerID int32) (*producerid.Allocator, *cluster.View) {
	t.Helper()
	view := cluster.NewView()
	view.Apply(cluster.Update{ControllerID: controllerID})
	a, err := producerid.New(producerid.Config{BrokerID: 1, BrokerEpoch: func() int64 { return 42 }}, c, view)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return a, view
}

func TestIDsAreConsecutiveAndPrefetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeController{t: t, delay: 20 * time.Millisecond}
		a, _ := start(t, c, 7)
		synctest.Wait()
		if c.requests != 0 {
			t.Error("a block was taken before anybody wanted an id")
		}
		for want := range int64(2500) {
			start := time.Now()
			id, err := a.Next(t.Context())
			if err != nil || id != want {
				t.Fatalf("id %d, error %v, want %d", id, err, want)
			}
			if took := time.Since(start); want > 0 && took > 0 {
				t.Fatalf("id %d was waited for %v", id, took)
			}
			synctest.Wait()
			switch {
			case want < 900 && c.requests != 1, want >= 900 && want < 1900 && c.requests != 2, want >= 1900 && c.requests != 3:
				t.Fatalf("%d requests when id %d was given", c.requests, want)
			}
			if want%1000 == 900 {
				time.Sleep(time.Second) // the prefetch, asked for now, arrives
			}
		}
	})
}

func TestConcurrentNextNeverRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeController{t: t}
		a, _ := start(t, c, 7)
		var mu sync.Mutex
		seen := map[int64]bool{}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 250 {
					id, err := a.Next(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if seen[id] {
						t.Errorf("id %d was given twice", id)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != 5000 {
			t.Errorf("%d ids", len(seen))
		}
	})
}

func TestErrorsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeController{t: t, fail: func(n int) (int16, error) {
			switch n {
			case 1:
				return kerr.StaleBrokerEpoch.Code, nil
			case 2:
				return kerr.NotController.Code, nil
			case 3:
				return 0, errors.New("connection lost")
			}
			return 0, nil
		}}
		a, _ := start(t, c, 7)
		start := time.Now()
		if id, err := a.Next(t.Context()); err != nil || id != 0 {
			t.Fatalf("id %d, error %v", id, err)
		}
		if took := time.Since(start); took != 150*time.Millisecond {
			t.Errorf("three failures took %v, want a backoff of 50 ms each", took)
		}
	})
}

func TestNoController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeController{t: t}
		a, view := start(t, c, -1)
		start := time.Now()
		if _, err := a.Next(t.Context()); !errors.Is(err, kerr.CoordinatorLoadInProgress) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v", took)
		}
		view.Apply(cluster.Update{ControllerID: 7})
		if _, err := a.Next(t.Context()); err != nil {
			t.Errorf("with a controller: %v", err)
		}
	})
}

// TestABlockThatOverlapsIsRefused holds that ids are not used twice even if the
// controller errs.
func TestABlockThatOverlapsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeController{t: t, stuck: true}
		a, _ := start(t, c, 7)
		for range 901 {
			if _, err := a.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for want := int64(901); want < 1000; want++ {
			if id, err := a.Next(t.Context()); err != nil || id != want {
				t.Fatalf("id %d, error %v, want %d", id, err, want)
			}
		}
		if id, err := a.Next(t.Context()); !errors.Is(err, kerr.CoordinatorLoadInProgress) {
			t.Errorf("id %d, error %v", id, err)
		}
	})
}
