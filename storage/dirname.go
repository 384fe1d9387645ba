package storage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/gracchus-mq/gracchus/protocol"
)

// dirKind says what a sub-directory of a log directory holds.
type dirKind int

const (
	liveDir   dirKind = iota // <topic>-<partition>: a log that is served
	deleteDir                // …-delete: waiting to be removed
	futureDir                // …-future: the target of a move between log directories
	strayDir                 // …-stray: set aside because nobody claims it
	unbornDir                // <topic>-<partition>, but see found.unborn
)

// Suffixes of the directories that are not served, as Kafka names them.
const (
	deleteSuffix = "-delete"
	futureSuffix = "-future"
	straySuffix  = "-stray"
)

// maxDirName is the longest file name that common file systems allow, in bytes.
const maxDirName = 255

// foreignDir reports whether Kafka itself puts this sub-directory beside the
// partitions although it is none: the index cache of tiered storage, and the
// metadata log that a broker has while it migrates to KRaft.
func foreignDir(name string) bool {
	return name == "remote-log-index-cache" || strings.HasPrefix(name, "__cluster_metadata-")
}

// parseDirName reads the name of a partition's directory. In the three
// suffixed kinds the topic may have been cut to keep the name within 255 bytes;
// for them the topic is a hint for people and nothing more.
func parseDirName(name string) (protocol.TopicPartition, dirKind, error) {
	kind := liveDir
	rest := name
	for suffix, k := range map[string]dirKind{deleteSuffix: deleteDir, futureSuffix: futureDir, straySuffix: strayDir} {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		dot := strings.LastIndexByte(name, '.')
		// Something must stand between the dot and the suffix, and nothing may be blank.
		if dot < 0 || dot+1 >= len(name)-len(suffix) || strings.ContainsAny(name, " \t\n\v\f\r") {
			return protocol.TopicPartition{}, 0, fmt.Errorf("%q is not of the form topic-partition.id%s", name, suffix)
		}
		kind, rest = k, name[:dot]
	}
	tp, ok := protocol.ParseTopicPartitionDir(rest)
	if !ok {
		return protocol.TopicPartition{}, 0, fmt.Errorf("%q is not of the form topic-partition", name)
	}
	return tp, kind, nil
}

// deletedDirName returns a fresh name for a partition's directory that waits
// to be removed. The topic is cut where the name would be too long.
func deletedDirName(tp protocol.TopicPartition) string {
	var id [16]byte
	rand.Read(id[:]) // never fails, see crypto/rand
	tail := fmt.Sprintf("-%d.%s%s", tp.Partition, hex.EncodeToString(id[:]), deleteSuffix)
	topic := tp.Topic
	if len(topic) > maxDirName-len(tail) {
		topic = topic[:maxDirName-len(tail)]
	}
	return topic + tail
}
