package group

import (
	"encoding/binary"
	"fmt"

	"github.com/gracchus-mq/gracchus/statelog"
)

// Versions of the value of a committed offset. Kafka writes 3, and 1 if the offset
// has an expiry of its own.
const (
	offsetValueExpiry int16 = 1
	offsetValue       int16 = 3
	offsetValueNewest int16 = 4
)

// NoExpiry is the expiry of an offset that ages as all others do.
const NoExpiry int64 = -1

// OffsetValue is a committed offset, as it is stored.
type OffsetValue struct {
	Offset      int64
	LeaderEpoch int32 // −1 if the client did not say
	Metadata    string
	CommitMS    int64 // when it was committed, in ms since 1970
	ExpireMS    int64 // NoExpiry, or when it expires whatever its age
}

// parseOffsetValue reads a value of version 0 to 4. The error wraps errRecord.
func parseOffsetValue(b []byte) (v OffsetValue, err error) {
	f := statelog.Fields{B: b}
	version := f.Int16()
	if version < 0 || version > offsetValueNewest {
		return OffsetValue{}, fmt.Errorf("value of an offset, version %d: %w", version, errRecord)
	}
	f.Flexible = version >= 4
	v.Offset = f.Int64()
	v.LeaderEpoch, v.ExpireMS = -1, NoExpiry
	if version >= 3 {
		v.LeaderEpoch = f.Int32()
	}
	v.Metadata = f.String()
	v.CommitMS = f.Int64()
	if version == offsetValueExpiry {
		v.ExpireMS = f.Int64()
	}
	f.SkipTags()
	if f.Failed {
		return OffsetValue{}, fmt.Errorf("value of an offset, version %d, %d bytes: %w", version, len(b), errRecord)
	}
	return v, nil
}

// appendOffsetValue writes the value as Kafka 3.9 does. Version 1 has no leader
// epoch, which is lost.
func appendOffsetValue(dst []byte, v *OffsetValue) []byte {
	version := offsetValue
	if v.ExpireMS != NoExpiry {
		version = offsetValueExpiry
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(version))
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.Offset))
	if version >= 3 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(v.LeaderEpoch))
	}
	dst = statelog.AppendString(dst, v.Metadata)
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.CommitMS))
	if version == offsetValueExpiry {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.ExpireMS))
	}
	return dst
}
