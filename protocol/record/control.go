package record

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// ControlType is the type of a control record. Types other than these two belong
// to KRaft.
type ControlType int16

const (
	ControlAbort  ControlType = 0
	ControlCommit ControlType = 1
)

// A control record's key is version i16, type i16; the value of one that ends a
// transaction is version i16, coordinator epoch i32. Later versions may only add
// fields at the end.
const (
	controlKeySize  = 4
	markerValueSize = 6
)

// Marker is the content of a control record that ends a transaction.
type Marker struct {
	Type             ControlType
	CoordinatorEpoch int32
}

// EndTxnMarker builds the control batch that ends a transaction in one
// partition: 78 bytes, base offset 0, no leader epoch, timestamp ts in ms.
func EndTxnMarker(producerID int64, epoch int16, coordinatorEpoch int32, commit bool, ts int64) Batch {
	t := ControlAbort
	if commit {
		t = ControlCommit
	}
	key := binary.BigEndian.AppendUint16(make([]byte, 2, controlKeySize), uint16(t))
	value := binary.BigEndian.AppendUint32(make([]byte, 2, markerValueSize), uint32(coordinatorEpoch))
	b := NewBuilder().SetProducer(producerID, epoch, NoSequence).SetTransactional(true).SetControl()
	b.Append(ts, key, value)
	batch, err := b.Build()
	if err != nil {
		panic(err) // nothing is compressed, and the size is fixed
	}
	return batch
}

// ParseMarker reads the marker of a control batch. ok is false if compaction has
// emptied the batch, or if it is a control record of another type, which readers
// skip. The error wraps kerr.InvalidRecord.
func ParseMarker(b Batch) (m Marker, ok bool, err error) {
	if b.Count() == 0 {
		return Marker{}, false, nil
	}
	var r Record
	if _, ok := nextRecord(b.Payload(), &r); !ok || b.Codec() != None {
		return Marker{}, false, fmt.Errorf("control batch at offset %d: malformed record: %w", b.BaseOffset(), kerr.InvalidRecord)
	}
	if len(r.Key) < controlKeySize || int16(binary.BigEndian.Uint16(r.Key)) < 0 {
		return Marker{}, false, fmt.Errorf("control batch at offset %d: key of %d bytes: %w", b.BaseOffset(), len(r.Key), kerr.InvalidRecord)
	}
	t := ControlType(binary.BigEndian.Uint16(r.Key[2:]))
	if t != ControlAbort && t != ControlCommit {
		return Marker{}, false, nil
	}
	if len(r.Value) < markerValueSize || int16(binary.BigEndian.Uint16(r.Value)) < 0 {
		return Marker{}, false, fmt.Errorf("control batch at offset %d: value of %d bytes: %w", b.BaseOffset(), len(r.Value), kerr.InvalidRecord)
	}
	return Marker{Type: t, CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:]))}, true, nil
}
