package zkmeta

import (
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
)

// ReassignPartitionsPath is how tools before Kafka 2.4 asked for a reassignment.
// The controller takes partitions out as they are done and then deletes the node.
const ReassignPartitionsPath = "/admin/reassign_partitions"

// EncodeReassignment makes the node's data, partitions in order.
func EncodeReassignment(targets map[protocol.TopicPartition][]int32) ([]byte, error) {
	type entry struct {
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Replicas  []int32 `json:"replicas"`
	}
	entries := make([]entry, 0, len(targets))
	for tp, replicas := range targets {
		entries = append(entries, entry{tp.Topic, tp.Partition, orEmpty(replicas)})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return protocol.TopicPartition{Topic: a.Topic, Partition: a.Partition}.Compare(
			protocol.TopicPartition{Topic: b.Topic, Partition: b.Partition})
	})
	return encodeJSON(struct {
		Version    int     `json:"version"`
		Partitions []entry `json:"partitions"`
	}{1, entries})
}

// DecodeReassignment reads the node's data strictly: an unknown key is a
// *MalformedError, as for Kafka's controller.
func DecodeReassignment(data []byte) (map[protocol.TopicPartition][]int32, error) {
	targets, err := decodeReassignment(data)
	if err != nil {
		return nil, malformed(ReassignPartitionsPath, data, err)
	}
	return targets, nil
}

func decodeReassignment(data []byte) (map[protocol.TopicPartition][]int32, error) {
	entries, err := strictPartitions(data, "topic", "partition", "replicas")
	if err != nil {
		return nil, err
	}
	targets := make(map[protocol.TopicPartition][]int32, len(entries))
	for _, e := range entries {
		tp, err := decodePartitionEntry(e)
		if err != nil {
			return nil, err
		}
		if targets[tp], err = e.fieldInt32s("replicas"); err != nil {
			return nil, err
		}
	}
	return targets, nil
}
