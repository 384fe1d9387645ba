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
	Topics          Topics
	Replication     Replication
	Fetch           Fetch
	Producers       Producers
	Groups          Groups
	Offsets         Offsets
	Transactions    Transactions
	RequestTimeout  time.Duration // request.timeout.ms: broker to broker
	Shutdown        Shutdown
	ProtocolVersion string // inter.broker.protocol.version as given, e.g. "3.9-IV0"

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
	MaxRequestBytes         int32 // socket.request.max.bytes
	SendBufferBytes         int32 // socket.send.buffer.bytes; −1: the system's default
	ReceiveBufferBytes      int32 // socket.receive.buffer.bytes; −1: the system's default
	MaxConnections          int32 // max.connections
	MaxConnectionsPerIP     int32 // max.connections.per.ip
	MaxPerIPOverrides       map[string]int32
	MaxConnectionRate       int32         // max.connection.creation.rate, per second
	MaxIdle                 time.Duration // connections.max.idle.ms; < 0 never
	SetupTimeout            time.Duration // socket.connection.setup.timeout.ms
	SetupTimeoutMax         time.Duration
	ControllerSocketTimeout time.Duration // controller.socket.timeout.ms
}

// ZooKeeper says where cluster state lives.
type ZooKeeper struct {
	Embedded       bool     // zookeeper.connect=embedded, or no file given
	EmbeddedListen string   // gracchus.zookeeper.listen: TCP address on which the embedded one is open to tools; "" not at all
	Servers        []string // host:port; empty when embedded
	Chroot         string   // "" or "/path" without a final slash
	SessionTimeout time.Duration
	ConnectTimeout time.Duration
	MaxInFlight    int
}

// Storage is how log directories are kept.
type Storage struct {
	Dirs                       []string
	RecoveryThreadsPerDir      int32
	RetentionCheck             time.Duration // log.retention.check.interval.ms
	InitialTaskDelay           time.Duration // log.initial.task.delay.ms
	FlushSchedulerInterval     time.Duration // log.flush.scheduler.interval.ms; very large: never
	RecoveryCheckpointInterval time.Duration // log.flush.offset.checkpoint.interval.ms
	StartCheckpointInterval    time.Duration // log.flush.start.offset.checkpoint.interval.ms
	HWCheckpointInterval       time.Duration // replica.high.watermark.checkpoint.interval.ms
	MaxOpenFiles               int           // gracchus.log.max.open.files: bound of the descriptor cache; 0: from the process's limit
	Cleaner                    Cleaner
}

// Cleaner holds the log cleaner's settings.
type Cleaner struct {
	Enable              bool
	Threads             int32
	DedupeBufferBytes   int64
	IOBufferBytes       int32
	IOBufferLoadFactor  float64
	MaxIOBytesPerSecond float64
	Backoff             time.Duration
}

// Topics is how topics come into being.
type Topics struct {
	AutoCreate               bool
	DeleteEnable             bool
	NumPartitions            int32
	DefaultReplicationFactor int16
}

// Replication is how replicas follow and leaders are chosen.
type Replication struct {
	LagTimeMax                time.Duration // replica.lag.time.max.ms
	FetchWaitMax              time.Duration
	FetchMinBytes             int32
	FetchMaxBytes             int32
	FetchResponseMaxBytes     int32
	FetchBackoff              time.Duration
	SocketTimeout             time.Duration
	SocketReceiveBufferBytes  int32
	Fetchers                  int32
	SelectorClass             string
	AutoLeaderRebalance       bool
	LeaderImbalanceCheck      time.Duration
	LeaderImbalancePercentage int32
}

// Fetch bounds what consumers ask for.
type Fetch struct {
	MaxBytes    int32 // fetch.max.bytes
	MaxSessions int32 // max.incremental.fetch.session.cache.slots
}

// Producers is how producers' sequence state ages.
type Producers struct {
	Expiration      time.Duration // producer.id.expiration.ms
	ExpirationCheck time.Duration // producer.id.expiration.check.interval.ms
}

// Groups holds the group coordinator's settings.
type Groups struct {
	MinSessionTimeout     time.Duration
	MaxSessionTimeout     time.Duration
	InitialRebalanceDelay time.Duration
	MaxSize               int32
}

// Offsets holds the settings of committed offsets and their topic.
type Offsets struct {
	Partitions        int32
	ReplicationFactor int16
	SegmentBytes      int32
	CompressionCodec  int32 // 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
	Retention         time.Duration
	RetentionCheck    time.Duration
	CommitTimeout     time.Duration
	MetadataMaxBytes  int32
	LoadBufferBytes   int32
}

// Transactions holds the transaction coordinator's settings and its topic's.
type Transactions struct {
	Partitions            int32
	ReplicationFactor     int16
	MinISR                int32
	SegmentBytes          int32
	LoadBufferBytes       int32
	MaxTimeout            time.Duration
	IDExpiration          time.Duration
	AbortCheck            time.Duration
	ExpiredCheck          time.Duration
	PartitionVerification bool
}

// Shutdown is how a broker hands over its leaderships before it stops.
type Shutdown struct {
	Controlled   bool
	MaxRetries   int32
	RetryBackoff time.Duration
}
