package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gracchus-mq/gracchus/statelog"
)

// errRecord says that a record of __consumer_offsets cannot be read.
var errRecord = errors.New("record of __consumer_offsets is malformed")

// Versions of keys, which say what a record is about.
const (
	keyOffsetOld int16 = 0
	keyOffset    int16 = 1
	keyGroup     int16 = 2
)

// recordKey is the key of a record of __consumer_offsets. It aliases what it was read
// from.
type recordKey struct {
	version   int16
	group     []byte
	topic     []byte // of an offset's key
	partition int32  // of an offset's key
}

func (k *recordKey) isOffset() bool { return k.version == keyOffsetOld || k.version == keyOffset }
func (k *recordKey) isGroup() bool  { return k.version == keyGroup }

// parseRecordKey reads a key. Of a version that a broker with ZooKeeper does not use
// only the version is read. The error wraps errRecord.
func parseRecordKey(b []byte) (k recordKey, err error) {
	f := statelog.Fields{B: b}
	k.version = f.Int16()
	if k.isOffset() || k.isGroup() {
		k.group = f.StringBytes()
	}
	if k.isOffset() {
		k.topic = f.StringBytes()
		k.partition = f.Int32()
	}
	if f.Failed {
		return recordKey{}, fmt.Errorf("key %x: %w", b[:min(len(b), 64)], errRecord)
	}
	return k, nil
}

// appendOffsetKey writes the key of a committed offset. The strings have at most
// statelog.MaxString bytes.
func appendOffsetKey(dst []byte, group, topic string, partition int32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(keyOffset))
	dst = statelog.AppendString(dst, group)
	dst = statelog.AppendString(dst, topic)
	return binary.BigEndian.AppendUint32(dst, uint32(partition))
}

// appendGroupKey writes the key of a group's metadata.
func appendGroupKey(dst []byte, group string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(keyGroup))
	return statelog.AppendString(dst, group)
}
