package group

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/gracchus-mq/gracchus/statelog"
)

// Versions of the value of a group's metadata. Kafka 3.9 writes 3.
const (
	groupValueVersion int16 = 3
	groupValueNewest  int16 = 4
)

// groupValue is a group's metadata, as it is stored.
type groupValue struct {
	protocolType string
	generation   int32
	protocol     *string
	leader       *string
	stateMS      int64 // since when it is in its state, in ms since 1970; −1 if it is not known
	members      []memberValue
}

// memberValue is a member of a stored group.
type memberValue struct {
	id                   string
	instanceID           *string
	clientID, clientHost string
	rebalanceTimeoutMS   int32
	sessionTimeoutMS     int32
	subscription         []byte
	assignment           []byte
}

// parseGroupValue reads a value of version 0 to 4 and aliases nothing of it. The
// error wraps errRecord.
func parseGroupValue(b []byte) (v groupValue, err error) {
	f := statelog.Fields{B: b}
	version := f.Int16()
	if version < 0 || version > groupValueNewest {
		return groupValue{}, fmt.Errorf("value of a group, version %d: %w", version, errRecord)
	}
	f.Flexible = version >= 4
	v.protocolType = f.String()
	v.generation = f.Int32()
	v.protocol = f.NullableString()
	v.leader = f.NullableString()
	v.stateMS = -1
	if version >= 2 {
		v.stateMS = f.Int64()
	}
	for n := f.Count(); n > 0 && !f.Failed; n-- {
		v.members = append(v.members, parseMemberValue(&f, version))
	}
	f.SkipTags()
	if f.Failed {
		return groupValue{}, fmt.Errorf("value of a group, version %d, %d bytes: %w", version, len(b), errRecord)
	}
	return v, nil
}

func parseMemberValue(f *statelog.Fields, version int16) (m memberValue) {
	m.id = f.String()
	if version >= 3 {
		m.instanceID = f.NullableString()
	}
	m.clientID = f.String()
	m.clientHost = f.String()
	if version >= 1 {
		m.rebalanceTimeoutMS = f.Int32()
	}
	m.sessionTimeoutMS = f.Int32()
	if version == 0 {
		m.rebalanceTimeoutMS = m.sessionTimeoutMS
	}
	m.subscription = bytes.Clone(f.Bytes())
	m.assignment = bytes.Clone(f.Bytes())
	f.SkipTags()
	return m
}

// appendGroupValue writes the value as Kafka 3.9 does.
func appendGroupValue(dst []byte, v *groupValue) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(groupValueVersion))
	dst = statelog.AppendString(dst, v.protocolType)
	dst = binary.BigEndian.AppendUint32(dst, uint32(v.generation))
	dst = statelog.AppendNullableString(dst, v.protocol)
	dst = statelog.AppendNullableString(dst, v.leader)
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.stateMS))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v.members)))
	for i := range v.members {
		m := &v.members[i]
		dst = statelog.AppendString(dst, m.id)
		dst = statelog.AppendNullableString(dst, m.instanceID)
		dst = statelog.AppendString(dst, m.clientID)
		dst = statelog.AppendString(dst, m.clientHost)
		dst = binary.BigEndian.AppendUint32(dst, uint32(m.rebalanceTimeoutMS))
		dst = binary.BigEndian.AppendUint32(dst, uint32(m.sessionTimeoutMS))
		dst = statelog.AppendBytes(dst, m.subscription)
		dst = statelog.AppendBytes(dst, m.assignment)
	}
	return dst
}
