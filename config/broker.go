package config

import "time"

// Broker is a snapshot of every broker setting that code acts on. It is
// immutable; [Settings.Broker] hands out the current one.
type Broker struct {
	ID              int32  // broker.id; −1: take it from meta.properties, or let ZooKeeper generate one
	IDGeneration    bool   // broker.id.generation.enable
	ReservedMaxID   int32  // reserved.broker.max.id: generated ids start above it
	Rack            string // broker.rack; "" none
	Listeners       []Listener
	Advertised      []Listener // in the order of advertised.listeners; a port of 0 stands for the port its listener got
	InterBroker     string     // name of the listener brokers use among themselves
	ControlPlane    string     // name of the listener for controller requests; "" when it is InterBroker
	Network         Network
	ZooKeeper       ZooKeeper
	Storage         Storage
	Cleaner         Cleaner
	Topics          Topics
	Leaders         Leaders
	Fetch           Fetch
	Replication     Replication
	Producers       Producers
	Offsets         Offsets
	Groups          Groups
	Transactions    Transactions
	Shutdown        Shutdown
	RequestTimeout  time.Duration // request.timeout.ms: broker to broker
	ProtocolVersion string        // inter.broker.protocol.version as given, e.g. "3.9-IV0"

	Log Topic // what a topic without values of its own gets
}

// Listener is one address to listen on or to advertise.
type Listener struct {
	Name             string // upper case, as Kafka normalises it
	SecurityProtocol string // "PLAINTEXT"; others are refused at load until supported
	Host             string // without brackets; "" or "0.0.0.0" or "::" listens everywhere
	Port             int    // 0 lets the kernel choose
}

// Network bounds what connections may use.
type Network struct {
	MaxRequestBytes     int32 // socket.request.max.bytes
	MaxConnections      int32 // max.connections
	MaxConnectionsPerIP int32 // max.connections.per.ip
	MaxPerIPOverrides   map[string]int32
	MaxIdle             time.Duration // connections.max.idle.ms; < 0 never
}

// ZooKeeper says where cluster state lives.
type ZooKeeper struct {
	Embedded       bool     // zookeeper.connect=embedded, or no file given
	EmbeddedListen string   // gracchus.zookeeper.listen: TCP address on which the embedded one is open to other brokers and tools; "" not at all
	Servers        []string // host:port; empty when embedded
	Chroot         string   // "" or "/path" without a final slash
	SessionTimeout time.Duration
	ConnectTimeout time.Duration
	MaxInFlight    int
}

// Storage is how log directories are kept.
type Storage struct {
	Dirs                       []string
	RetentionCheck             time.Duration // log.retention.check.interval.ms
	InitialTaskDelay           time.Duration // log.initial.task.delay.ms
	RecoveryCheckpointInterval time.Duration // log.flush.offset.checkpoint.interval.ms
	StartCheckpointInterval    time.Duration // log.flush.start.offset.checkpoint.interval.ms
	HWCheckpointInterval       time.Duration // replica.high.watermark.checkpoint.interval.ms
	ReserveBytes               int64         // gracchus.log.reserve.bytes: room kept in each directory for when its disk is full; 0: none
	MaxOpenFiles               int           // gracchus.log.max.open.files: bound of the descriptor cache; 0: from the process's limit
}

// Cleaner is how logs are compacted. Memory and rate are for all threads together.
type Cleaner struct {
	Enable           bool          // log.cleaner.enable
	Threads          int           // log.cleaner.threads
	DedupeBytes      int64         // log.cleaner.dedupe.buffer.size: the most memory for keys
	DedupeLoadFactor float64       // log.cleaner.io.buffer.load.factor: how full it may get
	IOBytes          int           // log.cleaner.io.buffer.size
	BytesPerSecond   float64       // log.cleaner.io.max.bytes.per.second, read and written
	Backoff          time.Duration // log.cleaner.backoff.ms: the pause when there is nothing to do
}

// Topics is how topics come into being.
type Topics struct {
	AutoCreate               bool
	DeleteEnable             bool
	NumPartitions            int32
	DefaultReplicationFactor int16
}

// Leaders is how the controller keeps leaderships where they should be.
type Leaders struct {
	AutoRebalance       bool          // auto.leader.rebalance.enable
	ImbalanceCheck      time.Duration // leader.imbalance.check.interval.seconds
	ImbalancePercentage int32         // leader.imbalance.per.broker.percentage
}

// Fetch bounds what consumers ask for.
type Fetch struct {
	MaxBytes    int32 // fetch.max.bytes
	MaxSessions int32 // max.incremental.fetch.session.cache.slots
}

// Replication is how followers copy partitions, and how long they may lag.
type Replication struct {
	LagTimeMax       time.Duration // replica.lag.time.max.ms
	FetchWait        time.Duration // replica.fetch.wait.max.ms
	FetchMinBytes    int32         // replica.fetch.min.bytes
	FetchMaxBytes    int32         // replica.fetch.max.bytes, of one partition
	ResponseMaxBytes int32         // replica.fetch.response.max.bytes
	FetchBackoff     time.Duration // replica.fetch.backoff.ms
	SocketTimeout    time.Duration // replica.socket.timeout.ms
}

// Producers is how producers' sequence state ages.
type Producers struct {
	Expiration      time.Duration // producer.id.expiration.ms
	ExpirationCheck time.Duration // producer.id.expiration.check.interval.ms
}

// Shutdown is how a broker hands over what it leads before it stops.
type Shutdown struct {
	Controlled   bool          // controlled.shutdown.enable
	Tries        int           // controlled.shutdown.max.retries, which counts the first try, too
	RetryBackoff time.Duration // controlled.shutdown.retry.backoff.ms
}

// Offsets is how committed offsets are kept, and the topic that holds them.
type Offsets struct {
	Partitions        int32
	ReplicationFactor int16
	SegmentBytes      int32
	Codec             int8          // offsets.topic.compression.codec: a record.Codec
	Retention         time.Duration // offsets.retention.minutes
	RetentionCheck    time.Duration // offsets.retention.check.interval.ms
	CommitTimeout     time.Duration // offsets.commit.timeout.ms
	RequiredAcks      int16         // offsets.commit.required.acks: -1, 0 or 1
	LoadBufferBytes   int32         // offsets.load.buffer.size
	MetadataMaxBytes  int32         // offset.metadata.max.bytes, which counts UTF-16 units
}

// Groups bounds consumer groups.
type Groups struct {
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	MaxSize               int32         // group.max.size
	MemoryBytes           int64         // gracchus.group.memory.bytes; 0: a share of the heap's limit
}

// Transactions is how transactions are coordinated, and the topic that holds their states.
type Transactions struct {
	Partitions        int32
	ReplicationFactor int16
	MinISR            int32
	SegmentBytes      int32
	MaxTimeout        time.Duration // transaction.max.timeout.ms
	Expiration        time.Duration // transactional.id.expiration.ms
	AbortCheck        time.Duration // transaction.abort.timed.out.transaction.cleanup.interval.ms
	ExpirationCheck   time.Duration // transaction.remove.expired.transaction.cleanup.interval.ms
	LoadBufferBytes   int32         // transaction.state.log.load.buffer.size
	// Verify: a partition asks the coordinator whether a transaction is open in it before
	// the first append (transaction.partition.verification.enable).
	Verify      bool
	MemoryBytes int64 // gracchus.transaction.memory.bytes; 0: a share of the heap's limit
}
