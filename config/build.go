package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// build makes a snapshot of broker properties, all layers merged, and checks
// the rules that hold between them.
func build(given map[string]string) (*Broker, error) {
	v, invalid := brokerTable.parseAll(given)
	if invalid != nil {
		return nil, invalid
	}
	b := &Broker{
		ID: v.int32("broker.id"), IDGeneration: v.bool("broker.id.generation.enable"), ReservedMaxID: v.int32("reserved.broker.max.id"),
		Rack: v.string("broker.rack"), ProtocolVersion: v.string("inter.broker.protocol.version"),
		RequestTimeout: v.millis("request.timeout.ms"),
		Storage:        storageOf(v), Cleaner: cleanerOf(v), Topics: topicsOf(v), Leaders: leadersOf(v),
		Fetch:        Fetch{MaxBytes: v.int32("fetch.max.bytes"), MaxSessions: v.int32("max.incremental.fetch.session.cache.slots")},
		Replication:  replicationOf(v),
		Producers:    Producers{Expiration: v.millis("producer.id.expiration.ms"), ExpirationCheck: v.millis("producer.id.expiration.check.interval.ms")},
		Offsets:      offsetsOf(v),
		Groups:       groupsOf(v),
		Transactions: transactionsOf(v),
		Shutdown:     shutdownOf(v),
		Log:          *topicFrom(v, nil),
	}
	var err error
	if b.Network, err = networkOf(v); err != nil {
		return nil, err
	}
	if b.ZooKeeper, err = zooKeeperOf(v); err != nil {
		return nil, err
	}
	if err := buildListeners(b, v, given); err != nil {
		return nil, err
	}
	return b, checkRules(b, v)
}

func shutdownOf(v values) Shutdown {
	return Shutdown{
		Controlled: v.bool("controlled.shutdown.enable"), Tries: int(v.int32("controlled.shutdown.max.retries")),
		RetryBackoff: v.millis("controlled.shutdown.retry.backoff.ms"),
	}
}

func networkOf(v values) (Network, error) {
	n := Network{
		MaxRequestBytes: v.int32("socket.request.max.bytes"), MaxIdle: v.millis("connections.max.idle.ms"),
		MaxConnections: v.int32("max.connections"), MaxConnectionsPerIP: v.int32("max.connections.per.ip"),
		MaxPerIPOverrides: map[string]int32{},
	}
	const perIP = "max.connections.per.ip.overrides"
	for _, item := range splitNonEmpty(v.string(perIP)) {
		colon := strings.LastIndex(item, ":")
		if colon < 0 {
			return n, wrongValue(perIP, item, "host:count, comma-separated")
		}
		count, err := strconv.ParseInt(trim(item[colon+1:]), 10, 32)
		if err != nil || count < 0 {
			return n, wrongValue(perIP, item, "host:count, comma-separated")
		}
		n.MaxPerIPOverrides[trim(item[:colon])] = int32(count)
	}
	return n, nil
}

// zooKeeperOf: host:port of each server, then optionally the path under which
// this cluster lives.
func zooKeeperOf(v values) (ZooKeeper, error) {
	z := ZooKeeper{
		EmbeddedListen: v.string("gracchus.zookeeper.listen"),
		SessionTimeout: v.millis("zookeeper.session.timeout.ms"), ConnectTimeout: v.millis("zookeeper.session.timeout.ms"),
		MaxInFlight: int(v.int32("zookeeper.max.in.flight.requests")),
	}
	if _, given := v.text("zookeeper.connection.timeout.ms"); given {
		z.ConnectTimeout = v.millis("zookeeper.connection.timeout.ms")
	}
	const property = "zookeeper.connect"
	text, _ := v.text(property)
	if text == "" {
		return z, errors.New(`zookeeper.connect is missing: give host:port of your ZooKeeper, or "embedded" to run one inside this broker (which starts a new cluster if its data directory is empty)`)
	}
	if text == embedded {
		z.Embedded = true
		return z, nil
	}
	servers, path, hasPath := strings.Cut(text, "/")
	if hasPath {
		z.Chroot = strings.TrimRight("/"+path, "/")
		if strings.Contains(z.Chroot, "//") || strings.Contains(path, ",") {
			return z, wrongValue(property, text, "one path, after the last server: host:port,host:port/path")
		}
	}
	for _, server := range splitNonEmpty(servers) {
		host, port, found := cutPort(server)
		if !found {
			port = "2181"
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
			return z, wrongValue(property, server, "host:port, comma-separated, then optionally /path")
		}
		z.Servers = append(z.Servers, host+":"+port)
	}
	if len(z.Servers) == 0 {
		return z, wrongValue(property, text, "host:port, comma-separated, then optionally /path")
	}
	return z, nil
}

// cutPort splits host:port, where the host may be an IPv6 address in brackets.
func cutPort(server string) (host, port string, found bool) {
	if colon := strings.LastIndex(server, ":"); colon >= 0 && !strings.HasSuffix(server, "]") {
		return server[:colon], server[colon+1:], true
	}
	return server, "", false
}

func storageOf(v values) Storage {
	dirs := v.list("log.dir")
	if _, given := v.text("log.dirs"); given {
		dirs = v.list("log.dirs")
	}
	return Storage{
		Dirs:           dirs,
		RetentionCheck: v.millis("log.retention.check.interval.ms"), InitialTaskDelay: v.millis("log.initial.task.delay.ms"),
		RecoveryCheckpointInterval: v.millis("log.flush.offset.checkpoint.interval.ms"),
		StartCheckpointInterval:    v.millis("log.flush.start.offset.checkpoint.interval.ms"),
		HWCheckpointInterval:       v.millis("replica.high.watermark.checkpoint.interval.ms"),
		ReserveBytes:               v.int64("gracchus.log.reserve.bytes"),
		MaxOpenFiles:               int(v.int32("gracchus.log.max.open.files")),
	}
}

func cleanerOf(v values) Cleaner {
	return Cleaner{
		Enable: v.bool("log.cleaner.enable"), Threads: int(v.int32("log.cleaner.threads")),
		DedupeBytes: v.int64("log.cleaner.dedupe.buffer.size"), DedupeLoadFactor: v.float64("log.cleaner.io.buffer.load.factor"),
		IOBytes: int(v.int32("log.cleaner.io.buffer.size")), BytesPerSecond: v.float64("log.cleaner.io.max.bytes.per.second"),
		Backoff: v.millis("log.cleaner.backoff.ms"),
	}
}

func replicationOf(v values) Replication {
	return Replication{
		LagTimeMax: v.millis("replica.lag.time.max.ms"), FetchWait: v.millis("replica.fetch.wait.max.ms"),
		FetchMinBytes: v.int32("replica.fetch.min.bytes"), FetchMaxBytes: v.int32("replica.fetch.max.bytes"),
		ResponseMaxBytes: v.int32("replica.fetch.response.max.bytes"),
		FetchBackoff:     v.millis("replica.fetch.backoff.ms"), SocketTimeout: v.millis("replica.socket.timeout.ms"),
	}
}

func topicsOf(v values) Topics {
	return Topics{
		AutoCreate: v.bool("auto.create.topics.enable"), DeleteEnable: v.bool("delete.topic.enable"),
		NumPartitions: v.int32("num.partitions"), DefaultReplicationFactor: v.int16("default.replication.factor"),
	}
}

func leadersOf(v values) Leaders {
	return Leaders{
		AutoRebalance: v.bool("auto.leader.rebalance.enable"), ImbalanceCheck: v.seconds("leader.imbalance.check.interval.seconds"),
		ImbalancePercentage: v.int32("leader.imbalance.per.broker.percentage"),
	}
}

func offsetsOf(v values) Offsets {
	return Offsets{
		Partitions: v.int32("offsets.topic.num.partitions"), ReplicationFactor: v.int16("offsets.topic.replication.factor"),
		SegmentBytes: v.int32("offsets.topic.segment.bytes"), Codec: int8(v.int32("offsets.topic.compression.codec")),
		Retention: v.minutes("offsets.retention.minutes"), RetentionCheck: v.millis("offsets.retention.check.interval.ms"),
		CommitTimeout: v.millis("offsets.commit.timeout.ms"), RequiredAcks: v.int16("offsets.commit.required.acks"),
		LoadBufferBytes: v.int32("offsets.load.buffer.size"), MetadataMaxBytes: v.int32("offset.metadata.max.bytes"),
	}
}

func groupsOf(v values) Groups {
	return Groups{
		MinSessionTimeout: v.millis("group.min.session.timeout.ms"), MaxSessionTimeout: v.millis("group.max.session.timeout.ms"),
		InitialRebalanceDelay: v.millis("group.initial.rebalance.delay.ms"), MaxSize: v.int32("group.max.size"),
		MemoryBytes: v.int64("gracchus.group.memory.bytes"),
	}
}

func transactionsOf(v values) Transactions {
	return Transactions{
		Partitions: v.int32("transaction.state.log.num.partitions"), ReplicationFactor: v.int16("transaction.state.log.replication.factor"),
		MinISR: v.int32("transaction.state.log.min.isr"), SegmentBytes: v.int32("transaction.state.log.segment.bytes"),
		MaxTimeout: v.millis("transaction.max.timeout.ms"), Expiration: v.millis("transactional.id.expiration.ms"),
		AbortCheck:      v.millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
		ExpirationCheck: v.millis("transaction.remove.expired.transaction.cleanup.interval.ms"),
		LoadBufferBytes: v.int32("transaction.state.log.load.buffer.size"),
		Verify:          v.bool("transaction.partition.verification.enable"),
		MemoryBytes:     v.int64("gracchus.transaction.memory.bytes"),
	}
}

// checkRules holds the rules between properties that Kafka has.
func checkRules(b *Broker, v values) error {
	shown := func(name string) string { return v.string(name) }
	if v.int32("node.id") != b.ID {
		return wrongValue("node.id", shown("node.id"), "the same number as broker.id, which is "+shown("broker.id"))
	}
	if b.ID < -1 || b.ID == -1 && !b.IDGeneration {
		return wrongValue("broker.id", shown("broker.id"), "a whole number from 0; or -1 with broker.id.generation.enable=true")
	}
	if b.IDGeneration && b.ID > b.ReservedMaxID {
		return wrongValue("broker.id", shown("broker.id"), fmt.Sprintf("at most reserved.broker.max.id, which is %d, while broker.id.generation.enable is true", b.ReservedMaxID))
	}
	if number, _, _ := (release{}).split(b.ProtocolVersion); number != "3.9" {
		return notSupported("inter.broker.protocol.version", b.ProtocolVersion, "only 3.9 is")
	}
	if b.Log.SegmentMS < 1 {
		return wrongValue("log.roll.ms", shown("log.roll.ms"), "a whole number from 1")
	}
	if b.Log.SegmentJitterMS < 0 {
		return wrongValue("log.roll.jitter.ms", shown("log.roll.jitter.ms"), "a whole number from 0")
	}
	if b.Log.RetentionMS == 0 {
		return wrongValue("log.retention.ms", "0", "-1 for no limit, or a whole number from 1")
	}
	if b.Log.MinCompactionLagMS > b.Log.MaxCompactionLagMS {
		return wrongValue("log.cleaner.min.compaction.lag.ms", shown("log.cleaner.min.compaction.lag.ms"), "at most log.cleaner.max.compaction.lag.ms, which is "+shown("log.cleaner.max.compaction.lag.ms"))
	}
	if b.Cleaner.Threads < 1 {
		return wrongValue("log.cleaner.threads", shown("log.cleaner.threads"), "a whole number from 1; log.cleaner.enable=false for none")
	}
	if b.Cleaner.DedupeBytes/int64(b.Cleaner.Threads) <= 1<<20 {
		return wrongValue("log.cleaner.dedupe.buffer.size", shown("log.cleaner.dedupe.buffer.size"), "more than 1048576 for each of log.cleaner.threads, which is "+shown("log.cleaner.threads"))
	}
	if len(b.Storage.Dirs) == 0 {
		return wrongValue("log.dirs", shown("log.dirs"), "at least one directory")
	}
	if acks := b.Offsets.RequiredAcks; acks < -1 || acks > 1 {
		return wrongValue("offsets.commit.required.acks", shown("offsets.commit.required.acks"), "-1, 0 or 1")
	}
	if wait := v.int64("replica.fetch.wait.max.ms"); wait > v.int64("replica.socket.timeout.ms") || wait > v.int64("replica.lag.time.max.ms") {
		return wrongValue("replica.fetch.wait.max.ms", shown("replica.fetch.wait.max.ms"), "at most replica.socket.timeout.ms and replica.lag.time.max.ms")
	}
	if queued, largest := v.int64("queued.max.request.bytes"), v.int64("socket.request.max.bytes"); queued > 0 && queued < largest {
		return wrongValue("queued.max.request.bytes", shown("queued.max.request.bytes"), "at least socket.request.max.bytes, which is "+shown("socket.request.max.bytes"))
	}
	if b.Network.MaxConnectionsPerIP == 0 && len(b.Network.MaxPerIPOverrides) == 0 {
		return wrongValue("max.connections.per.ip", "0", "0 only together with max.connections.per.ip.overrides")
	}
	if _, given := v.text("controller.listener.names"); given {
		return wrongValue("controller.listener.names", shown("controller.listener.names"), "nothing: it is for KRaft")
	}
	return nil
}
