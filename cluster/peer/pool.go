package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Pool keeps one connection per broker and purpose. It is safe for concurrent
// use: mu guards the map of links and the life cycle, and is held for no longer
// than a map access. Each link has one goroutine, and each connection one more;
// Stop ends them all.
type Pool struct {
	cfg  Config
	view *cluster.View

	mu     sync.Mutex
	links  map[linkKey]*link
	ctx    context.Context // of all links; nil until Start
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New validates the configuration. The view resolves targets without endpoint.
func New(cfg Config, view *cluster.View) (*Pool, error) {
	if cfg.DialSelf == nil || cfg.Dial == nil {
		return nil, errors.New("peer: DialSelf and Dial are required")
	}
	if view == nil {
		return nil, errors.New("peer: a view is required")
	}
	setDefault(&cfg.ClientID, strconv.Itoa(int(cfg.BrokerID)))
	setDefault(&cfg.RequestTimeout, 30*time.Second)
	setDefault(&cfg.DialTimeout, 10*time.Second)
	setDefault(&cfg.MinBackoff, 50*time.Millisecond)
	setDefault(&cfg.MaxBackoff, time.Second)
	setDefault(&cfg.MaxInFlight, 5)
	setDefault(&cfg.MaxQueued, 1024)
	setDefault(&cfg.MaxResponse, 100<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Pool{cfg: cfg, view: view, links: map[linkKey]*link{}}, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Start makes the pool ready to send. The context limits the start only.
func (p *Pool) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx != nil {
		return errors.New("peer: started twice")
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return nil
}

// Stop fails what is under way with ErrStopped, closes all connections and
// returns when the pool's goroutines have ended.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithCancel(context.Background())
	}
	p.cancel()
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping peer connections: %w", ctx.Err())
	}
}

// Send sends a request and waits for its response. It sets the request's
// version: Kafka brokers talk to each other in versions fixed by the
// inter-broker protocol (3.9), and ask ApiVersions only before AlterPartition,
// AllocateProducerIds and AddPartitionsToTxn. A caller that needs an older
// version sets it beforehand.
//
// Requests to one target leave in the order in which Send was called, and are
// answered in that order. When ctx ends the answer is dropped, not the
// connection. Nothing is retried: any error but ErrQueueFull, ErrUnknownBroker
// and those of dialing leaves open whether the broker carried the request out.
// Error codes inside the response are the caller's to read. req is not touched
// any more after Send returns without error; after an error it may still be
// being written and must not be changed.
//
// Who is found in the view is not waited for any longer than it is there: a machine that
// is gone, or a process that is stopped, says nothing, and its connections may live.
func (p *Pool) Send(ctx context.Context, to Target, req kmsg.Request) (kmsg.Response, error) {
	endpoint, err := p.resolve(to)
	if err != nil {
		return nil, err
	}
	l, stopped, err := p.link(linkKey{to.Broker, to.Purpose})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // or it would be sent when nobody waits any more
	c := &call{ctx: ctx, req: req, endpoint: endpoint, done: make(chan outcome, 1)}
	select {
	case l.queue <- c:
	default:
		return nil, fmt.Errorf("%s to broker %d: %w", kmsg.NameForKey(req.Key()), to.Broker, ErrQueueFull)
	}
	for {
		here, changed := p.follow(to)
		if !here {
			l.hangUp()
			return nil, fmt.Errorf("%s to broker %d: %w", kmsg.NameForKey(req.Key()), to.Broker, ErrGone)
		}
		select {
		case o := <-c.done:
			return o.resp, o.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-stopped:
			return nil, ErrStopped
		case <-changed:
		}
	}
}

// follow says whether a target is there, and returns a channel that is closed when that
// may have changed: nil if it is this broker, or one whose place the caller knows.
func (p *Pool) follow(to Target) (here bool, changed <-chan struct{}) {
	if to.Broker == p.cfg.BrokerID || to.Endpoint != (cluster.Endpoint{}) {
		return true, nil
	}
	s := p.view.Snapshot()
	_, here = s.Broker(to.Broker)
	return here, s.Replaced()
}

// Connect opens a connection to a broker that belongs to the caller: for who sends
// so much that it brings its own buffers, and reconnects at a pace of its own.
func (p *Pool) Connect(ctx context.Context, broker int32) (net.Conn, error) {
	e, err := p.resolve(Target{Broker: broker})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
	defer cancel()
	nc, err := p.dial(ctx, broker, e)
	if err != nil {
		return nil, fmt.Errorf("connecting to broker %d: %w", broker, err)
	}
	return nc, nil
}

// SendToController is Send for requests that any broker sends to the controller,
// whose broker id the caller found in the view.
func (p *Pool) SendToController(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	return p.Send(ctx, Target{Broker: broker, Purpose: ForController}, req)
}

// resolve finds the address; this broker needs none.
func (p *Pool) resolve(to Target) (cluster.Endpoint, error) {
	if to.Broker == p.cfg.BrokerID {
		return cluster.Endpoint{}, nil
	}
	if to.Endpoint != (cluster.Endpoint{}) {
		return to.Endpoint, nil
	}
	b, ok := p.view.Snapshot().Broker(to.Broker)
	if !ok {
		return cluster.Endpoint{}, fmt.Errorf("broker %d: %w", to.Broker, ErrUnknownBroker)
	}
	e, ok := b.Endpoint(p.cfg.Listener)
	if !ok {
		return cluster.Endpoint{}, fmt.Errorf("broker %d has no listener %s: %w", to.Broker, p.cfg.Listener, ErrUnknownBroker)
	}
	return e, nil
}

func (p *Pool) link(key linkKey) (*link, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.ctx.Err() != nil {
		return nil, nil, ErrStopped
	}
	l, ok := p.links[key]
	if !ok {
		l = &link{pool: p, key: key, queue: make(chan *call, p.cfg.MaxQueued), gone: make(chan struct{}, 1)}
		p.links[key] = l
		ctx := p.ctx
		p.wg.Go(func() { l.run(ctx) })
	}
	return l, p.ctx.Done(), nil
}

func (p *Pool) dial(ctx context.Context, broker int32, e cluster.Endpoint) (net.Conn, error) {
	if broker == p.cfg.BrokerID {
		return p.cfg.DialSelf(ctx)
	}
	return p.cfg.Dial(ctx, e)
}
