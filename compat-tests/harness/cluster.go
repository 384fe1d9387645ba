package harness

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// ClusterOptions say how a cluster is started. The zero value is three brokers of ours
// on an Apache ZooKeeper (or the one that ZOOKEEPER_CONNECT names) that others share.
type ClusterOptions struct {
	Brokers    int              // 0: 3
	Kafka      []int            // the brokers that are Kafka 3.9.2
	First      []int            // the brokers that are ready, and one of them controller, before the others start
	Embedded   bool             // the ZooKeeper is inside broker 1
	Own        *ZooKeeperServer // the ZooKeeper is this one, which the test may end and start
	Session    time.Duration    // timeout of the brokers' ZooKeeper sessions; 0: SessionTimeout
	Properties []string         // further name=value, of all brokers
}

// SessionTimeout is that of the brokers' ZooKeeper sessions, if nothing else is asked for.
const SessionTimeout = 3 * time.Second

// Cluster is a number of brokers that know each other and their ZooKeeper by links,
// which a test can cut.
type Cluster struct {
	Members []*Member // broker 1 first

	t TB
}

// Member is a broker of a cluster. Broker.Addr is the way that clients take to it.
type Member struct {
	*Broker // the last process
	ID      int

	cluster   *Cluster
	kafka     bool
	clients   *Link // of clients to it
	peers     *Link // of other brokers to it
	zookeeper *Link // of it to ZooKeeper; nil if that is inside it
	options   Options
}

// StartCluster starts a cluster and waits until all of its brokers are ready.
func StartCluster(t TB, o ClusterOptions) *Cluster {
	t.Helper()
	if o.Brokers == 0 {
		o.Brokers = 3
	}
	if o.Session == 0 {
		o.Session = SessionTimeout
	}
	c := &Cluster{t: t}
	address, chroot, embedded := "", "", ""
	switch {
	case o.Embedded:
		embedded = fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		address = embedded
	case o.Own != nil:
		address = o.Own.Addr()
	default:
		address, chroot = splitConnect(ZooKeeper(t))
	}
	dir := t.TempDir()
	for id := 1; id <= o.Brokers; id++ {
		m := &Member{ID: id, cluster: c, kafka: slices.Contains(o.Kafka, id)}
		client, peer := fmt.Sprintf("127.0.0.1:%d", FreePort(t)), fmt.Sprintf("127.0.0.1:%d", FreePort(t))
		m.clients, m.peers = StartLink(t, client), StartLink(t, peer)
		m.options = Options{
			Dirs: []string{filepath.Join(dir, fmt.Sprint(id))},
			Properties: append([]string{
				fmt.Sprintf("broker.id=%d", id),
				fmt.Sprintf("listeners=PLAINTEXT://%s,BROKERS://%s", client, peer),
				fmt.Sprintf("advertised.listeners=PLAINTEXT://%s,BROKERS://%s", m.clients.Addr, m.peers.Addr),
				"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,BROKERS:PLAINTEXT", "inter.broker.listener.name=BROKERS",
				fmt.Sprintf("zookeeper.session.timeout.ms=%d", o.Session.Milliseconds()), "zookeeper.connection.timeout.ms=20000",
				"controlled.shutdown.retry.backoff.ms=500",
			}, o.Properties...),
		}
		if o.Embedded && id == 1 {
			o.First = []int{id} // nobody finds the others a ZooKeeper before
			m.options.Properties = append(m.options.Properties, "gracchus.zookeeper.listen="+embedded)
		} else {
			m.zookeeper = StartLink(t, address)
			m.options.ZooKeeper = m.zookeeper.Addr + chroot
		}
		c.Members = append(c.Members, m)
	}
	var first, rest []*Member
	for _, m := range c.Members {
		if slices.Contains(o.First, m.ID) {
			first = append(first, m)
		} else {
			rest = append(rest, m)
		}
	}
	for _, some := range [][]*Member{first, rest} {
		for _, m := range some {
			m.launch()
		}
		for _, m := range some {
			m.untilReady()
		}
	}
	return c
}

// splitConnect cuts a connect string into the first server and the path.
func splitConnect(connect string) (server, path string) {
	for i := range connect {
		switch connect[i] {
		case ',', '/':
			if server == "" {
				server = connect[:i]
			}
			if connect[i] == '/' {
				return server, connect[i:]
			}
		}
	}
	if server == "" {
		server = connect
	}
	return server, ""
}

// Member is the broker of an id.
func (c *Cluster) Member(id int) *Member { return c.Members[id-1] }

// Addrs are the ways that clients take to all brokers.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.clients.Addr)
	}
	return all
}

// Start starts the broker, which must have ended, and waits until it is ready. A Kafka
// does not start before the session of its predecessor has ended.
func (m *Member) Start() {
	m.cluster.t.Helper()
	m.launch()
	m.untilReady()
}

func (m *Member) launch() {
	m.cluster.t.Helper()
	launch := launchGracchus
	if m.kafka {
		launch = launchKafka
	}
	m.Broker = launch(m.cluster.t, m.options)
	m.Broker.name = fmt.Sprintf("broker %d", m.ID)
}

func (m *Member) untilReady() {
	m.cluster.t.Helper()
	if m.kafka {
		m.Broker.untilKafkaIsReady()
	} else {
		m.Broker.untilReady()
	}
	m.Broker.Addr = m.clients.Addr
}

// Terminate stops the broker with SIGTERM; it must end well within limit.
func (m *Member) Terminate(limit time.Duration) {
	m.cluster.t.Helper()
	m.terminate(m.cluster.t, limit)
}

// CutFromClients cuts the broker off from clients.
func (m *Member) CutFromClients() { m.clients.Cut() }

// CutFromZooKeeper cuts the broker off from ZooKeeper only.
func (m *Member) CutFromZooKeeper() { m.zookeeper.Cut() }

// CutFromPeers cuts the broker off from the other brokers, in both directions.
func (m *Member) CutFromPeers() {
	for _, other := range m.cluster.Members {
		if other == m {
			m.peers.Cut()
		} else {
			other.peers.CutFrom(m.ID)
		}
	}
}

// Heal takes back every cut of this broker.
func (m *Member) Heal() {
	for _, other := range m.cluster.Members {
		other.peers.HealFrom(m.ID)
	}
	m.peers.Heal()
	m.clients.Heal()
	if m.zookeeper != nil {
		m.zookeeper.Heal()
	}
}
