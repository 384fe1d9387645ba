package broker

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/gracchus-mq/gracchus/broker/api"
	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/cluster/producerid"
	"github.com/gracchus-mq/gracchus/controller"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/topics"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

func (p *parts) bindListeners(ctx context.Context) (err error) {
	p.sockets, err = bind(ctx, p.env, p.cfg)
	return err
}

func (p *parts) closeListeners(context.Context) error {
	p.sockets.close() // the server has closed them already, if it came to run
	return nil
}

// startPeers makes the connections to brokers possible. This broker reaches
// itself through a listener of its own, so that a request takes the same way
// whoever sends it.
func (p *parts) startPeers(ctx context.Context) (err error) {
	p.view = cluster.NewView()
	p.self = inproc.Listen("self")
	p.peers, err = peer.New(peer.Config{
		BrokerID:       p.id,
		Listener:       p.cfg.InterBroker,
		RequestTimeout: p.cfg.RequestTimeout,
		Logger:         p.logger,
		DialSelf:       p.self.Dial,
		Dial: func(ctx context.Context, e cluster.Endpoint) (net.Conn, error) {
			return p.env.Dial(ctx, net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))))
		},
	}, p.view)
	if err != nil {
		return err
	}
	return p.peers.Start(ctx)
}

func (p *parts) stopPeers(ctx context.Context) error { return p.peers.Stop(ctx) }

// register tells the cluster that this broker is there.
func (p *parts) register(ctx context.Context) error {
	p.registration.node = zkmeta.BrokerRegistration{
		ID:        p.id,
		Endpoints: p.sockets.registered(),
		Rack:      p.cfg.Rack,
		JMXPort:   -1,
	}
	if err := p.registration.refuseTaken(ctx); err != nil {
		return err
	}
	return p.registration.registerFirst(ctx, p.cfg.ZooKeeper.SessionTimeout+5*time.Second)
}

func (p *parts) startController(ctx context.Context) error { return p.controller.Start(ctx) }

func (p *parts) stopController(ctx context.Context) error { return p.controller.Stop(ctx) }

// patience is how long clients are kept waiting for topics that do not come to
// be led, before the broker serves the others.
const patience = 30 * time.Second

// openForClients lets clients in once this broker knows of every topic that
// there is: earlier ones would be told that their topics do not exist.
func (p *parts) openForClients(ctx context.Context) error {
	expected, err := p.zk.Topics(ctx, nil)
	if err != nil {
		return err
	}
	// A topic whose deletion the predecessor did not finish may be gone by now.
	doomed, err := p.zk.DeleteTopicRequests(ctx, nil)
	if err != nil {
		return err
	}
	expected = slices.DeleteFunc(expected, func(topic string) bool { return slices.Contains(doomed, topic) })
	// The controller tells nobody of a topic that it cannot read or that has no partition.
	found, err := p.zk.TopicAssignments(ctx, expected, nil)
	if err != nil {
		return err
	}
	expected = expected[:0]
	for _, topic := range found {
		if topic.Err == nil && len(topic.Partitions) > 0 {
			expected = append(expected, topic.Name)
		}
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = p.view.Wait(bounded, func(s *cluster.Snapshot) bool {
		// What has come once is not looked for again.
		for len(expected) > 0 {
			if _, known := s.Topic(expected[0]); !known {
				return false
			}
			expected = expected[1:]
		}
		return s.ControllerID() >= 0
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		p.logger.Warn("serving clients although not all topics are known yet", "missing", len(expected))
	}
	p.server.Open()
	return nil
}

// depart hands over what this broker leads, while everything still runs.
func (p *parts) depart(ctx context.Context) error {
	d := departure{
		id: p.id, epoch: p.registration.Epoch, shutdown: p.cfg.Shutdown,
		view: p.view, send: p.peers.SendToController, logger: p.logger,
	}
	return d.announce(ctx)
}

// startServer builds what answers requests, and accepts this broker's own. The
// coordinators and the controller are built here, and start later.
func (p *parts) startServer(ctx context.Context) (err error) {
	p.producerIDs, err = producerid.New(producerid.Config{
		BrokerID:    p.id,
		BrokerEpoch: p.registration.Epoch,
		Logger:      p.logger,
	}, p.peers, p.view)
	if err != nil {
		return err
	}
	p.controller, err = controller.New(controller.Config{
		BrokerID:    p.id,
		Listener:    cmp.Or(p.cfg.ControlPlane, p.cfg.InterBroker),
		InterBroker: p.cfg.InterBroker,
		Settings:    p.settings,
		Logger:      p.logger,
		Register:    p.registration.Register,
	}, p.zk, p.peers)
	if err != nil {
		return err
	}
	p.events.subscribe(p.controller.OnSession)
	p.unclean.subscribe(func(struct{}) { p.controller.AllowUncleanElection() })
	if err := p.buildGroups(); err != nil {
		return err
	}
	if err := p.buildTransactions(); err != nil {
		return err
	}
	manager, err := topics.New(topics.Config{Logger: p.logger}, p.zk, p.view, p.settings)
	if err != nil {
		return err
	}
	routes, err := api.Routes(api.Deps{
		BrokerID:     p.id,
		ClusterID:    p.clusterID,
		BrokerEpoch:  p.registration.Epoch,
		FeatureEpoch: p.features.Epoch,
		Settings:     p.settings,
		View:         p.view,
		Store:        p.store,
		Replicas:     p.replicas,
		Topics:       manager,
		Controller:   p.controller,
		ProducerIDs:  p.producerIDs,
		Groups:       p.groups,
		Transactions: p.txns,
		Peers:        p.peers,
		OldOffsets:   p.zk,
		Logger:       p.logger,
	})
	if err != nil {
		return err
	}
	perIP := map[string]int{}
	for address, limit := range p.cfg.Network.MaxPerIPOverrides {
		perIP[address] = int(limit)
	}
	p.server, err = server.New(server.Config{
		MaxFrameBytes: p.cfg.Network.MaxRequestBytes,
		MaxIdle:       p.cfg.Network.MaxIdle,
		Limits: server.Limits{
			MaxConnections:    int(p.cfg.Network.MaxConnections),
			MaxPerIP:          int(p.cfg.Network.MaxConnectionsPerIP),
			MaxPerIPOverrides: perIP,
		},
		Held: true,
		Log:  p.logger,
	}, routes, append(p.sockets.forServer(p.cfg), server.Listener{
		Listener: p.self, Name: p.cfg.InterBroker, Protocol: "PLAINTEXT", InterBroker: true, Internal: true,
	}))
	if err != nil {
		return err
	}
	return p.server.Start(ctx)
}

func (p *parts) drainServer(ctx context.Context) error { return p.server.Drain(ctx) }

func (p *parts) stopServer(ctx context.Context) error { return p.server.Stop(ctx) }

func (p *parts) startProducerIDs(ctx context.Context) error { return p.producerIDs.Start(ctx) }

func (p *parts) stopProducerIDs(ctx context.Context) error { return p.producerIDs.Stop(ctx) }
