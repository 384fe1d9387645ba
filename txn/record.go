package txn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/statelog"
)

// errRecord says that a record of __transaction_state cannot be read.
var errRecord = errors.New("record of __transaction_state is malformed")

// Versions of keys and values. Kafka 3.9 writes 0 of both with ZooKeeper; version 1 of a
// value has the same fields, and tagged ones, which it ignores.
const (
	keyVersion   int16 = 0
	valueVersion int16 = 0
	valueNewest  int16 = 1
)

// value is what the log says of a transactional id. Its slice is shared and not changed.
type value struct {
	producerID int64
	epoch      int16
	timeoutMS  int32
	state      State
	partitions []protocol.TopicPartition // ascending, each once; none if Empty or complete
	updateMS   int64                     // when it came to be so, in ms since 1970
	startMS    int64                     // when the transaction began; −1 if Empty
}

// parseKey returns the transactional id, which aliases the key. The error wraps errRecord.
func parseKey(b []byte) ([]byte, error) {
	f := statelog.Fields{B: b}
	if version := f.Int16(); !f.Failed && version != keyVersion {
		return nil, fmt.Errorf("key of version %d: %w", version, errRecord)
	}
	id := f.StringBytes()
	if f.Failed {
		return nil, fmt.Errorf("key %x: %w", b[:min(len(b), 64)], errRecord)
	}
	return id, nil
}

// appendKey writes the key of an id, which has at most statelog.MaxString bytes.
func appendKey(dst []byte, id string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(keyVersion))
	return statelog.AppendString(dst, id)
}

// parseValue reads a value and aliases nothing of it. The error wraps errRecord.
func parseValue(b []byte) (v value, err error) {
	f := statelog.Fields{B: b}
	version := f.Int16()
	if version < 0 || version > valueNewest {
		return value{}, fmt.Errorf("value of version %d: %w", version, errRecord)
	}
	f.Flexible = version >= 1
	v.producerID = f.Int64()
	v.epoch = f.Int16()
	v.timeoutMS = f.Int32()
	v.state = State(f.Int8())
	for n := f.NullableCount(); n > 0 && !f.Failed; n-- {
		topic := f.String()
		for m := f.Count(); m > 0 && !f.Failed; m-- {
			v.partitions = append(v.partitions, protocol.TopicPartition{Topic: topic, Partition: f.Int32()})
		}
		f.SkipTags()
	}
	v.updateMS = f.Int64()
	v.startMS = f.Int64()
	f.SkipTags()
	switch {
	case f.Failed:
		return value{}, fmt.Errorf("value of version %d, %d bytes: %w", version, len(b), errRecord)
	case !v.state.stored():
		return value{}, fmt.Errorf("value in state %d: %w", v.state, errRecord)
	case v.producerID < 0 || v.epoch < 0:
		return value{}, fmt.Errorf("value of producer %d in epoch %d: %w", v.producerID, v.epoch, errRecord)
	}
	if !v.state.open() {
		v.partitions = nil
	}
	v.partitions = sorted(v.partitions)
	return v, nil
}

// sorted sorts partitions where they are, and drops those that are there twice.
func sorted(partitions []protocol.TopicPartition) []protocol.TopicPartition {
	slices.SortFunc(partitions, protocol.TopicPartition.Compare)
	return slices.Compact(partitions)
}

// appendValue writes the value as Kafka 3.9 does: the topics are in no order there.
func appendValue(dst []byte, v *value) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(valueVersion))
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.producerID))
	dst = binary.BigEndian.AppendUint16(dst, uint16(v.epoch))
	dst = binary.BigEndian.AppendUint32(dst, uint32(v.timeoutMS))
	dst = append(dst, byte(v.state))
	if v.state == Empty {
		dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
	} else {
		dst = appendPartitions(dst, v.partitions)
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.updateMS))
	return binary.BigEndian.AppendUint64(dst, uint64(v.startMS))
}

func appendPartitions(dst []byte, partitions []protocol.TopicPartition) []byte {
	topics := 0
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for rest := partitions; len(rest) > 0; topics++ {
		n := 1
		for n < len(rest) && rest[n].Topic == rest[0].Topic {
			n++
		}
		dst = statelog.AppendString(dst, rest[0].Topic)
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
		for _, tp := range rest[:n] {
			dst = binary.BigEndian.AppendUint32(dst, uint32(tp.Partition))
		}
		rest = rest[n:]
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(topics))
	return dst
}

// valueSize bounds from above what appendValue appends.
func valueSize(v *value) int {
	n := 2 + 8 + 2 + 4 + 1 + 4 + 8 + 8
	for _, tp := range v.partitions {
		n += 2 + len(tp.Topic) + 4 + 4
	}
	return n
}
