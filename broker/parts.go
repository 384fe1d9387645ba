package broker

import (
	"context"
	"log/slog"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/cluster/producerid"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/txn"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// parts are a broker's components. The methods that start them, in the files
// start_*.go, each build one from those before it; nothing outside this package
// sees the struct.
type parts struct {
	settings *config.Settings
	cfg      *config.Broker // as it was at start
	env      Env
	logger   *slog.Logger
	failed   chan error

	// Where things are kept.
	store     *storage.Store
	zookeeper *embedded // nil when ZooKeeper is elsewhere
	session   *session.Client
	events    fanout[session.Event] // of the session
	zk        *zkmeta.Client
	changes   *topics.Changes
	features  *features
	unclean   fanout[struct{}] // unclean election is allowed where it may not have been
	failures  *failures        // of log directories

	// Who this broker is.
	id           int32
	clusterID    string
	registration *registration

	// What it does.
	sockets     *sockets
	self        *inproc.Listener // its door to itself
	view        *cluster.View
	peers       *peer.Pool
	producerIDs *producerid.Allocator
	replicas    *replica.Replicas
	groups      *group.Coordinator
	txns        *txn.Coordinator
	controller  *controller.Controller
	server      *server.Server
}

// phases is the life of a broker. Each line may use what the lines above it
// started, and goes down before them.
func (p *parts) phases() []phase {
	return []phase{
		{name: "log directories", start: p.openDirectories, stop: func(ctx context.Context) error { return p.store.Stop(ctx) }},
		{name: "embedded ZooKeeper", start: p.startZooKeeper, stop: p.stopZooKeeper},
		{name: "ZooKeeper session", start: p.startSession, stop: p.stopSession},
		{name: "identity", start: p.identify},
		{name: "configuration changes", start: p.startChanges, stop: p.stopChanges},
		{name: "finalized features", start: p.startFeatures, stop: p.stopFeatures},
		{name: "logs", start: p.loadLogs},
		{name: "failures of directories", start: p.startFailures, stop: p.stopFailures},
		{name: "listeners", start: p.bindListeners, stop: p.closeListeners},
		{name: "connections to brokers", start: p.startPeers, stop: p.stopPeers},
		{name: "replicas", start: p.startReplicas, stop: p.stopReplicas},
		{name: "server", start: p.startServer, drain: p.drainServer, stop: p.stopServer},
		{name: "groups", start: p.startGroups, stop: p.stopGroups},
		{name: "transactions", start: p.startTransactions, stop: p.stopTransactions},
		{name: "registration", start: p.register},
		{name: "controller", start: p.startController, stop: p.stopController},
		{name: "producer ids", start: p.startProducerIDs, stop: p.stopProducerIDs},
		{name: "service", start: p.openForClients, drain: p.depart, drainLimit: departureTimeout},
	}
}

// fail reports that the broker cannot go on. The first reason counts.
func (p *parts) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}
