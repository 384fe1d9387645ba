package zkmeta

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gracchus-mq/gracchus/protocol"
)

// partitionEntry is one element of the "partitions" lists of the notification and
// admin nodes.
type partitionEntry struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

func encodePartitionList(partitions []protocol.TopicPartition) ([]byte, error) {
	entries := make([]partitionEntry, len(partitions))
	for i, tp := range partitions {
		if tp.Topic == "" || tp.Partition < 0 {
			return nil, fmt.Errorf("%q is no partition", tp)
		}
		entries[i] = partitionEntry{tp.Topic, tp.Partition}
	}
	return encodeJSON(struct {
		Version    int              `json:"version"`
		Partitions []partitionEntry `json:"partitions"`
	}{1, entries})
}

func decodePartitionList(data []byte) ([]protocol.TopicPartition, error) {
	o, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	entries, err := field[[]object](o, "partitions")
	if err != nil {
		return nil, err
	}
	partitions := make([]protocol.TopicPartition, len(entries))
	for i, entry := range entries {
		if partitions[i], err = decodePartitionEntry(entry); err != nil {
			return nil, err
		}
	}
	return partitions, nil
}

func decodePartitionEntry(entry object) (tp protocol.TopicPartition, err error) {
	if tp.Topic, err = field[string](entry, "topic"); err != nil {
		return tp, err
	}
	if tp.Partition, err = field[int32](entry, "partition"); err != nil {
		return tp, err
	}
	if tp.Topic == "" || tp.Partition < 0 {
		return tp, errors.New("an entry names no partition")
	}
	return tp, nil
}

// strictPartitions decodes what the legacy admin tools write, refusing unknown
// keys both outside and in the entries, since Kafka's controller refuses them.
func strictPartitions(data []byte, entryKeys ...string) ([]object, error) {
	o, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	if err := o.onlyKeys("version", "partitions"); err != nil {
		return nil, err
	}
	raw, ok := o["partitions"]
	if !ok {
		return nil, errors.New(`"partitions" is missing`)
	}
	var entries []object
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := e.onlyKeys(entryKeys...); err != nil {
			return nil, err
		}
	}
	return entries, nil
}
