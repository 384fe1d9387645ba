package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// outbox delivers mail to one registration of one broker. The loop adds mail and
// never waits: mu guards the mail, and is held for map accesses only. One goroutine
// takes parcels out and sends them, one at a time, each until it is answered; what
// could not be delivered goes back under what is newer. A broker that is restarted
// gets a new outbox, because it has to be told everything again.
type outbox struct {
	broker  int32
	epoch   int64 // broker epoch of the registration
	from    identity
	sender  Sender
	backoff time.Duration
	report  func(receipt)
	logger  *slog.Logger
	wake    chan struct{} // capacity 1
	cancel  context.CancelFunc

	mu       sync.Mutex
	mail     mail
	brokers  *brokerSet
	endpoint cluster.Endpoint
}

// startOutbox starts the goroutine, in wg, that runs until ctx or close ends it.
func startOutbox(ctx context.Context, wg *sync.WaitGroup, o *outbox) {
	ctx, o.cancel = context.WithCancel(ctx)
	o.wake = make(chan struct{}, 1)
	wg.Go(func() { o.run(ctx) })
}

// close ends the delivery; it does not wait for it.
func (o *outbox) close() { o.cancel() }

// add changes the mail and sees that it is sent.
func (o *outbox) add(change func(m *mail)) {
	o.mu.Lock()
	change(&o.mail)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// setBrokers tells the broker who lives, and the outbox where the broker listens.
func (o *outbox) setBrokers(set *brokerSet, endpoint cluster.Endpoint) {
	o.mu.Lock()
	o.brokers, o.endpoint = set, endpoint
	o.mail.brokers = true
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) run(ctx context.Context) {
	failing := false
	for {
		o.mu.Lock()
		p, brokers, endpoint := o.mail.take(), o.brokers, o.endpoint
		o.mu.Unlock()
		if p.kind == kindNone {
			select {
			case <-o.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		to := peer.Target{Broker: o.broker, Purpose: peer.FromController, Endpoint: endpoint}
		req := p.request(o.from, o.epoch, brokers)
		resp, err := o.sender.Send(ctx, to, req)
		if err == nil {
			failing = false
			r := p.read(o.broker, o.epoch, o.from.controllerEpoch, resp)
			if r.code != 0 {
				o.logger.Warn("a broker refused what the controller told it", "broker", o.broker,
					"request", reqName(p.kind), "error", kerr.ErrorForCode(r.code))
			}
			o.report(r)
			continue
		}
		if ctx.Err() != nil || errors.Is(err, peer.ErrStopped) {
			return
		}
		if !failing {
			failing = true
			o.logger.Warn("cannot reach a broker, trying again until it answers or its registration ends", "broker", o.broker, "error", err)
		}
		o.mu.Lock()
		o.mail.putBack(p)
		o.mu.Unlock()
		select {
		case <-time.After(o.backoff):
		case <-ctx.Done():
			return
		}
	}
}

func reqName(k kind) string {
	switch k {
	case kindLeaderAndISR:
		return "LeaderAndIsr"
	case kindStop:
		return "StopReplica"
	}
	return "UpdateMetadata"
}

// endpointOf is where a broker takes the controller's requests; false if it does not
// listen there.
func endpointOf(b zkmeta.LiveBroker, listener string) (cluster.Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return cluster.Endpoint{Listener: e.Listener, Host: e.Host, Port: e.Port, SecurityProtocol: e.SecurityProtocol}, true
		}
	}
	return cluster.Endpoint{}, false
}
