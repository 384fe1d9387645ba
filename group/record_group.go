package group

import (
	"bytes"
	"encoding/binary"
	"fmt"
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
	f := fields{b: b}
	version := f.i16()
	if version < 0 || version > groupValueNewest {
		return groupValue{}, fmt.Errorf("value of a group, version %d: %w", version, errRecord)
	}
	f.flexible = version >= 4
	v.protocolType = f.string()
	v.generation = f.i32()
	v.protocol = f.nullableString()
	v.leader = f.nullableString()
	v.stateMS = -1
	if version >= 2 {
		v.stateMS = f.i64()
	}
	for n := f.count(); n > 0 && !f.failed; n-- {
		v.members = append(v.members, parseMemberValue(&f, version))
	}
	f.skipTags()
	if f.failed {
		return groupValue{}, fmt.Errorf("value of a group, version %d, %d bytes: %w", version, len(b), errRecord)
	}
	return v, nil
}

func parseMemberValue(f *fields, version int16) (m memberValue) {
	m.id = f.string()
	if version >= 3 {
		m.instanceID = f.nullableString()
	}
	m.clientID = f.string()
	m.clientHost = f.string()
	if version >= 1 {
		m.rebalanceTimeoutMS = f.i32()
	}
	m.sessionTimeoutMS = f.i32()
	if version == 0 {
		m.rebalanceTimeoutMS = m.sessionTimeoutMS
	}
	m.subscription = bytes.Clone(f.bytes())
	m.assignment = bytes.Clone(f.bytes())
	f.skipTags()
	return m
}

// appendGroupValue writes the value as Kafka 3.9 does.
func appendGroupValue(dst []byte, v *groupValue) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(groupValueVersion))
	dst = appendString(dst, v.protocolType)
	dst = binary.BigEndian.AppendUint32(dst, uint32(v.generation))
	dst = appendNullableString(dst, v.protocol)
	dst = appendNullableString(dst, v.leader)
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.stateMS))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v.members)))
	for i := range v.members {
		m := &v.members[i]
		dst = appendString(dst, m.id)
		dst = appendNullableString(dst, m.instanceID)
		dst = appendString(dst, m.clientID)
		dst = appendString(dst, m.clientHost)
		dst = binary.BigEndian.AppendUint32(dst, uint32(m.rebalanceTimeoutMS))
		dst = binary.BigEndian.AppendUint32(dst, uint32(m.sessionTimeoutMS))
		dst = appendBytes(dst, m.subscription)
		dst = appendBytes(dst, m.assignment)
	}
	return dst
}
