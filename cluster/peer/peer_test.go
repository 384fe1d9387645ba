package peer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var self = peer.Target{Broker: 1, Purpose: peer.ForController}

func TestVersionsAreThoseOfTheInterBrokerProtocol(t *testing.T) {
	tests := []struct {
		req  kmsg.Request
		want []string
	}{
		{kmsg.NewPtrLeaderAndISRRequest(), []string{"LeaderAndIsr 7"}},
		{kmsg.NewPtrUpdateMetadataRequest(), []string{"UpdateMetadata 8"}},
		{kmsg.NewPtrStopReplicaRequest(), []string{"StopReplica 4"}},
		{kmsg.NewPtrControlledShutdownRequest(), []string{"ControlledShutdown 3"}},
		{kmsg.NewPtrFetchRequest(), []string{"Fetch 17"}},
		{&kmsg.FetchRequest{Version: 12}, []string{"Fetch 12"}},
		{kmsg.NewPtrWriteTxnMarkersRequest(), []string{"WriteTxnMarkers 1"}},
		{kmsg.NewPtrAllocateProducerIDsRequest(), []string{"ApiVersions 3", "AllocateProducerIds 0"}},
		{kmsg.NewPtrAlterPartitionRequest(), []string{"ApiVersions 3", "AlterPartition 2"}},
		{&kmsg.AlterPartitionRequest{Version: 1}, []string{"ApiVersions 3", "AlterPartition 1"}},
		{kmsg.NewPtrAddPartitionsToTxnRequest(), []string{"ApiVersions 3"}},
		{kmsg.NewPtrMetadataRequest(), nil},
	}
	for _, test := range tests {
		t.Run(kmsg.NameForKey(test.req.Key()), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := startBroker(t, answer)
				p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial})
				_, err := p.Send(t.Context(), self, test.req)
				refused := len(test.want) == 0 || len(test.want) == 1 && test.want[0] == "ApiVersions 3"
				if refused != errors.Is(err, peer.ErrUnsupportedVersion) || !refused && err != nil {
					t.Errorf("error %v", err)
				}
				if got := b.seen(); !slices.Equal(got, test.want) {
					t.Errorf("sent %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestVersionsAreAskedOncePerConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, func(n int, h protocol.RequestHeader, req kmsg.Request) kmsg.Response {
			if h.Key == protocol.ApiVersions && h.Version > 0 { // an old broker: version 0, error 35
				resp := kmsg.NewPtrApiVersionsResponse()
				resp.ErrorCode = kerr.UnsupportedVersion.Code
				return resp
			}
			return answer(n, h, req)
		})
		p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial})
		for range 3 {
			if _, err := p.Send(t.Context(), self, kmsg.NewPtrAllocateProducerIDsRequest()); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"ApiVersions 3", "ApiVersions 0", "AllocateProducerIds 0", "AllocateProducerIds 0", "AllocateProducerIds 0"}
		if got := b.seen(); !slices.Equal(got, want) {
			t.Errorf("sent %v, want %v", got, want)
		}
	})
}

// TestOrder sends many requests and holds that they arrive in order, that no
// more than MaxInFlight are unanswered, and that each gets its own answer.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests, maxInFlight = 50, 5
		arrived := make(chan int32, requests)
		proceed := make(chan struct{})
		b := startBroker(t, func(n int, h protocol.RequestHeader, req kmsg.Request) kmsg.Response {
			arrived <- req.(*kmsg.ControlledShutdownRequest).BrokerID
			<-proceed
			resp := kmsg.NewPtrControlledShutdownResponse()
			resp.SetVersion(h.Version)
			resp.PartitionsRemaining = []kmsg.ControlledShutdownResponsePartitionsRemaining{{Topic: "t", Partition: req.(*kmsg.ControlledShutdownRequest).BrokerID}}
			return resp
		})
		p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial, MaxInFlight: maxInFlight})
		var sending sync.WaitGroup
		for i := range int32(requests) {
			sending.Go(func() {
				req := kmsg.NewPtrControlledShutdownRequest()
				req.BrokerID = i
				resp, err := p.Send(t.Context(), self, req)
				if err != nil {
					t.Error(err)
					return
				}
				if got := resp.(*kmsg.ControlledShutdownResponse).PartitionsRemaining[0].Partition; got != i {
					t.Errorf("request %d got the answer to %d", i, got)
				}
			})
			synctest.Wait() // Send i is in the queue before Send i+1
		}
		for i := range int32(requests) {
			if got := <-arrived; got != i {
				t.Errorf("request %d arrived as number %d", got, i)
			}
			proceed <- struct{}{}
		}
		sending.Wait()
	})
}

func TestRequestsInFlightAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, func(int, protocol.RequestHeader, kmsg.Request) kmsg.Response { return nil })
		p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial, RequestTimeout: time.Hour})
		var sending sync.WaitGroup
		for range 20 {
			sending.Go(func() { p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest()) })
		}
		synctest.Wait()
		if got := len(b.seen()); got != 5 {
			t.Errorf("%d requests without answer, want the default of 5", got)
		}
		p.Stop(context.Background())
		sending.Wait()
	})
}

func TestBrokenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, func(n int, h protocol.RequestHeader, req kmsg.Request) kmsg.Response {
			if n == 0 {
				return nil
			}
			return answer(n, h, req)
		})
		p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial})
		failed := make(chan error, 1)
		go func() {
			_, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest())
			failed <- err
		}()
		synctest.Wait()
		b.closeConns()
		if err := <-failed; !errors.Is(err, peer.ErrDisconnected) || !errors.Is(err, io.EOF) {
			t.Fatalf("request on a connection that was closed: %v", err)
		}
		if _, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest()); err != nil {
			t.Fatalf("the next request: %v", err)
		}
		// A connection that is closed while idle costs nobody an error.
		b.closeConns()
		synctest.Wait()
		if _, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest()); err != nil {
			t.Fatalf("after an idle close: %v", err)
		}
		if got := b.connections(); got != 3 {
			t.Errorf("%d connections, want 3", got)
		}
	})
}

func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, func(int, protocol.RequestHeader, kmsg.Request) kmsg.Response { return nil })
		p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial, RequestTimeout: 7 * time.Second})
		start := time.Now()
		_, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest())
		var timeout net.Error
		if !errors.Is(err, peer.ErrDisconnected) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("a request without answer: %v", err)
		}
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestContextEndsTheWaitOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		b := startBroker(t, func(n int, h protocol.RequestHeader, req kmsg.Request) kmsg.Response {
			<-proceed
			return answer(n, h, req)
		})
		p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Send(ctx, self, kmsg.NewPtrUpdateMetadataRequest()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		close(proceed)
		if _, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest()); err != nil {
			t.Fatal(err)
		}
		if got := b.connections(); got != 1 {
			t.Errorf("%d connections, want the one", got)
		}
	})
}

func TestBackoffBetweenDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		var dialed []time.Duration
		start := time.Now()
		p := startPool(t, peer.Config{BrokerID: 1, MinBackoff: 50 * time.Millisecond, MaxBackoff: 150 * time.Millisecond,
			DialSelf: func(context.Context) (net.Conn, error) {
				dialed = append(dialed, time.Since(start))
				return nil, refused
			}})
		for range 5 {
			if _, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest()); !errors.Is(err, refused) {
				t.Fatalf("error %v", err)
			}
		}
		const ms = time.Millisecond
		if want := []time.Duration{0, 50 * ms, 150 * ms, 300 * ms, 450 * ms}; !slices.Equal(dialed, want) {
			t.Errorf("dialed at %v, want %v", dialed, want)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialing := make(chan struct{})
		dials := 0
		p := startPool(t, peer.Config{BrokerID: 1, MaxQueued: 2,
			DialSelf: func(ctx context.Context) (net.Conn, error) {
				dials++
				<-dialing
				return nil, errors.New("refused")
			}})
		results := make(chan error, 4)
		for range 4 {
			go func() {
				_, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest())
				results <- err
			}()
			synctest.Wait()
		}
		// One is being dialed for, two wait, the fourth is one too many.
		if err := <-results; !errors.Is(err, peer.ErrQueueFull) {
			t.Errorf("error %v", err)
		}
		close(dialing)
		for range 3 {
			if err := <-results; err == nil || errors.Is(err, peer.ErrQueueFull) {
				t.Errorf("a request that waited for a failed dial: %v", err)
			}
		}
		if dials != 1 {
			t.Errorf("%d dials for requests that waited together", dials)
		}
	})
}

func TestStopFailsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, func(int, protocol.RequestHeader, kmsg.Request) kmsg.Response { return nil })
		p := startPool(t, peer.Config{BrokerID: 1, DialSelf: b.Dial, MaxInFlight: 1})
		results := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest())
				results <- err
			}()
		}
		synctest.Wait()
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-results; !errors.Is(err, peer.ErrStopped) {
				t.Errorf("error %v", err)
			}
		}
		if _, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest()); !errors.Is(err, peer.ErrStopped) {
			t.Errorf("after the stop: %v", err)
		}
	})
}

func TestWhereARequestGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startBroker(t, answer)
		var dialed []cluster.Endpoint
		view := cluster.NewView()
		internal := cluster.Endpoint{Listener: "INTERNAL", Host: "two", Port: 9093, SecurityProtocol: "PLAINTEXT"}
		view.Apply(cluster.Update{Brokers: []cluster.Broker{
			{ID: 2, Endpoints: []cluster.Endpoint{{Listener: "CLIENTS", Host: "x", Port: 1}, internal}},
			{ID: 3, Endpoints: []cluster.Endpoint{{Listener: "CLIENTS", Host: "y", Port: 1}}},
		}})
		p, err := peer.New(peer.Config{
			BrokerID: 1, Listener: "INTERNAL", DialSelf: b.Dial,
			Dial: func(ctx context.Context, e cluster.Endpoint) (net.Conn, error) {
				dialed = append(dialed, e)
				return b.Dial(ctx)
			},
		}, view)
		if err != nil {
			t.Fatal(err)
		}
		p.Start(t.Context())
		defer p.Stop(context.Background())

		send := func(to peer.Target) error {
			_, err := p.Send(t.Context(), to, kmsg.NewPtrUpdateMetadataRequest())
			return err
		}
		moved := internal
		moved.Port = 9999
		for _, to := range []peer.Target{
			{Broker: 2},                  // by the view
			{Broker: 2},                  // on the same connection
			{Broker: 2, Endpoint: moved}, // to another address
			{Broker: 2, Purpose: peer.FromController},
			{Broker: 1, Endpoint: internal}, // oneself, never by address
		} {
			if err := send(to); err != nil {
				t.Errorf("%v: %v", to, err)
			}
		}
		if want := []cluster.Endpoint{internal, moved, internal}; !slices.Equal(dialed, want) {
			t.Errorf("dialed %v, want %v", dialed, want)
		}
		for _, id := range []int32{3, 4} {
			if err := send(peer.Target{Broker: id}); !errors.Is(err, peer.ErrUnknownBroker) {
				t.Errorf("broker %d: %v", id, err)
			}
		}
	})
}

// TestMalformedResponses gives the pool what no broker should send.
func TestMalformedResponses(t *testing.T) {
	tests := map[string][]byte{
		"short":            {0, 0, 0, 2, 0, 0},
		"negative size":    {255, 255, 255, 255},
		"too large":        {127, 255, 255, 255},
		"wrong id":         {0, 0, 0, 8, 0, 0, 0, 99, 0, 0, 0, 0},
		"endless tags":     {0, 0, 0, 9, 0, 0, 0, 0, 255, 255, 255, 255, 15},
		"tag past the end": {0, 0, 0, 7, 0, 0, 0, 0, 1, 0, 9},
		"no body":          {0, 0, 0, 5, 0, 0, 0, 0, 0},
	}
	for name, frame := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := inproc.Listen("broken")
				defer l.Close()
				go func() {
					c, err := l.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					if _, err := protocol.ReadFrame(c, 1<<20, nil); err == nil {
						c.Write(frame)
						io.Copy(io.Discard, c)
					}
				}()
				p := startPool(t, peer.Config{BrokerID: 1, DialSelf: l.Dial, MaxResponse: 1 << 20})
				start := time.Now()
				if _, err := p.Send(t.Context(), self, kmsg.NewPtrUpdateMetadataRequest()); err == nil {
					t.Error("the response was accepted")
				}
				if time.Since(start) != 0 {
					t.Error("it was noticed by the timeout only")
				}
			})
		})
	}
}

// A connection of one's own goes to the broker's inter-broker listener, and belongs
// to who asked for it.
func TestConnect(t *testing.T) {
	b := startBroker(t, answer)
	view := cluster.NewView()
	view.Apply(cluster.Update{Brokers: []cluster.Broker{{ID: 2, Endpoints: []cluster.Endpoint{{Listener: "INTERNAL", Host: "two", Port: 9092}}}}})
	p, err := peer.New(peer.Config{BrokerID: 1, Listener: "INTERNAL", DialSelf: b.Dial, Dial: func(ctx context.Context, e cluster.Endpoint) (net.Conn, error) {
		if e.Host != "two" {
			t.Errorf("dials %+v", e)
		}
		return b.Dial(ctx)
	}}, view)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Connect(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Connect(t.Context(), 3); !errors.Is(err, peer.ErrUnknownBroker) {
		t.Errorf("an unknown broker: %v", err)
	}
}

// TestGone has a broker leave the cluster that answers nothing: who waits for it is told,
// also those behind as many as may be in flight, and when it comes back it is not asked
// over the connection that it may have forgotten.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answers atomic.Bool
		b := startBroker(t, func(n int, h protocol.RequestHeader, req kmsg.Request) kmsg.Response {
			if !answers.Load() {
				return nil
			}
			return answer(n, h, req)
		})
		view := cluster.NewView()
		lives := func(ids ...int32) {
			u := cluster.Update{ControllerID: 1, ControllerEpoch: 1}
			for _, id := range ids {
				u.Brokers = append(u.Brokers, cluster.Broker{ID: id, Endpoints: []cluster.Endpoint{{Listener: "B", Host: "h", Port: id}}})
			}
			view.Apply(u)
		}
		lives(1, 2, 3)
		dial := func(ctx context.Context, _ cluster.Endpoint) (net.Conn, error) { return b.Dial(ctx) }
		p := startPoolWith(t, peer.Config{BrokerID: 1, Listener: "B", Dial: dial, MaxInFlight: 2}, view)
		began := time.Now()
		errs := make(chan error)
		for range 4 {
			go func() {
				_, err := p.Send(t.Context(), peer.Target{Broker: 2, Purpose: peer.ForTransactions}, kmsg.NewPtrWriteTxnMarkersRequest())
				errs <- err
			}()
		}
		synctest.Wait()
		lives(1, 2) // another leaves
		synctest.Wait()
		if got := len(b.seen()); got != 2 {
			t.Errorf("%d requests were sent", got)
		}
		lives(1)
		for range 4 {
			if err := <-errs; !errors.Is(err, peer.ErrGone) {
				t.Errorf("told %v", err)
			}
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("after %v", waited)
		}
		answers.Store(true)
		lives(1, 2)
		synctest.Wait()
		if _, err := p.Send(t.Context(), peer.Target{Broker: 2, Purpose: peer.ForTransactions}, kmsg.NewPtrWriteTxnMarkersRequest()); err != nil {
			t.Error(err)
		}
		if b.connections() < 2 {
			t.Error("it is asked over the same connection")
		}
	})
}
