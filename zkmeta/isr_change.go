package zkmeta

import "github.com/gracchus-mq/gracchus/protocol"

// ISRChangesPath is the parent of the notifications that leaders with an
// inter-broker protocol before 2.7 leave when they have changed an ISR themselves.
const ISRChangesPath = "/isr_change_notification"

const isrChangePrefix = "isr_change_"

// EncodeISRChange makes the data of a notification.
func EncodeISRChange(partitions []protocol.TopicPartition) ([]byte, error) {
	return encodePartitionList(partitions)
}

// DecodeISRChange reads a notification. The error is a *MalformedError.
func DecodeISRChange(data []byte) ([]protocol.TopicPartition, error) {
	partitions, err := decodePartitionList(data)
	if err != nil {
		return nil, malformed(ISRChangesPath+"/"+isrChangePrefix, data, err)
	}
	return partitions, nil
}
