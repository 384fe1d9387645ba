package zkmeta

import "github.com/gracchus-mq/gracchus/protocol"

// PreferredElectionPath is how tools before Kafka 2.4 asked that the first replica
// of each assignment lead again.
const PreferredElectionPath = "/admin/preferred_replica_election"

// EncodePreferredElection makes the node's data.
func EncodePreferredElection(partitions []protocol.TopicPartition) ([]byte, error) {
	return encodePartitionList(partitions)
}

// DecodePreferredElection reads the node's data; unlike a reassignment it may
// carry unknown keys. The error is a *MalformedError.
func DecodePreferredElection(data []byte) ([]protocol.TopicPartition, error) {
	partitions, err := decodePartitionList(data)
	if err != nil {
		return nil, malformed(PreferredElectionPath, data, err)
	}
	return partitions, nil
}
