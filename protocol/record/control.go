package record

// ControlType is the type of a control record.
type ControlType int16

const (
	ControlAbort  ControlType = 0
	ControlCommit ControlType = 1
)

// EndTxnMarker builds the control batch that ends a transaction in one
// partition: 78 bytes, base offset 0, no leader epoch, timestamp ts in ms.
func EndTxnMarker(producerID int64, epoch int16, coordinatorEpoch int32, commit bool, ts int64) Batch {
	panic("not yet")
}

// Marker is the content of a control record that ends a transaction.
type Marker struct {
	Type             ControlType
	CoordinatorEpoch int32
}

// ParseMarker reads the marker of a control batch. ok is false if compaction has
// emptied the batch or if it is a control record of another type, which readers
// skip. The error wraps kerr.InvalidRecord.
func ParseMarker(b Batch) (m Marker, ok bool, err error) { panic("not yet") }
