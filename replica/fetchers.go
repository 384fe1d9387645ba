package replica

import (
	"context"
	"log/slog"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/config"
)

// Peers reaches the other brokers: *peer.Pool.
type Peers interface {
	// Connect opens a connection to a broker that belongs to the caller.
	Connect(ctx context.Context, broker int32) (net.Conn, error)
	SendToController(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error)
	Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error)
}

// fetchers copy partitions from their leaders, with one fetcher for each broker
// that leads some.
//
// Concurrency: mu guards the maps; it is held for map accesses only.
type fetchers struct {
	broker      int32
	brokerEpoch func() int64
	settings    config.Replication
	peers       Peers
	logger      *slog.Logger

	mu       sync.Mutex
	byLeader map[int32]*fetcher
	of       map[*Partition]*fetcher
	ctx      context.Context // of all fetchers; nil before start and after stop
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

func newFetchers(broker int32, brokerEpoch func() int64, settings config.Replication, peers Peers, logger *slog.Logger) *fetchers {
	return &fetchers{broker: broker, brokerEpoch: brokerEpoch, settings: settings, peers: peers, logger: logger,
		byLeader: map[int32]*fetcher{}, of: map[*Partition]*fetcher{}}
}

func (fs *fetchers) start() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.ctx, fs.cancel = context.WithCancel(context.Background())
	for _, f := range fs.byLeader {
		fs.done.Go(func() { f.run(fs.ctx) })
	}
}

// stop returns when nothing is fetched any more.
func (fs *fetchers) stop() {
	fs.mu.Lock()
	cancel := fs.cancel
	fs.ctx = nil
	fs.mu.Unlock()
	if cancel != nil {
		cancel()
		fs.done.Wait()
	}
}

// assign has a partition fetched as its role says, from one leader or not at all.
// What is under way for its role before is dropped, as the role has changed.
func (fs *fetchers) assign(p *Partition, r *role) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	before := fs.of[p]
	if !r.following() {
		if before != nil {
			delete(fs.of, p)
			before.change(p, nil)
		}
		return
	}
	f := fs.byLeader[r.leader]
	if f == nil {
		f = newFetcher(r.leader, fs)
		fs.byLeader[r.leader] = f
		if ctx := fs.ctx; ctx != nil {
			fs.done.Go(func() { f.run(ctx) })
		}
	}
	if before != nil && before != f {
		before.change(p, nil)
	}
	fs.of[p] = f
	f.change(p, r)
}
