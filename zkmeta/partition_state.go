package zkmeta

import (
	"fmt"
	"strconv"

	"github.com/gracchus-mq/gracchus/protocol"
)

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// PartitionState is the content of /brokers/topics/T/partitions/P/state. The
// node's data version is the partition epoch.
type PartitionState struct {
	Leader          int32 // NoLeader when offline
	LeaderEpoch     int32
	ISR             []int32
	ControllerEpoch int32 // of the controller that wrote the state last
	// Recovering is set while a leader that was chosen outside the ISR has not yet
	// recovered what it can (KIP-704).
	Recovering bool
}

// PartitionPath is the parent of a partition's state.
func PartitionPath(tp protocol.TopicPartition) string {
	return TopicPartitionsPath(tp.Topic) + "/" + strconv.Itoa(int(tp.Partition))
}

// PartitionStatePath is where the partition's leader and in-sync replicas stand.
func PartitionStatePath(tp protocol.TopicPartition) string { return PartitionPath(tp) + "/state" }

// Encode makes the node's data. The recovery state is written only while
// recovering, as Kafka does.
func (s PartitionState) Encode() ([]byte, error) {
	if s.Leader < NoLeader || s.LeaderEpoch < 0 || s.ControllerEpoch < 0 {
		return nil, fmt.Errorf("partition state: leader %d, leader epoch %d, controller epoch %d make no sense",
			s.Leader, s.LeaderEpoch, s.ControllerEpoch)
	}
	for _, id := range s.ISR {
		if id < 0 {
			return nil, fmt.Errorf("partition state: ISR %v has a negative broker id", s.ISR)
		}
	}
	recovery := 0
	if s.Recovering {
		recovery = 1
	}
	return encodeJSON(struct {
		Version         int     `json:"version"`
		Leader          int32   `json:"leader"`
		LeaderEpoch     int32   `json:"leader_epoch"`
		ISR             []int32 `json:"isr"`
		ControllerEpoch int32   `json:"controller_epoch"`
		Recovery        int     `json:"leader_recovery_state,omitempty"`
	}{1, s.Leader, s.LeaderEpoch, orEmpty(s.ISR), s.ControllerEpoch, recovery})
}

// DecodePartitionState reads the state of tp. The error is a *MalformedError.
func DecodePartitionState(tp protocol.TopicPartition, data []byte) (PartitionState, error) {
	s, err := decodePartitionState(data)
	if err != nil {
		return PartitionState{}, malformed(PartitionStatePath(tp), data, err)
	}
	return s, nil
}

func decodePartitionState(data []byte) (s PartitionState, err error) {
	o, err := decodeObject(data)
	if err != nil {
		return s, err
	}
	if s.Leader, err = field[int32](o, "leader"); err != nil {
		return s, err
	}
	if s.LeaderEpoch, err = field[int32](o, "leader_epoch"); err != nil {
		return s, err
	}
	if s.ISR, err = o.fieldInt32s("isr"); err != nil {
		return s, err
	}
	if s.ControllerEpoch, err = field[int32](o, "controller_epoch"); err != nil {
		return s, err
	}
	recovery, err := fieldOr[int32](o, "leader_recovery_state", 0)
	if err != nil {
		return s, err
	}
	if recovery != 0 && recovery != 1 {
		return s, fmt.Errorf("unknown leader_recovery_state %d", recovery)
	}
	s.Recovering = recovery == 1
	return s, nil
}

// Equal tells whether two states say the same, the order of the ISR included.
func (s PartitionState) Equal(o PartitionState) bool {
	if len(s.ISR) != len(o.ISR) {
		return false
	}
	for i := range s.ISR {
		if s.ISR[i] != o.ISR[i] {
			return false
		}
	}
	return s.Leader == o.Leader && s.LeaderEpoch == o.LeaderEpoch &&
		s.ControllerEpoch == o.ControllerEpoch && s.Recovering == o.Recovering
}
