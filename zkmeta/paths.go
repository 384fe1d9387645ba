package zkmeta

import (
	"fmt"
	"strconv"
	"strings"
)

// persistentPaths are created without data by every broker at start-up, parents
// first. /latest_producer_id_block must be among them: a Kafka broker that finds
// it missing asks for producer ids forever.
var persistentPaths = [...]string{
	"/consumers",
	BrokerIDsPath,
	TopicsPath,
	ConfigChangesPath,
	DeleteTopicsPath,
	BrokerSequencePath,
	ISRChangesPath,
	ProducerIDBlockPath,
	LogDirEventsPath,
	"/config/topics",
	"/config/clients",
	"/config/users",
	"/config/brokers",
	"/config/ips",
}

// PersistentPaths returns the paths that EnsurePaths creates.
func PersistentPaths() []string { return append([]string(nil), persistentPaths[:]...) }

// sequenceNumber reads the number that ZooKeeper appended to a sequential node's
// name. Numbers have ten digits, and turn negative after 2^31-1.
func sequenceNumber(name, prefix string) (int32, error) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, fmt.Errorf("node name %q does not begin with %q", name, prefix)
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("node name %q does not end in a sequence number", name)
	}
	return int32(n), nil
}
