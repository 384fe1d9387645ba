package record

import "iter"

// Record is one record of a batch. Its slices alias the buffer that it was read
// from: the batch, or what the batch was decompressed to.
type Record struct {
	TimestampDelta int64 // ms after the batch's base timestamp
	OffsetDelta    int32
	Key, Value     []byte // nil if absent
	// HeaderCount says how many headers Headers gives.
	HeaderCount int
	headers     []byte
}

// Header is one header of a record.
type Header struct {
	Key   []byte
	Value []byte // nil if absent
}

// Headers iterates over the record's headers without copying them.
func (r Record) Headers() iter.Seq[Header] { panic("not yet") }

// Records iterates over the batch's records, decompressing them first if need
// be, into a new buffer of at most maxDecompressed bytes. The iteration ends
// with the first error, which wraps kerr.InvalidRecord if the records are not
// what the header promises, kerr.CorruptMessage if they cannot be decompressed,
// ErrTooLarge if they exceed the bound.
func (b Batch) Records(maxDecompressed int) iter.Seq2[Record, error] { panic("not yet") }

// Timestamp is the record's timestamp in ms since 1970.
func (b Batch) Timestamp(r Record) int64 {
	if b.TimestampType() == LogAppendTime {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + r.TimestampDelta
}

// Offset is the record's offset.
func (b Batch) Offset(r Record) int64 { return b.BaseOffset() + int64(r.OffsetDelta) }
